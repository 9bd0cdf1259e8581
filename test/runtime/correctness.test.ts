/** Plans do not go stale, do not depend on the values of the recorded run, and leave nothing open when a model is wrong. */
import { describe, expect, test } from 'vitest'
import { memory, ops, scope, session, tensor, type Session, type Tensor } from '../../ts/index.js'
import { interruptible, WorkerJob } from '../../ts/native/worker-job.js'
import { track } from '../clean-up.js'
import { floats } from './models.js'

const full = (shape: number[], value: number): { data: Float32Array; shape: number[] } => ({
  data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(value),
  shape,
})
const constant = (shape: number[], value: number): Tensor => track(tensor(full(shape, value).data, shape))
const of = (f: (x: Tensor) => Tensor | Record<string, Tensor>): Session => track(session(f))
const first = (s: Session, x: { data: Float32Array; shape: number[] }): number => (s.runSync(x).output!.data as Float32Array)[0]!
const busy = expect.objectContaining({ code: 'ERR_BUSY' }) as Error

describe('weights behind a plan', () => {
  test('a packed weight and the bias beside it are busy while a session lives, and new afterwards', () => {
    const [w, b] = [constant([4, 4], 1), constant([4], 0)]
    const f = (x: Tensor): Tensor => ops.linear(x, w, b)
    const [s, other] = [of(f), of(f)]
    expect(first(s, full([8, 4], 1))).toBe(4)
    expect(first(other, full([9, 4], 1))).toBe(4)
    s.dispose()
    expect(() => w.write(full([4, 4], 5).data)).toThrow(busy) // the other session has the same pack
    expect(() => ops.assign(w, w)).toThrow(busy)
    expect(() => b.write(full([4], 5).data)).toThrow(busy)
    other.dispose()
    w.write(full([4, 4], 5).data)
    expect(first(of(f), full([8, 4], 1))).toBe(20)
  })

  test('disposed with a run in flight', async () => {
    const w = constant([64, 64], 1)
    const f = (x: Tensor): Tensor => ops.linear(ops.linear(x, w, null), w, null)
    const x = full([64, 64], 1)
    const s = of(f)
    s.prepare(x)
    const running = s.run(x)
    s.dispose()
    await running
    w.write(full([64, 64], 0.5).data)
    expect(first(of(f), x)).toBe(1024)
  })

  test('weights of merged products, and biases that were copied', () => {
    const weights = [1, 2, 3].map((v) => constant([8, 8], v / 8))
    const bias = constant([8], 1)
    const f = (x: Tensor): Tensor => {
      const [q, k, v] = weights.map((w) => ops.reshape(ops.linear(x, w, bias), [1, 20, 8]))
      return ops.multiHeadAttention(q!, k!, v!, { heads: 2 })
    }
    const s = of(f)
    expect(s.prepare(full([20, 8], 1)).steps).toBe(2)
    for (const t of [...weights, bias]) expect(() => ops.assign(t, t)).toThrow(busy)
    s.dispose()
    for (const t of [...weights, bias]) ops.assign(t, t)
  })

  test('sources of folded calls and of values that the host read', () => {
    const [w, scale] = [constant([3], 2), constant([1], 3)]
    const s = of((x) => ops.mul(ops.scaleShift(x, scale.item(), 0), ops.exp(ops.neg(w))))
    s.prepare(floats(3))
    expect(() => w.write(full([3], 0).data)).toThrow(busy)
    expect(() => scale.write(full([1], 0).data)).toThrow(busy)
    s.dispose()
    w.write(full([3], 0).data)
    scale.write(full([1], 0).data)
  })

  test('a tensor from before the run that the host overwrites in it: eager', () => {
    const w = constant([3], 2)
    const s = of((x) => {
      const old = ops.exp(w)
      w.write(full([3], 7).data)
      return ops.mul(x, old)
    })
    expect(s.prepare(floats(3)).planned).toBe(false)
  })
})

