/** Where a loss that is not finite comes from: the data, a weight, the first layer whose output is not finite, or the loss itself. Always throws. */
import { NumericError } from '../../base/errors.js'
import { countNonfinite } from '../../ops/index.js'
import { scope } from '../../tensor/index.js'
import { taskLoss, type LossOf } from './gradients.js'

/** Call inside the scope of the step, before anything moved. `loss` is the mean over the parts. */
export function throwTrouble(of: LossOf, loss: number, batch: unknown, step: number): never {
  const { task, copy, settings } = of
  task.findBad?.(batch, step)
  copy.checkFinite(step)
  const parts = settings.accumulate ? task.split(batch, settings.accumulate) : [batch]
  const hint = `lower the learning rate${settings.precision === 'f16' ? ', or activations pass 65504 (f16)' : ''}`
  parts.forEach((part, k) => {
    scope(() => void taskLoss(of, part, k, step * parts.length + k, { output: (path, y) => checkOutput(path, y, step, hint) }))
  })
  throw new NumericError(
    'ERR_NUMERIC',
    `train: the loss is ${loss} at step ${step} although data, weights and outputs are finite: ${hint}`,
    {
      details: { stage: 'train', tensor: 'loss', index: 0, step },
    },
  )
}

function checkOutput(path: string, y: Parameters<typeof countNonfinite>[0], step: number, hint: string): void {
  if (scope(() => countNonfinite(y).item()) === 0) return
  const values = y.read()
  const index = values.findIndex((v: number | bigint) => !Number.isFinite(Number(v)))
  const layer = path === '' ? 'the model' : path
  throw new NumericError(
    'ERR_NUMERIC',
    `train: the output of ${layer} is ${values[index]} at index ${index} at step ${step} although data and weights are finite (${y}): ${hint}`,
    { details: { stage: 'train', layer: path, tensor: `output of ${layer}`, index, step } },
  )
}
