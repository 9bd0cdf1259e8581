/** Share of samples whose largest score is at their label: what stop rules and epoch events need, one batch at a time. */
import type { Dataset } from '../../data/dataset.js'
import { batchInputs, evaluationBatches } from '../../models/inputs.js'
import type { Model } from '../../nn/index.js'
import { argmax } from '../../ops/index.js'
import { scope } from '../../tensor/index.js'

const BATCH = 256

export async function accuracy(model: Model, data: Dataset, breathe: () => Promise<void>): Promise<number> {
  let right = 0
  for (const indices of evaluationBatches(model, data, BATCH)) {
    right += scope(() => {
      const { x, labels } = batchInputs(model, data, indices)
      const found = argmax(model.forward(x)).read()
      return labels.reduce((n, label, i) => n + (Number(found[i]) === label ? 1 : 0), 0)
    })
    await breathe()
  }
  return right / data.size
}
