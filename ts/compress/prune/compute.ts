/** What is left of a model's arithmetic when only weights that are not 0 count. */
import { cost } from '../../analyze/index.js'
import { OptionError } from '../../base/errors.js'
import type { Dataset } from '../../data/dataset.js'
import { batchInputs } from '../../models/inputs.js'
import type { Model } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import { keptOf } from './candidates.js'

/** Multiply-adds of the layers at the density of their weights, over all of them; on the first example. 1 where nothing multiplies. */
export function computeShare(model: Model, data: Dataset | undefined): number {
  if (!data)
    throw new OptionError('ERR_OPTION', 'scratch with the budget of compute counts the arithmetic of an example: give the option "data"')
  const { layers, macs } = scope(() => cost(model, batchInputs(model, data, [0]).x))
  const densities = new Map<string, number>()
  for (const { layer, weight } of model.weights()) {
    const leaf = weight.shape.length >= 2 ? weight.trainable()[0] : undefined
    if (leaf) densities.set(layer, keptOf(leaf) / Math.max(1, leaf.value.size))
  }
  return macs > 0 ? layers.reduce((sum, l) => sum + l.macs * (densities.get(l.path) ?? 1), 0) / macs : 1
}
