/** Weights that are more than a product with their values, as ONNX: codes of fewer values than u8 has, and what the format cannot say. */
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, modelFromOnnx } from '../../ts/graph/index.js'
import { BinaryWeight, build, FakeInput, FakeWeight, freshValues, linear, Model, QuantizedWeight, type Weight } from '../../ts/nn/index.js'
import { cast, scaleShift } from '../../ts/ops/index.js'
import { full, scope, tensor, type Tensor } from '../../ts/tensor/index.js'

const rng = Rng.of(11)
const floats = (rows: number, cols: number, size = 1): Tensor =>
  tensor(
    Float32Array.from({ length: rows * cols }, () => size * (2 * rng.uniform() - 1)),
    [rows, cols],
  )
const net = (weight: () => Weight): Model =>
  new Model(build(linear({ in: 6, out: 5, bias: false, init: 'he' }), freshValues(rng)), {
    name: 'm',
    task: 'regression',
    history: [],
  }).withWeights(new Map([['weight', scope(weight)]]))
const values = (m: Model, x: Tensor): number[] => scope(() => [...(m.forward(x).read() as Float32Array)])

describe('export of weights that do more', () => {
  it('inputs of few codes are clamped to them', () => {
    const m = net(
      () =>
        new QuantizedWeight({
          shape: [5, 6],
          q: cast(scaleShift(floats(5, 6), 7, 0), 'i8'),
          scale: full([5, 1], 0.1),
          bits: 4,
          layout: 'channel',
          input: { scale: 0.1, zero: 3, limits: [0, 15] },
        }),
    )
    const wide = floats(4, 6, 9) // far beyond the 15 codes
    const file = exportOnnx(m, { example: wide })
    expect(file.graph.nodes.map((n) => n.op)).toContain('Clip')
    const [want, have] = [values(m, wide), values(modelFromOnnx(parseOnnx(encodeOnnx(file))), wide)]
    want.forEach((v, i) => expect(Math.abs(v - have[i]!)).toBeLessThan(1e-4))
  })

  it('refuses what only the weight computes', () => {
    const input = { bits: 8, mode: 'affine', signed: true, decay: 0.9, delay: 0, gradient: 'clipped' } as const
    const config = { bits: 4, layout: 'channel', groups: 1, mode: 'symmetric', gradient: 'clipped' } as const
    for (const m of [
      net(() => new BinaryWeight({ shape: [5, 6], bits: tensor(new Uint8Array(4)), alpha: full([5], 1), input: 'sign' })),
      net(() => FakeWeight.begin(config, { value: floats(5, 6), input: FakeInput.begin(input) })),
    ])
      expect(() => exportOnnx(m, { example: floats(2, 6) })).toThrow(expect.objectContaining({ code: 'ERR_UNSUPPORTED' }))
  })
})
