/** When memory is freed, and what happens to those who come late. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { memory, setMemoryBudget } from '../../ts/native/devices.js'
import { add } from '../../ts/ops/index.js'
import { callOp, keep, scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { code } from './code.js'

const live = (): number => memory().tensors

describe('dispose', () => {
  it('frees at once, and only once', () => {
    const before = memory()
    const t = zeros([1000])
    expect(memory().bytes - before.bytes).toBeGreaterThanOrEqual(4000)
    t.dispose()
    t.dispose()
    expect(t.disposed).toBe(true)
    expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors })
  })

  it('makes every use an error', () => {
    const t = zeros([2])
    t.dispose()
    const other = zeros([2])
    for (const use of [
      () => t.read(),
      () => t.write(new Float32Array(2)),
      () => t.alias(),
      () => t.item(),
      () => t.view([1], [1]),
      () => add(t, other),
      () => add(other, t),
    ])
      expect(use).toThrowError(
        expect.objectContaining({
          name: expect.stringMatching(/DisposedError|ShapeError/),
          code: expect.stringMatching(/ERR_DISPOSED|ERR_SHAPE/),
        }),
      )
    expect(() => t.read()).toThrowError(code('ERR_DISPOSED'))
    other.dispose()
  })

  it('does not let a new tensor be mistaken for an old one', () => {
    const old = zeros([2])
    const stale = old.handle
    old.dispose()
    const fresh = tensor([1, 2])
    expect(fresh.handle).not.toBe(stale)
    fresh.dispose()
  })

  it('happens at the end of a using block', () => {
    const before = live()
    let seen: Tensor | undefined
    {
      using t = zeros([2])
      seen = t
      expect(live()).toBe(before + 1)
    }
    expect(seen.disposed).toBe(true)
    expect(live()).toBe(before)
  })
})

describe('scope', () => {
  it('frees what was made inside and keeps the result, however nested', () => {
    const before = live()
    const out = scope(() => {
      const parts = Array.from({ length: 5 }, (_, i) => zeros([i + 1]))
      return { first: parts[0], rest: [parts[1], { deep: new Map([['k', parts[2]!]]) }], set: new Set([parts[3]!]) }
    })
    expect(live()).toBe(before + 4)
    out.first!.dispose()
    ;(out.rest[0] as Tensor).dispose()
    for (const t of [...(out.rest[1] as { deep: Map<string, Tensor> }).deep.values(), ...out.set]) t.dispose()
    expect(live()).toBe(before)
  })

  it('hands results to the scope around it', () => {
    const before = live()
    scope(() => {
      const kept = scope(() => zeros([1]))
      expect(kept.disposed).toBe(false)
      return undefined
    })
    expect(live()).toBe(before)
  })

  it('frees when the function throws, and passes the error on', () => {
    const before = live()
    const own = new Error('mine')
    expect(() =>
      scope(() => {
        zeros([1])
        throw own
      }),
    ).toThrowError(own)
    expect(live()).toBe(before)
  })

  it('leaves alone what was kept or made outside', () => {
    const outside = zeros([1])
    const kept = scope(() => {
      outside.alias()
      return [scope(() => keep(zeros([1]))), keep([zeros([2])])] as const
    })
    expect(outside.disposed).toBe(false)
    const [inner, [listed]] = kept
    for (const t of [outside, inner, listed!]) {
      expect(t.disposed).toBe(false)
      t.dispose()
    }
  })

  it('refuses promises', async () => {
    let inner: Promise<Tensor> | undefined
    expect(() => scope(() => (inner = Promise.resolve(zeros([1]))))).toThrowError(code('ERR_OPTION'))
    expect((await inner!).disposed).toBe(true)
  })

  it('survives cycles in the result', () => {
    const out = scope(() => {
      const a: { t: Tensor; self?: unknown } = { t: zeros([1]) }
      a.self = a
      return a
    })
    expect(out.t.disposed).toBe(false)
    out.t.dispose()
  })
})

describe('the net', () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5))

  it('frees tensors that nobody disposed', async () => {
    const before = live()
    ;(() => {
      for (let i = 0; i < 200; i++) zeros([10])
    })()
    expect(live()).toBe(before + 200)
    for (let i = 0; i < 50 && live() > before; i++) {
      gc()
      await turn()
    }
    expect(live()).toBe(before)
  })

  it('frees the forgotten among tensors that were made after others were disposed, and nothing else', async () => {
    const before = live()
    const kept = ((): Tensor[] => {
      const first = Array.from({ length: 200 }, () => zeros([10]))
      for (const t of first) t.dispose()
      for (let i = 0; i < 100; i++) zeros([10])
      return Array.from({ length: 150 }, (_, i) => tensor([i]))
    })()
    expect(live()).toBe(before + 250)
    for (let i = 0; i < 50 && live() > before + 150; i++) {
      gc()
      await turn()
    }
    expect(live()).toBe(before + 150)
    expect(kept.map((t) => t.item())).toEqual(kept.map((_, i) => i))
    for (const t of kept) t.dispose()
    expect(live()).toBe(before)
  })

  it('has nothing to do for disposed tensors', async () => {
    const t = zeros([10])
    const stale = t.handle
    t.dispose()
    const next = tensor([1, 2, 3])
    for (let i = 0; i < 5; i++) {
      gc()
      await turn()
    }
    expect(next.handle).not.toBe(stale)
    expect(next.toArray()).toEqual([1, 2, 3])
    next.dispose()
  })
})

describe('the budget', () => {
  it('turns runaway allocation into an error and recovers', () => {
    const { budgetBytes, bytes } = memory()
    setMemoryBudget(bytes + 2 ** 20)
    try {
      const made: Tensor[] = []
      expect(() => {
        for (let i = 0; i < 1000; i++) made.push(zeros([2 ** 14]))
      }).toThrowError(code('ERR_MEMORY_BUDGET'))
      expect(made.length).toBeGreaterThan(10)
      expect(made.length).toBeLessThanOrEqual(16)
      expect(() => callOp('add', [made[0], made[1]])).toThrowError(code('ERR_MEMORY_BUDGET'))
      expect(() => zeros([2 ** 30])).toThrowError(code('ERR_MEMORY_BUDGET'))
      for (const t of made) t.dispose()
      expect(memory().bytes).toBe(bytes)
      zeros([2 ** 14]).dispose()
    } finally {
      setMemoryBudget(0)
    }
    expect(memory().budgetBytes).toBe(budgetBytes)
  })

  it.each([-1, NaN, 1.5, Infinity, '1' as never])('cannot be %s', (bad) => {
    expect(() => setMemoryBudget(bad)).toThrowError(code('ERR_OPTION'))
  })
})
