/** What goes into a session and what comes out: memory of every kind, ownership of results, ends of runs. */
import { getEventListeners } from 'node:events'
import { runInNewContext } from 'node:vm'
import { afterAll, describe, expect, test } from 'vitest'
import { memory, ops, scope, session, tensor, type Tensor } from '../../ts/index.js'

const before = memory().bytes
const twice = session((x: Tensor) => ops.scaleShift(x, 2, 0))
const want = [2, 4, 6]
const both = async (data: unknown): Promise<void> => {
  const input = { data: data as Float32Array, shape: [3] }
  expect([...(twice.runSync(input).output!.data as Float32Array)]).toEqual(want)
  const running = twice.run(input) // copied by now
  ;(data as Float32Array).fill(NaN)
  expect([...((await running).output!.data as Float32Array)]).toEqual(want)
}
afterAll(() => {
  twice.dispose()
  expect(memory().bytes).toBeLessThanOrEqual(before)
})

describe('memory of inputs', () => {
  test('shared, windows of larger buffers, other realms', async () => {
    const shared = new Float32Array(new SharedArrayBuffer(12))
    shared.set([1, 2, 3])
    await both(shared)
    await both(Float32Array.of(9, 1, 2, 3, 9).subarray(1, 4))
    await both(runInNewContext('Float32Array.of(1, 2, 3)'))
    expect(scope(() => [...tensor(runInNewContext('Float32Array.of(1, 2)') as Float32Array).read()])).toEqual([1, 2])
  })

  test('a Buffer is bytes', () => {
    using s = session((x: Tensor) => ops.scaleShift(ops.cast(x, 'f32'), 1, 1))
    expect([...(s.runSync({ data: Buffer.from([1, 2, 3]), shape: [3] }).output!.data as Float32Array)]).toEqual([2, 3, 4])
  })

  test('resizable: the length it has now, on shared memory too', async () => {
    type Resizable = ArrayBuffer & { resize(bytes: number): void }
    const buffer = new (ArrayBuffer as unknown as new (n: number, o: object) => Resizable)(12, { maxByteLength: 64 })
    const tracking = new Float32Array(buffer)
    tracking.set([1, 2, 3])
    await both(tracking)
    for (const bytes of [8, 0]) {
      buffer.resize(bytes)
      expect(() => twice.runSync({ data: tracking, shape: [3] })).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
      await expect(twice.run({ data: tracking, shape: [3] })).rejects.toMatchObject({ code: 'ERR_SHAPE' })
    }
    const growable = new (SharedArrayBuffer as unknown as new (n: number, o: object) => SharedArrayBuffer)(12, { maxByteLength: 64 })
    const view = new Float32Array(growable)
    view.set([1, 2, 3])
    await both(view)
  })

  test('arrays that lie about their length: ERR_SHAPE', () => {
    const small = new Float32Array(1)
    Object.defineProperty(small, 'length', { value: 3 })
    twice.prepare({ data: new Float32Array(3), shape: [3] })
    expect(() => twice.runSync({ data: small, shape: [3] })).toThrow(expect.objectContaining({ code: 'ERR_SHAPE' }))
    expect(() => twice.runSync({ data: new Proxy(new Float32Array(3), {}), shape: [3] })).toThrow()
  })
})

describe('results', () => {
  test('belong to the caller: written to, transferred, and no run sees it', async () => {
    const input = { data: Float32Array.of(1, 2, 3), shape: [3] }
    using s = session((x: Tensor) => ({ same: x, doubled: ops.add(x, x), again: x }))
    for (let i = 0; i < 3; i++) {
      const outputs = i === 0 ? s.runSync(input) : await s.run(input)
      const [same, doubled, again] = [outputs.same!, outputs.doubled!, outputs.again!].map((v) => v.data as Float32Array)
      expect([[...same!], [...doubled!], [...again!]]).toEqual([[1, 2, 3], [2, 4, 6], [1, 2, 3]]) // prettier-ignore
      for (const array of [same!, doubled!, again!]) expect([array.byteOffset, array.buffer.byteLength]).toEqual([0, 12])
      same!.fill(-1)
      expect([...again!]).toEqual([1, 2, 3])
      structuredClone(doubled!.buffer, { transfer: [doubled!.buffer as ArrayBuffer] })
      expect(doubled!.length).toBe(0)
      expect([...input.data]).toEqual([1, 2, 3])
    }
  })

  test('as tensors: the caller’s, each with memory of its own', () => {
    using s = session((x: Tensor) => ({ a: x, b: x }))
    const { a, b } = s.runTensorsSync({ data: Float32Array.of(1, 2), shape: [2] })
    a!.write(Float32Array.of(8, 9))
    expect([...b!.read()]).toEqual([1, 2])
    a!.dispose()
    b!.dispose()
  })
})

describe('ends of runs', () => {
  test('fifty at once of three classes, disposed meanwhile: every one has its own result', async () => {
    const s = session((x: Tensor) => ops.matmul(x, ops.transpose(x)))
    const make = (i: number): { data: Float32Array; shape: number[] } => ({ data: new Float32Array(64 * (1 + (i % 3))).fill(i), shape: [1, 64 * (1 + (i % 3))] }) // prettier-ignore
    for (let i = 0; i < 3; i++) s.prepare(make(i))
    const runs = Array.from({ length: 50 }, (_, i) => s.run(make(i)))
    s.dispose()
    for (const [i, out] of (await Promise.all(runs)).entries()) expect(out.output!.data[0]).toBe(i * i * 64 * (1 + (i % 3)))
    await expect(s.run(make(0))).rejects.toMatchObject({ code: 'ERR_DISPOSED', message: 'session: it was disposed' })
    await expect(s.runTensors(make(0))).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
    expect(() => s.prepare(make(0))).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }))
    expect(() => s.profile(make(0))).toThrow(expect.objectContaining({ code: 'ERR_DISPOSED' }))
  })

  test('a signal: its reason, no listener stays, an abort after the end changes nothing', async () => {
    const control = new AbortController()
    const input = { data: Float32Array.of(1, 2, 3), shape: [3] }
    const { output } = await twice.run(input, { signal: control.signal })
    expect(getEventListeners(control.signal, 'abort')).toEqual([])
    const reason = new Error('enough')
    control.abort(reason)
    expect([...(output!.data as Float32Array)]).toEqual(want)
    await expect(twice.run(input, { signal: control.signal })).rejects.toMatchObject({ code: 'ERR_ABORTED', cause: reason })
  })

  test('a model that throws gives its own error, to every run, and the session goes on', async () => {
    const mine = new TypeError('mine')
    let bad = true
    using s = session((x: Tensor) => {
      if (bad) throw mine
      return ops.neg(x)
    })
    const input = { data: Float32Array.of(1), shape: [1] }
    await expect(s.run(input)).rejects.toBe(mine)
    expect(() => s.runSync(input)).toThrow(mine)
    bad = false
    expect(scope(() => s.runSync(input).output!.data[0])).toBe(-1)
  })
})
