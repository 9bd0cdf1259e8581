/** Integer convolutions in plans: the bits of the recorded calls, what is taken in, and where images stay codes. */
import { describe, expect, test } from 'vitest'
import { numberDataset } from '../../ts/data/index.js'
import { architectures, compress, ops, quantize, recipe, tensor, type Model, type Tensor } from '../../ts/index.js'
import { activation, batchNorm, conv2d, sequential, type ModuleSpec } from '../../ts/nn/index.js'
import { track } from '../clean-up.js'
import { floats, modelOf } from './models.js'
import { namesOf, planSteps, type Step } from './plan-steps.js'

/** How many convolutions write codes. */
const codes = (steps: readonly Step[]): number => steps.filter((s) => s.op === 'qconv2d_last' && s.results.includes('u8')).length

interface Layer {
  readonly out: number
  readonly per: number
  readonly kernel?: number
  readonly groups?: number
  readonly stride?: number
  readonly scale?: number
  readonly zero?: number
}

/** A layer with seeded codes, the same for every call of it. */
function layer({ out, per, kernel = 1, groups = 1, stride = 1, scale = 0.04, zero = 110 }: Layer): (x: Tensor) => Tensor {
  const shape = [out, per, kernel, kernel]
  const q = Int8Array.from(floats(...shape).data, (v) => Math.max(-127, Math.min(127, Math.round(40 * v))))
  const filters = track(ops.qconv2dPack(track(tensor(q, shape)), groups))
  const scales = track(
    tensor(
      Float32Array.from(floats(out).data, (v) => 0.002 + 0.001 * Math.abs(v)),
      [out],
    ),
  )
  const bias = track(tensor(floats(out).data, [out]))
  const pad = (kernel - 1) / 2
  return (x) => ops.qconv2d(x, filters, scales, bias, shape, [stride, stride], [pad, pad, pad, pad], [1, 1], groups, scale, zero)
}

describe('an integer convolution', () => {
  const x = floats(2, 12, 9, 7)

  test('has the bits of the call, of every shape', () => {
    for (const l of [
      { out: 20, per: 12, kernel: 3 },
      { out: 70, per: 12 },
      { out: 12, per: 1, kernel: 5, groups: 12, stride: 2 },
      { out: 24, per: 4, kernel: 3, groups: 3 },
    ])
      expect(namesOf(planSteps(layer(l), x))).toEqual(['qconv2d_last'])
  })

  test('takes in a residual and an activation, and constants per channel', () => {
    const [a, b] = [layer({ out: 20, per: 12, kernel: 3 }), layer({ out: 20, per: 12 })]
    expect(namesOf(planSteps((t: Tensor) => ops.relu(a(t)), x))).toEqual(['qconv2d_last'])
    expect(namesOf(planSteps((t: Tensor) => ops.relu(ops.add(a(t), b(t))), x))).toEqual(['qconv2d_last', 'qconv2d_last'])
    const [s, c] = [floats(20), floats(20)].map(({ data }) => track(tensor(data, [1, 20, 1, 1])))
    for (const act of [ops.relu, ops.sigmoid, ops.silu, ops.hardSwish, ops.hardSigmoid])
      expect(namesOf(planSteps((t: Tensor) => ops.scaleShift(act(ops.add(ops.mul(a(t), s!), c!)), 0.5, 2), x, 3e-6))).toEqual([
        'qconv2d_last',
      ])
  })

  test('hands codes to convolutions that would make the same', () => {
    const [a, d, c, e] = [
      layer({ out: 20, per: 12, kernel: 3 }),
      layer({ out: 20, per: 1, kernel: 3, groups: 20, scale: 0.03, zero: 9 }),
      layer({ out: 33, per: 20, scale: 0.02, zero: 0 }),
      layer({ out: 8, per: 20, kernel: 3, scale: 0.02, zero: 0 }),
    ]
    const chain = planSteps((t: Tensor) => c(ops.relu(d(ops.relu(a(t))))), x)
    expect([namesOf(chain), codes(chain)]).toEqual([['qconv2d_last', 'qconv2d_last', 'qconv2d_last'], 2])
    // Two readers of one scale; two scales; a reader of numbers; an output.
    expect(codes(planSteps((t: Tensor) => ((y) => ({ c: c(y), e: e(y) }))(ops.relu(a(t))), x))).toBe(1)
    expect(codes(planSteps((t: Tensor) => ((y) => ({ c: c(y), d: d(y) }))(ops.relu(a(t))), x))).toBe(0)
    expect(codes(planSteps((t: Tensor) => ((y) => ({ c: c(y), y: ops.sigmoid(y) }))(ops.relu(a(t))), x))).toBe(0)
    expect(codes(planSteps((t: Tensor) => ((y) => ({ c: c(y), y }))(ops.relu(a(t))), x))).toBe(0)
  })
})

async function staticInt8(spec: ModuleSpec, shape: readonly number[]): Promise<Model> {
  const { data } = floats(4, ...shape)
  const set = numberDataset({ name: 'x', features: data, inputShape: shape, labels: new Int32Array(4), classes: ['a'] })
  const { model } = await compress(track(modelOf(spec)), recipe([[quantize.static({})]]), { data: set })
  return track(model)
}

test('a static int8 net of separable layers is convolutions of codes', async () => {
  const spec = sequential({
    first: conv2d({ in: 3, out: 16, kernel: [3, 3], stride: [2, 2], padding: [1, 1] }),
    norm: batchNorm({ channels: 16 }),
    act: activation({ function: 'hardSwish' }),
    deep: conv2d({ in: 16, out: 16, kernel: [3, 3], padding: [1, 1], groups: 16 }),
    gate: activation({ function: 'relu' }),
    wide: conv2d({ in: 16, out: 40, kernel: [1, 1] }),
  })
  const steps = planSteps(await staticInt8(spec, [3, 16, 16]), floats(1, 3, 16, 16), 1e-5)
  expect([namesOf(steps), codes(steps)]).toEqual([['qconv2d_last', 'qconv2d_last', 'qconv2d_last'], 2])
})

test('a static int8 residual net is convolutions, a pool, a mean and a product', async () => {
  const { spec, inputShape } = architectures.resnet18({ inputShape: [3, 64, 64], classes: 10 })
  // A code that rounds the other way, after constants were folded, is a step of the next layer's input.
  const steps = planSteps(await staticInt8(spec, inputShape), floats(1, ...inputShape), 2e-2)
  expect(namesOf(steps).filter((op) => op === 'qconv2d_last')).toHaveLength(20)
  expect(codes(steps)).toBeGreaterThanOrEqual(8)
  expect(steps.length).toBeLessThanOrEqual(25)
})