describe('a model that gives something wrong', () => {
  const x = full([2], 1)
  const disposed = (t: Tensor): Tensor => {
    const y = ops.relu(t)
    y.dispose()
    return y
  }
  for (const [name, f, code] of [
    ['nothing', () => undefined, 'ERR_OPTION'],
    ['null', () => null, 'ERR_OPTION'],
    ['a record of numbers', () => ({ a: 5 }), 'ERR_OPTION'],
    ['a disposed tensor', disposed, 'ERR_DISPOSED'],
  ] as const)
    test(name, () => {
      const s = track(session(f as never))
      expect(() => s.runSync(x)).toThrow(expect.objectContaining({ code }))
      expect(
        first(
          of((t) => ops.neg(t)),
          x,
        ),
      ).toBe(-1)
    })

  test('a refused recording holds nothing', () => {
    const held: number[] = []
    const s = of((t) => {
      ops.sum(t).item()
      for (let i = 0; i < 20; i++) {
        scope(() => void ops.relu(ops.neg(t)))
        held.push(memory().bytes)
      }
      return ops.neg(t)
    })
    expect(s.prepare(full([1000], 1)).planned).toBe(false)
    expect(held.at(-1)).toBe(held[0])
  })
})

describe('values of the recorded run', () => {
  const dense = full([4, 4], 1)
  const row = full([12], 1)
  for (const [name, f, x] of [
    ['csrFromDense', (t: Tensor) => ops.csrFromDense(t)[0], dense],
    ['bitmaskFromDense', (t: Tensor) => ops.bitmaskFromDense(t)[0], dense],
    ['bsrFromDense', (t: Tensor) => ops.bsrFromDense(t, 4, 4)[0], dense],
    ['maskIndices', (t: Tensor) => ops.maskIndices(ops.thresholdMask(t, 0.5, false), 12), row],
  ] as const)
    test(`${name} is not planned, full or not`, () => {
      const s = of(f)
      expect(s.prepare(x)).toMatchObject({ planned: false, reason: expect.stringContaining('depends on values') as string })
    })

  test('op.into with constants into a temporary is a step', () => {
    const c = track(tensor([1, 2, 3, 4]))
    const f = (x: Tensor): Tensor => {
      const t = ops.scaleShift(x, 2, 0)
      const u = ops.exp(t)
      ops.scaleShift.into(t, c, 10, 0)
      return ops.sub(t, u)
    }
    for (const fuse of [true, false]) {
      const s = track(session(f, { fuse }))
      expect(s.prepare(full([4], 0)).planned).toBe(true)
      expect([...(s.runSync(full([4], 0)).output!.data as Float32Array)]).toEqual([9, 19, 29, 39])
    }
  })
})

test('products whose views do not start at a row are not merged', () => {
  const weights = [1, 2, 3].map((k) => track(tensor(Float32Array.from({ length: 64 }, (_, i) => Math.sin(i * 13 + k)), [8, 8]))) // prettier-ignore
  const x = floats(20, 8)
  for (const offset of [0, 4, 8]) {
    const f = (t: Tensor): Tensor => {
      const [q, k, v] = weights.map((w) => ops.reshape(ops.slice(ops.reshape(ops.linear(t, w), [160]), [offset], [144]), [1, 18, 8]))
      return ops.multiHeadAttention(q!, k!, v!, { heads: 2 })
    }
    const want = scope(() => f(tensor(x.data, x.shape)).read())
    const got = of(f).runSync(x).output!.data as Float32Array
    for (let i = 0; i < want.length; i++) expect(got[i]).toBeCloseTo(Number(want[i]), 5)
  }
})

test('a synchronous run ends when the job of its worker is cancelled', () => {
  const s = of((x) => ops.neg(x))
  s.prepare(full([2], 1))
  const job = WorkerJob.open()
  WorkerJob.attach(job.id)
  job.cancel()
  expect(() => interruptible(() => s.runSync(full([2], 1)))).toThrow(expect.objectContaining({ code: 'ERR_ABORTED' }))
  expect(first(s, full([2], 1))).toBe(-1) // not in an interruptible stretch
  job.close()
  WorkerJob.detach() // the thread is that of other tests, too
  expect(interruptible(() => first(s, full([2], 1)))).toBe(-1)
})
