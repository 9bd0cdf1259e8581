/** Calls off the main thread: own references, cancelling, busy tensors, many at once. */
import { describe, expect, it } from 'vitest'
import { memory } from '../../ts/native/devices.js'
import { assign, randomUniform } from '../../ts/ops/index.js'
import { callOp, callOpAsync, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { code } from './code.js'
import { cpuClock } from '../cpu-time.js'

const state = (): { bytes: number; tensors: number } => ({ bytes: memory().bytes, tensors: memory().tensors })
/** A product that takes a while. */
const slow = (x: Tensor, signal?: AbortSignal): Promise<Tensor[]> => callOpAsync('matmul', [x, x, false, false], signal)

/** In-flight jobs give their memory back shortly after the promise settles. */
async function settles(want: { bytes: number; tensors: number }): Promise<void> {
  for (let i = 0; i < 400 && memory().bytes !== want.bytes; i++) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(state()).toEqual(want)
}

describe('callOpAsync', () => {
  it('holds its inputs: they may be disposed meanwhile', async () => {
    const before = state()
    const x = randomUniform([200, 200], { seed: 1 })
    const want = callOp('matmul', [x, x, false, false])[0]!
    const promise = slow(x)
    x.dispose()
    const got = (await promise)[0]!
    expect(got.read()).toEqual(want.read())
    got.dispose()
    want.dispose()
    await settles(before)
  })

  it('refuses wrong arguments with a rejection', async () => {
    const x = zeros([2, 3])
    await expect(callOpAsync('matmul', [x, x, false, false])).rejects.toMatchObject({ code: 'ERR_SHAPE' })
    await expect(callOpAsync('matmul', [x, 5, false, false])).rejects.toMatchObject({ code: 'ERR_OPTION' })
    x.dispose()
    await expect(callOpAsync('neg', [x])).rejects.toMatchObject({ code: 'ERR_DISPOSED' })
  })

  it('reports errors that only the data show', async () => {
    const table = zeros([3, 2])
    const index = tensor(new Int32Array([5]))
    await expect(callOpAsync('gather', [table, index])).rejects.toMatchObject({
      code: 'ERR_SHAPE',
      message: /index must be in \[0, 3\), got 5/,
    })
    table.dispose()
    index.dispose()
  })

  it('keeps its inputs from being changed: ERR_BUSY', async () => {
    const x = randomUniform([2000, 2000], { seed: 1 })
    const value = zeros([2000, 2000])
    const values = new Float32Array(2000 * 2000)
    const promise = slow(x)
    expect(() => x.write(values)).toThrowError(code('ERR_BUSY'))
    expect(() => assign(x, value)).toThrowError(code('ERR_BUSY'))
    for (const t of await promise) t.dispose()
    assign(x, value)
    for (const t of [x, value]) t.dispose()
  })

  it('rejects when cancelled before, during, and ignores it after', async () => {
    const before = state()
    const x = randomUniform([2000, 2000], { seed: 1 })
    const whole = cpuClock()
    for (const t of await slow(x)) t.dispose()
    const uncancelled = whole()
    const early = new AbortController()
    early.abort()
    await expect(slow(x, early.signal)).rejects.toMatchObject({ name: 'AbortError', code: 'ERR_ABORTED' })

    const during = new AbortController()
    const running = [slow(x, during.signal), slow(x, during.signal), slow(x, during.signal)]
    setTimeout(() => during.abort(), 5)
    const parts = cpuClock()
    const outcomes = await Promise.allSettled(running)
    expect(outcomes.every((o) => o.status === 'rejected' && (o.reason as { code: string }).code === 'ERR_ABORTED')).toBe(true)
    // Three products were cancelled: together they took less of the processors than one takes.
    expect(parts()).toBeLessThan(uncancelled)

    const late = new AbortController()
    const small = zeros([2, 2])
    for (const t of await slow(small, late.signal)) t.dispose()
    late.abort()
    x.dispose()
    small.dispose()
    await settles(before)
  })

  it('ends a long row of ctc_loss in the middle: one row is one task', async () => {
    const before = state()
    const [frames, labels] = [100_000, 400]
    const x = zeros([1, frames, 8])
    const targets = tensor(
      Int32Array.from({ length: labels }, (_, i) => 1 + (i % 7)),
      [1, labels],
    )
    const during = new AbortController()
    const running = callOpAsync('ctc_loss', [x, targets, null, null, 0, false], during.signal)
    setTimeout(() => during.abort(), 5)
    await expect(running).rejects.toMatchObject({ code: 'ERR_ABORTED' })
    x.dispose()
    targets.dispose()
    await settles(before)
  })

  it('takes thousands of calls at once', async () => {
    const before = state()
    const x = tensor([1, 2, 3])
    const all = await Promise.all(Array.from({ length: 5000 }, () => callOpAsync('neg', [x])))
    expect(all.every(([y]) => (y!.read() as Float32Array)[2] === -3)).toBe(true)
    for (const [y] of all) y!.dispose()
    x.dispose()
    await settles(before)
  })

  it('leaves the event loop free', async () => {
    const x = randomUniform([2400, 2400], { seed: 1 })
    let turns = 0
    let done = false
    const product = slow(x).finally(() => (done = true))
    while (!done) {
      await new Promise(setImmediate)
      turns++
    }
    for (const t of await product) t.dispose()
    expect(turns).toBeGreaterThan(3)
    x.dispose()
  })
})
