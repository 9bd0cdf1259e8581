/** Convolutions of 3 x 3 by Winograd's transforms in plans: which ones, values, threads, and how to do without. */
import { afterEach, describe, expect, test } from 'vitest'
import { architectures, ops, session, setThreads, tensor, threads, type SessionOptions, type Tensor } from '../../ts/index.js'
import { track } from '../clean-up.js'
import { floats, modelOf } from './models.js'

const before = threads()
afterEach(() => setThreads(before))

const weights = (...shape: number[]): Tensor => track(tensor(floats(...shape).data, shape))
type Model = Parameters<typeof session>[0]
type Input = ReturnType<typeof floats>

const opsOf = (model: Model, x: Input, options: SessionOptions = {}): string[] =>
  track(session(model, options))
    .profile(x, 1)
    .steps.map((s) => s.op)
function valuesOf(model: Model, x: Input, options: SessionOptions, count: number): Float32Array {
  setThreads(count)
  const { output } = track(session(model, options)).runSync(x)
  return output!.data as Float32Array
}
/** The largest difference, as a share of the largest value. */
function difference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length)
  const largest = a.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
  return a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i]!)), 0) / largest
}

describe('a convolution of 3 x 3 with stride 1', () => {
  const cases: readonly (readonly [number[], number, Parameters<typeof ops.conv2d>[3]])[] = [
    [[1, 64, 28, 28], 64, { padding: 1 }],
    [[2, 48, 21, 19], 50, {}],
    [[1, 32, 30, 17], 40, { padding: [[0, 2], [1, 0]] }], // prettier-ignore
    [[1, 256, 14, 14], 256, { padding: 1 }],
  ]
  test.each(cases)('%j to %i channels gives what was recorded, with the same bits for any number of threads', (shape, out, options) => {
    const [w, b, x] = [weights(out, shape[1]!, 3, 3), weights(out), floats(...shape)]
    const model = (t: Tensor): Tensor => ops.conv2d(t, w, b, options)
    expect(opsOf(model, x)).toEqual(['conv2d_winograd'])
    const want = valuesOf(model, x, { fuse: false }, 1)
    const got = valuesOf(model, x, {}, 1)
    expect(difference(want, got)).toBeLessThanOrEqual(4e-6)
    for (const count of [2, 3]) expect(valuesOf(model, x, {}, count)).toEqual(got)
  })

  test('takes in what follows it', () => {
    const [w, scale, x] = [weights(64, 64, 3, 3), weights(1, 64, 1, 1), floats(1, 64, 28, 28)]
    const model = (t: Tensor): Tensor => ops.relu(ops.add(ops.mul(ops.conv2d(t, w, null, { padding: 1 }), scale), t))
    // What is added has channels first and is copied; so is the result.
    expect(opsOf(model, x).filter((op) => op !== 'copy')).toEqual(['conv2d_winograd'])
    expect(difference(valuesOf(model, x, { fuse: false }, 1), valuesOf(model, x, {}, 2))).toBeLessThanOrEqual(4e-6)
  })

  test('is a direct sum where the session says so, where it is small, and where it is another convolution', () => {
    const model = (...args: [number[], Parameters<typeof ops.conv2d>[3]]): Model => {
      const w = weights(...args[0])
      return (t: Tensor) => ops.conv2d(t, w, null, args[1])
    }
    const wide = model([64, 64, 3, 3], { padding: 1 })
    const x = floats(1, 64, 28, 28)
    expect(opsOf(wide, x, { convolution: 'direct' })).toEqual(['conv2d_last'])
    expect(opsOf(wide, x, { fuse: false })).toEqual(['conv2d'])
    expect(difference(valuesOf(wide, x, { fuse: false }, 1), valuesOf(wide, x, { convolution: 'direct' }, 1))).toBeLessThanOrEqual(3e-6)
    expect(opsOf(wide, floats(1, 64, 4, 4))).toEqual(['conv2d_last'])
    expect(opsOf(model([64, 64, 3, 3], { stride: [2, 2] }), x)).toEqual(['conv2d_last'])
    expect(opsOf(model([64, 64, 3, 3], { dilation: [2, 2] }), x)).toEqual(['conv2d_last'])
    expect(opsOf(model([64, 32, 3, 3], { groups: 2 }), x)).toEqual(['conv2d_last'])
  })

  test('another word for it is refused', () => {
    expect(() => session((t: Tensor) => t, { convolution: 'winograd' as never })).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })
})

test('both ways of one model, and one model at two sizes, keep filters of their own', () => {
  const w = weights(64, 64, 3, 3)
  const model = (t: Tensor): Tensor => ops.conv2d(t, w, null, { padding: 1 })
  const [auto, direct] = [track(session(model)), track(session(model, { convolution: 'direct' }))]
  for (const side of [28, 4, 29]) {
    const x = floats(1, 64, side, side)
    const [a, b] = [auto.runSync(x).output!.data as Float32Array, direct.runSync(x).output!.data as Float32Array]
    expect(difference(b, a)).toBeLessThanOrEqual(4e-6)
  }
})

test('a residual net stays within 1e-5 of its largest value', () => {
  const { spec, inputShape } = architectures.resnet18({ inputShape: [3, 96, 96], classes: 10 })
  const [model, x] = [track(modelOf(spec)), floats(1, ...inputShape)]
  expect(opsOf(model, x)).toContain('conv2d_winograd')
  expect(difference(valuesOf(model, x, { fuse: false }, 1), valuesOf(model, x, {}, 2))).toBeLessThanOrEqual(1e-5)
})
