/** Losses on batches of data, in inference (no dropout, running statistics): what scores with gradients are taken from. */
import type { ForwardContext, Model } from '../../../nn/index.js'
import { widened } from '../../../ops/index.js'
import type { Tensor } from '../../../tensor/index.js'
import type { PassContext } from '../../pass.js'
import { trainSettings } from '../../train/settings.js'
import { retrainTask } from '../../train/retrain-task.js'
import type { LossBatches } from './scores.js'

interface Samples {
  readonly samples: number
  readonly batchSize: number
}

/** `see` gets one loss after the other, as a function of the model and of what looks on. The same examples every time. */
export function lossBatches(
  where: string,
  model: Model,
  context: PassContext<Samples>,
): LossBatches & { readonly each: (see: (loss: (m: Model, more?: Partial<ForwardContext>) => Tensor) => void) => Promise<void> } {
  const { options, rng, breathe, progress } = context
  const { samples, batchSize } = options
  const task = retrainTask(context)
  const settings = trainSettings({ epochs: 1, batchSize, seed: rng('samples').uint32() })
  task.check?.(model, settings)
  const first = task.batches(model, settings, { epoch: 0, batch: 0 })
  first.close?.()
  const batches = Math.min(Math.ceil(samples / batchSize), first.batchesPerEpoch)
  return {
    batches,
    each: async (see) => {
      const source = task.batches(model, settings, { epoch: 0, batch: 0 })
      try {
        for (let i = 0; i < batches; i++) {
          const batch = await source.next()
          see((m, more = {}) => {
            const found = task.loss({ forward: (x) => widened(m.forward(x, more)), model: m, settings, step: i }, batch)
            return 'count' in found ? found.loss : found
          })
          progress(where, i + 1, batches)
          await breathe()
        }
      } finally {
        source.close?.()
      }
    },
  }
}
