/** The loss that sensitivities speak of: cross-entropy of a classifier, of an encoder's probe, or one of the caller's. */
import { abortError } from '../../base/pace.js'
import { DataError, NumericError, OptionError } from '../../base/errors.js'
import type { Dataset } from '../../data/dataset.js'
import { batchInputs, evaluationBatches } from '../../models/inputs.js'
import type { Model } from '../../nn/index.js'
import { add, crossEntropy, matmul } from '../../ops/index.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import { isLossData, type LossData } from '../loss-data.js'
import { argmaxRows } from '../metrics/index.js'
import { probeOf, type Probe } from '../probe.js'

/** Mean loss of a batch. */
export type LossOf = (output: Tensor, labels: Tensor) => Tensor

export interface LossRule {
  readonly loss: LossOf
  /** Class scores, where the output has some. */
  readonly scores?: (output: Tensor) => Tensor
}

function probeScores(probe: Probe): (output: Tensor) => Tensor {
  const { width, values } = probe
  const k = probe.classes.length
  const weight = new Float32Array(k * width)
  const bias = new Float32Array(k)
  for (let c = 0; c < k; c++) {
    weight.set(values.subarray(c * (width + 1), c * (width + 1) + width), c * width)
    bias[c] = values[c * (width + 1) + width]!
  }
  return (output) => add(matmul(output, tensor(weight, [k, width]), false, true), tensor(bias))
}

/** ERR_OPTION where the model gives no class scores, or other classes than the data has, and no loss was given. */
export function lossRule(where: string, model: Model, data: Dataset, given?: LossOf): LossRule {
  const { name, task, classes } = model.info
  if (data.size === 0) throw new DataError('ERR_DATA', `${where}: ${data.name} has no examples`)
  if (given) return { loss: given }
  const probe = task === 'embedding' ? probeOf(model) : undefined
  if (task !== 'classification' && !probe)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: ${name} is made for ${task}: there are no class scores to compare with labels; ${task === 'embedding' ? 'fit a probe (tersor evaluate --probe SPEC --out FILE)' : 'give a loss'}`,
    )
  const known = probe?.classes ?? classes
  if (known && known.length !== data.classes.length)
    throw new OptionError('ERR_OPTION', `${where}: ${name} has ${known.length} classes, ${data.name} has ${data.classes.length}`)
  const scores = probe ? probeScores(probe) : (output: Tensor): Tensor => output
  return { scores, loss: (output, labels) => crossEntropy(scores(output), labels) }
}

export interface Measured {
  readonly loss: number
  readonly accuracy?: number
}

/** Over batches that have a loss of their own. */
async function measureBatches(where: string, model: Model, data: LossData, { signal, breathe }: MeasureOptions): Promise<Measured> {
  let sum = 0
  for (const [b, batch] of data.batches.entries()) {
    await breathe()
    if (signal?.aborted) throw abortError(where, signal)
    sum +=
      batch.count *
      finite(
        where,
        model,
        data.name,
        b,
        scope(() => batch.loss(model).item()),
      )
  }
  return { loss: sum / data.size }
}

interface MeasureOptions {
  readonly batchSize: number
  readonly signal?: AbortSignal | undefined
  readonly breathe: () => Promise<void>
}

function finite(where: string, model: Model, data: string, batch: number, loss: number): number {
  if (Number.isFinite(loss)) return loss
  throw new NumericError('ERR_NUMERIC', `${where}: the loss of ${model.info.name} is ${loss} on batch ${batch} of ${data}`, {
    details: { stage: 'sensitivity', tensor: 'loss', index: batch },
  })
}

/** Loss (and accuracy) over the data. ERR_NUMERIC names the first batch whose loss is not finite. */
export async function measureLoss(
  where: string,
  model: Model,
  data: Dataset | LossData,
  rule: LossRule | undefined,
  options: MeasureOptions,
): Promise<Measured> {
  if (isLossData(data)) return measureBatches(where, model, data, options)
  const { loss: lossOf, scores: scoresOf } = rule!
  let [sum, right] = [0, 0]
  for (const [b, indices] of evaluationBatches(model, data, options.batchSize).entries()) {
    await options.breathe()
    if (options.signal?.aborted) throw abortError(where, options.signal)
    const { loss, correct } = scope(() => {
      const { x, labels } = batchInputs(model, data, indices)
      const output = model.forward(x)
      const loss = lossOf(output, tensor(labels, [indices.length])).item()
      if (!scoresOf) return { loss, correct: 0 }
      const scores = scoresOf(output)
      const best = argmaxRows(scores.read() as Float32Array, scores.size / indices.length)
      return { loss, correct: best.reduce((n, c, i) => n + (c === labels[i] ? 1 : 0), 0) }
    })
    sum += finite(where, model, data.name, b, loss) * indices.length
    right += correct
  }
  return { loss: sum / data.size, ...(scoresOf ? { accuracy: right / data.size } : {}) }
}
