/** The work of the kill test: the same in the parent and in the children. */
import { prune, quantize, recipe, sparsify, train, type Recipe } from '../../ts/compress/index.js'
import type { Model } from '../../ts/nn/index.js'
import { bars, convnet, quick } from './toys.js'

export const killData = bars(160)
export const killModel = (): Model => convnet(3)
const retrain = train.rewindLearningRate({ epochs: 3 })
export const killRecipe: Recipe = recipe(
  [
    [prune.magnitude({ iterative: { fraction: 0.3, rounds: 6 }, scope: 'global', retrain, training: quick })],
    [quantize.static({ samples: 64 })],
    [sparsify.csr()],
  ],
  { seed: 11 },
)
