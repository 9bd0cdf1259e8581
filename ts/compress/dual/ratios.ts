/** How much of its outputs each twin answers, step by step: the ratio depends on the input where the rule has thresholds. */
import { batchInputs, evaluationBatches } from '../../models/inputs.js'
import { watchDual, type DualWeight, type Model } from '../../nn/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import type { PassContext } from '../pass.js'
import { trainSettingsSchema } from '../train/settings.js'

/** Most steps of a sequence that a report shows. */
const STEPS = 512
const EXAMPLES = { numbers: 32, text: 8 }

/**
 * By path of the weight: the share of its products that the twin answered in each step of a first batch of the data (of a task: from the zero state), the mean over
 * the batch; one number for layers without steps.
 */
export async function answeredRatios(model: Model, { data, task }: PassContext<unknown>): Promise<Record<string, number[]>> {
  const paths = new Map<DualWeight, string>()
  for (const { path, weight } of model.weights()) if (weight.kind === 'dual') paths.set(weight as DualWeight, path)
  const out: Record<string, number[]> = {}
  const see = (weight: DualWeight, count: Tensor, outputs: number): void => {
    const path = paths.get(weight)
    if (path === undefined || out[path]) return
    const values = count.read() as Int32Array
    const [steps, width] = count.rank === 2 ? (count.shape as [number, number]) : [1, values.length]
    out[path] = Array.from({ length: Math.min(STEPS, steps) }, (_, t) => {
      const sum = values.subarray(t * width, (t + 1) * width).reduce((a, b) => a + b, 0)
      return Number((sum / Math.max(1, width * outputs)).toFixed(4))
    })
  }
  const watched = (run: () => unknown): void => scope(() => watchDual(see, () => void run()))
  if (!task) {
    const first = evaluationBatches(model, data!, EXAMPLES[data!.input])[0]
    if (first) watched(() => model.forward(batchInputs(model, data!, first).x))
    return out
  }
  const settings = trainSettingsSchema.parse({ epochs: 1, batchSize: 16 })
  const source = task.batches(model, settings, { epoch: 0, batch: 0 })
  try {
    const batch = await source.next()
    watched(() => task.loss({ forward: (x) => model.forward(x), model, settings, step: 0 }, batch))
  } finally {
    source.close?.()
  }
  return out
}
