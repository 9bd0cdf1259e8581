/** Convolutions in plans: values of the recorded calls, what is taken in, which order images lie in, and real nets. */
import { describe, expect, test } from 'vitest'
import { architectures, ops, scope, tensor, type Tensor } from '../../ts/index.js'
import { activation, batchNorm, conv2d, sequential } from '../../ts/nn/index.js'
import { track } from '../clean-up.js'
import { floats, modelOf } from './models.js'
import { namesOf, planSteps } from './plan-steps.js'

const stepsOf = (...[model, inputs, tolerance = 3e-6]: Parameters<typeof planSteps>): string[] =>
  namesOf(planSteps(model, inputs, tolerance))

const weights = (...shape: number[]): Tensor => track(tensor(floats(...shape).data, shape))
const channel = (c: number): Tensor => track(tensor(floats(c).data, [1, c, 1, 1]))

describe('a convolution', () => {
  const w = (): Tensor => weights(20, 12, 3, 3)
  const x = floats(2, 12, 9, 7)
  const conv = (t: Tensor, f: Tensor): Tensor => ops.conv2d(t, f, null, { padding: 1 })

  test('takes in constants per channel, a residual and an activation', () => {
    const [f, s, b, one] = [w(), channel(20), channel(20), weights(20, 12, 1, 1)]
    const norm = (t: Tensor): Tensor => ops.add(ops.mul(conv(t, f), s), b)
    expect(stepsOf((t: Tensor) => ops.relu(norm(t)), x)).toEqual(['conv2d_last'])
    expect(stepsOf((t: Tensor) => ops.relu(ops.add(norm(t), ops.conv2d(t, one))), x)).toEqual(['conv2d_last', 'conv2d_last'])
    for (const act of [ops.sigmoid, ops.silu, ops.hardSwish, ops.hardSigmoid, (t: Tensor) => ops.clip(t, 0, 6)])
      expect(stepsOf((t: Tensor) => ops.scaleShift(act(norm(t)), 0.5, 2), x)).toEqual(['conv2d_last'])
    // Two activations, or constants per channel behind one, stay.
    expect(stepsOf((t: Tensor) => ops.relu(ops.sigmoid(norm(t))), x)).toEqual(['conv2d_last', 'relu'])
    expect(stepsOf((t: Tensor) => ops.mul(ops.relu(conv(t, f)), s), x)).toEqual(['conv2d_last', 'mul'])
  })

  test('takes in activations that are written out', () => {
    const [f, three, six] = [w(), track(tensor([3])), track(tensor([6]))]
    const hardSwish = (y: Tensor): Tensor => ops.div(ops.mul(y, ops.clip(ops.add(y, three), 0, 6)), six)
    const swish = (y: Tensor): Tensor => ops.mul(y, ops.sigmoid(y))
    expect(stepsOf((t: Tensor) => hardSwish(conv(t, f)), x)).toEqual(['conv2d_last'])
    expect(stepsOf((t: Tensor) => swish(conv(t, f)), x)).toEqual(['conv2d_last'])
    // Another clip is no hard swish.
    expect(stepsOf((t: Tensor) => ((y) => ops.mul(y, ops.clip(ops.add(y, three), 0, 5)))(conv(t, f)), x)).toHaveLength(4)
  })

  test('leaves what somebody else sees', () => {
    const f = w()
    const seen = (t: Tensor): Record<string, Tensor> => ((y) => ({ y, z: ops.relu(y) }))(conv(t, f))
    expect(stepsOf(seen, x)).toEqual(['conv2d_last', 'relu'])
    const twice = (t: Tensor): Tensor => ((y) => ops.add(y, y))(conv(t, f))
    expect(stepsOf(twice, x)).toEqual(['conv2d_last', 'add'])
    // Filters that come from an input are not packed.
    expect(stepsOf((i: { x: Tensor; w: Tensor }) => conv(i.x, i.w), { x, w: floats(20, 12, 3, 3) })).toEqual(['conv2d'])
  })

  test('leaves a gate of another view of itself', () => {
    const [f, square] = [w(), floats(2, 12, 6, 6)]
    const turned = (t: Tensor): Tensor => ops.permute(t, [0, 1, 3, 2])
    for (const gate of [
      (y: Tensor) => ops.sigmoid(turned(y)),
      (y: Tensor) => ops.clip(ops.scaleShift(turned(y), 1, 3), 0, 6),
      (y: Tensor) => ops.clip(turned(ops.scaleShift(y, 1, 3)), 0, 6),
    ])
      expect(stepsOf((t: Tensor) => ((y) => ops.mul(y, gate(y)))(conv(t, f)), square)).toContain('mul')
  })

  test('leaves memory that another step writes too in its order', () => {
    const f = w()
    const overwritten = (t: Tensor): Record<string, Tensor> => {
      const seen = ops.relu(conv(t, f))
      const [b, both] = [ops.sigmoid(seen), ops.concat([seen, t], 1)]
      const before = { b: ops.scaleShift(b, 2, 1), both: ops.relu(both) }
      ops.relu.into(b, conv(t, f))
      ops.relu.into(both, ops.concat([t, seen], 1))
      return { c: ops.add(before.b, b), d: ops.add(before.both, both) }
    }
    expect(stepsOf(overwritten, x)).toContain('relu')
  })

  test('leaves constants that are not finite as filters', () => {
    const f = track(
      tensor(
        Float32Array.from({ length: 20 * 12 * 9 }, (_, i) => i % 3),
        [20, 12, 3, 3],
      ),
    )
    const zero = track(
      tensor(
        Float32Array.from({ length: 20 }, (_, c) => c % 2),
        [1, 20, 1, 1],
      ),
    )
    expect(stepsOf((t: Tensor) => ops.clip(ops.div(conv(t, f), zero), -9, 9), x)).toContain('div')
  })
})

