/** Work for the kill tests: one small compression for each pass. The same in the parent and in the processes that are killed. */
import { Rng } from '../../ts/base/rng.js'
import {
  distill,
  dual,
  factorize,
  language,
  prune,
  quantize,
  recipe,
  sparsify,
  train,
  type CompressOptions,
  type PassSpec,
  type Recipe,
} from '../../ts/compress/index.js'
import { languageModel } from '../../ts/models/index.js'
import { build, encoderBlock, flatten, freshValues, linear, Model, sequential } from '../../ts/nn/index.js'
import { bars, blobs, convnet, mlp, quick } from './toys.js'

export interface Job {
  readonly model: () => Model
  readonly recipe: Recipe
  readonly options: () => CompressOptions
  /** Checkpoints inside the pass after which it is killed; without: before the first one is written. */
  readonly saves?: number
}

const training = { ...quick, epochs: 2 }
const images = (): CompressOptions => ({ data: bars(96) })
const points = (): CompressOptions => ({ data: blobs(64) })
const retrain = train.finetune({ epochs: 2, lr: 0.02 })

function attention(): Model {
  const root = sequential({
    b0: encoderBlock({ width: 8, heads: 2, hidden: 16 }),
    b1: encoderBlock({ width: 8, heads: 2, hidden: 16 }),
    b2: encoderBlock({ width: 8, heads: 2, hidden: 16 }),
    flat: flatten({}),
    out: linear({ in: 64, out: 2, bias: true, init: 'he' }),
  })
  const info = { name: 'attention', task: 'classification' as const, classes: ['upright', 'lying'], inputShape: [8, 8], history: [] }
  return new Model(build(root, freshValues(Rng.of(5, 'init'))), info)
}

function words(): Model {
  const spec = languageModel({ vocabulary: 20, width: 12, hidden: 16, layers: 1, cell: 'lstm' })
  return new Model(build(spec, freshValues(Rng.of(4, 'words'))), { name: 'words', task: 'language', history: [] })
}
const text = (): CompressOptions => ({
  task: language(
    Int32Array.from({ length: 400 }, (_, i) => (i * i + (i >> 3)) % 20),
    { window: 10 },
  ),
})

const small = (): Model => mlp({ hidden: 16 })
/** A stage before, so that there is a checkpoint to go on from when the pass has saved nothing yet: it touches a weight that is not in the way. */
const beforehand = new Map<() => Model, string>([
  [convnet, 'fc.weight'],
  [attention, 'out.weight'],
  [words, 'rnn.weight_ih*'],
  [small, 'fc1.weight'],
])
const job = (
  model: () => Model,
  options: () => CompressOptions,
  passes: readonly PassSpec[],
  more: { readonly saves?: number; readonly whole?: boolean } = {},
): Job => ({
  model,
  options,
  recipe: recipe(
    [...(more.whole ? [] : [[prune.random({ sparsity: 0.1 }, { targets: [beforehand.get(model)!] })]]), ...passes.map((pass) => [pass])],
    { seed: 11 },
  ),
  ...(more.saves === undefined ? {} : { saves: more.saves }),
})

/** By the name of the pass in whose middle the process dies. */
export const jobs: Readonly<Record<string, Job>> = {
  'prune/magnitude': job(convnet, images, [prune.magnitude({ iterative: { fraction: 0.3, rounds: 2 }, retrain, training })], { saves: 5 }),
  'prune/gradient': job(convnet, images, [prune.gradient({ sparsity: 0.5, samples: 64, retrain, training })], { saves: 3 }),
  'prune/obd': job(small, points, [prune.obd({ sparsity: 0.5, vectors: 4, samples: 32, retrain, training })], { saves: 2 }),
  'prune/obs': job(small, points, [prune.obs({ sparsity: 0.5 })]),
  'prune/wanda': job(convnet, images, [prune.wanda({ sparsity: 0.5, retrain, training })], { saves: 3 }),
  'prune/sparsegpt': job(small, points, [prune.sparsegpt({ sparsity: 0.5 })]),
  'prune/movement': job(convnet, images, [prune.movement({ sparsity: 0.5, retrain, training })], { saves: 4 }),
  'prune/random': job(convnet, images, [prune.random({ sparsity: 0.5, retrain, training })], { saves: 3 }),
  'prune/filters': job(convnet, images, [prune.filters({ ratio: 0.5, score: 'taylor', samples: 32, retrain, training })], { saves: 4 }),
  'prune/rows': job(small, points, [prune.rows({ ratio: 0.5, retrain, training })], { saves: 3 }),
  'prune/heads': job(attention, images, [prune.heads({ ratio: 0.5, samples: 32, retrain, training })], { saves: 3 }),
  'prune/layers': job(attention, images, [prune.layers({ count: 1, samples: 32 })]),
  'distill/train': job(attention, images, [distill.train({ student: { keep: [0, 2] }, training })], { saves: 4, whole: true }),
  'quantize/rtn': job(small, points, [quantize.rtn({ bits: 4 })]),
  'quantize/gptq': job(small, points, [quantize.gptq({ bits: 4 })]),
  'quantize/hqq': job(small, points, [quantize.hqq({ bits: 4 })]),
  'quantize/mixed': job(small, points, [quantize.mixed({ budget: 4000, samples: 32, iterations: 8 })], { saves: 6 }),
  'quantize/bias-correction': job(small, points, [quantize.rtn({ bits: 4 }), quantize.biasCorrection()]),
  'quantize/dynamic-int8': job(small, points, [quantize.dynamic()]),
  'quantize/static-int8': job(convnet, images, [quantize.static({ samples: 32 })]),
  'quantize/qat': job(convnet, images, [quantize.qat({ retrain, training })], { saves: 4 }),
  'quantize/smooth': job(attention, images, [quantize.smooth({ samples: 32 })]),
  'quantize/equalize': job(convnet, images, [quantize.equalize()]),
  'quantize/auto': job(convnet, images, [quantize.auto({ probes: 16, samples: 32 })], { saves: 3 }),
  'quantize/awq': job(small, points, [quantize.awq({ bits: 4 })]),
  'quantize/adaround': job(small, points, [quantize.adaround({ bits: 4, iterations: 100 })]),
  'quantize/codebook': job(small, points, [quantize.codebook({ bits: 3 })]),
  'quantize/cast': job(small, points, [quantize.cast({ format: 'bf16' })]),
  'quantize/binary': job(small, points, [quantize.binary()]),
  'sparsify/csr': job(small, points, [prune.magnitude({ sparsity: 0.8 }), sparsify.csr()]),
  'sparsify/layout': job(small, points, [prune.magnitude({ structure: '2:4' }), sparsify.layout({ layout: '2:4' })]),
  'factorize/svd': job(small, points, [factorize.svd({ ratio: 0.5, weighting: 'input' })]),
  'dual/build': job(words, text, [dual.build({ ratio: 0.5, k: 4, samples: 200 }, { targets: ['rnn.weight_hh*'] })]),
}

/** Long enough to be killed at any moment: three stages, six rounds of retraining. */
export const longJob: Job = {
  model: () => convnet(3),
  options: () => ({ data: bars(160) }),
  recipe: recipe(
    [
      [
        prune.magnitude({
          iterative: { fraction: 0.3, rounds: 6 },
          scope: 'global',
          retrain: train.rewindLearningRate({ epochs: 3 }),
          training: quick,
        }),
      ],
      [quantize.static({ samples: 64 })],
      [sparsify.csr()],
    ],
    { seed: 11 },
  ),
}
