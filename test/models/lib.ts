/** A little model for the tests of files: dense, and with every weight kind. */
import { Rng } from '../../ts/base/rng.js'
import {
  batchNorm,
  build,
  conv2d,
  flatten,
  freshValues,
  linear,
  maskWeight,
  Model,
  QuantizedWeight,
  sequential,
  sparseFrom,
  type ModelInfo,
  type Weight,
} from '../../ts/nn/index.js'
import { quantizeRows, topkMask } from '../../ts/ops/index.js'
import { callOp, full, scope } from '../../ts/tensor/index.js'

export const info: ModelInfo = {
  name: 'little',
  task: 'classification',
  classes: ['no', 'yes'],
  inputShape: [2, 6, 6],
  normalize: { mean: 0.5, std: 2 },
  history: [{ pass: 'train', seed: 3 }],
}
const spec = sequential({
  conv: conv2d({ in: 2, out: 4, kernel: [3, 3], stride: [1, 1], padding: [1, 1], bias: true }),
  norm: batchNorm({ channels: 4, eps: 1e-5, momentum: 0.1 }),
  flatten: flatten({}),
  fc1: linear({ in: 144, out: 16, bias: true, init: 'he' }),
  fc2: linear({ in: 16, out: 2, bias: false, init: 'he' }),
})
export const fresh = (): Model =>
  new Model(build(spec, freshValues(Rng.of(5))), info, { notes: { dtype: 'u8', shape: [3], data: new Uint8Array([1, 2, 3]) } })

function int8(w: Weight): QuantizedWeight {
  const rows = w.shape[0]!
  const scale = full([rows, 1], 0.02)
  return new QuantizedWeight({
    shape: w.shape,
    q: quantizeRows(w.dense().reshapeView([rows, w.dense().size / rows]), scale, null, -127, 127),
    scale,
    bits: 8,
    layout: 'channel',
    input: { scale: 0.03, zero: 120 },
  })
}

/** conv int8, fc1 sparse f32, fc2 masked, biases dense. */
export function mixed(): Model {
  return scope(() => {
    const model = fresh()
    const of = (p: string): Weight => model.weights().find(({ path: q }) => q === p)!.weight
    const mask = (w: Weight, share: number): Weight =>
      maskWeight(w, topkMask(callOp('abs', [w.dense()])[0]!, Math.round(w.dense().size * share)))
    const small = model.withWeights(
      new Map([
        ['conv.weight', int8(of('conv.weight'))],
        ['fc1.weight', sparseFrom(mask(of('fc1.weight'), 0.2))],
        ['fc2.weight', mask(of('fc2.weight'), 0.5)],
      ]),
    )
    return small
  })
}