test('every shape of a convolution', () => {
  const cases: readonly (readonly [number[], number[], Parameters<typeof ops.conv2d>[3]])[] = [
    [[1, 3, 30, 31], [17, 3, 7, 7], { stride: [2, 2], padding: 3 }],
    [[3, 40, 5, 6], [33, 40, 1, 1], {}],
    [[1, 5, 1, 40], [7, 5, 1, 5], { stride: [1, 2], padding: [[0, 0], [4, 0]] }], // prettier-ignore
    [[2, 24, 9, 9], [24, 1, 5, 5], { groups: 24, padding: 2, stride: [2, 1] }],
    [[1, 12, 8, 8], [18, 4, 3, 3], { groups: 3, dilation: [2, 2], padding: 2 }],
    [[17, 6, 5, 5], [10, 6, 3, 3], { padding: 1 }],
    [[2, 1, 7, 6], [1, 1, 3, 3], { padding: 1 }], // one channel is not depthwise
    [[2, 1, 7, 6], [3, 1, 3, 3], {}],
  ]
  for (const [xs, ws, options] of cases) {
    const [w, b] = [weights(...ws), weights(ws[0]!)]
    expect(stepsOf((t: Tensor) => ops.conv2d(t, w, b, options), floats(...xs))).toEqual(['conv2d_last'])
  }
})

test('images keep their order through pools, sums and concatenations, and views of them are right', () => {
  const [f, g] = [weights(16, 8, 3, 3), weights(8, 24, 1, 1)]
  const net = (x: Tensor): Record<string, Tensor> =>
    scope(() => {
      const y = ops.conv2d(x, f, null, { padding: 1 })
      const gated = ops.mul(y, ops.sigmoid(ops.mean(y, [2, 3], true)))
      const small = ops.maxPool2d(gated, 3, { stride: 2, padding: 1 })
      const even = ops.avgPool2d(ops.concat([gated, x], 1), 2)
      const rows = ops.permute(ops.reshape(small, [2, 16, 20]), [0, 2, 1])
      return {
        even: ops.conv2d(even, g).alias(),
        rows: ops.scaleShift(rows, 2).alias(),
        part: ops.scaleShift(ops.slice(small, [0, 3, 1, 0], [2, 5, 2, 5]), -1).alias(),
        flat: ops.relu(ops.reshape(small, [2, 320])).alias(),
        plain: small.alias(),
      }
    })
  const steps = stepsOf(net, floats(2, 8, 8, 10))
  for (const op of ['conv2d', 'max_pool2d', 'avg_pool2d']) expect(steps).not.toContain(op)
  expect(steps.filter((op) => op === 'copy').length).toBeLessThanOrEqual(2)
})

test('a residual net is convolutions, a pool, a mean and a product', () => {
  const { spec, inputShape } = architectures.resnet18({ inputShape: [3, 64, 64], classes: 10 })
  const steps = stepsOf(track(modelOf(spec)), floats(1, ...inputShape), 1e-5)
  expect(steps.filter((op) => op === 'conv2d_last' || op === 'conv2d_winograd')).toHaveLength(20)
  expect(steps.length).toBeLessThanOrEqual(25)
})

test('batch statistics in eval mode become part of the filters', () => {
  const spec = sequential({
    conv: conv2d({ in: 4, out: 6, kernel: [3, 3] }),
    bn: batchNorm({ channels: 6 }),
    relu: activation({ function: 'relu' }),
  })
  expect(stepsOf(track(modelOf(spec)), floats(1, 4, 6, 6))).toEqual(['conv2d_last'])
})
