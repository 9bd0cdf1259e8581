/** Layers with twins: against their definition made of other ops, counts, batches, lengths, cuts of a sequence. */
import { describe, expect, it } from 'vitest'
import {
  add,
  dualGru,
  dualLinear,
  dualLstm,
  linear,
  mul,
  randomNormal,
  sigmoid,
  slice,
  sub,
  tanh,
  ternaryPack,
  ternaryProject,
  wgemm,
  wgemmPack,
} from '../../ts/ops/index.js'
import { gruDirection, lstmDirection } from '../../ts/ops/recurrent.js'
import { full, scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { pattern } from '../../ts/ops/pattern.js'

const numbers = (t: Tensor): number[] => [...(t.read() as Float32Array)]
let stream = 0
const normal = (...shape: number[]): Tensor => randomNormal(shape, { seed: 3, stream: stream++ })
const near = (a: Tensor, b: Tensor, bound = 2e-5): void => {
  expect(a.shape).toEqual(b.shape)
  const want = numbers(b)
  numbers(a).forEach((v, i) =>
    expect(Math.abs(v - want[i]!), `${i}: ${v} ${want[i]}`).toBeLessThanOrEqual(bound * Math.max(1, Math.abs(want[i]!))),
  )
}
const codes = (rows: number, cols: number): Tensor => wgemmPack(pattern('i8', [rows, cols], -8, 7), full([rows, 1], 0.05), null, 4)

interface Layer {
  readonly steps: number
  readonly batch: number
  readonly cols: number
  readonly units: number
  readonly k: number
}
function layer({ steps, batch, cols, units, k }: Layer, gates: number): { [name: string]: Tensor } {
  const n = gates * units
  return {
    x: normal(steps, batch, cols),
    wih: normal(n, cols),
    whh: normal(n, units),
    bias: normal(n),
    bhh: normal(n),
    px: ternaryPack(k, cols, 7, 0),
    ph: ternaryPack(k, units, 7, 1),
    lx: codes(n, k),
    lh: codes(n, k),
    h0: normal(batch, units),
    c0: normal(batch, units),
    thresholds: tensor([0.6, 0.7, 0.8, 0.9].slice(0, gates)),
  }
}
/** The exact values where the rule says sensitive. */
function merged(little: Tensor, exact: Tensor, thresholds: Tensor): { readonly y: Tensor; readonly count: number[] } {
  const [a, b, t] = [numbers(little), numbers(exact), numbers(thresholds)]
  const n = little.shape[1]!
  const count = new Array<number>(little.shape[0]!).fill(0)
  const y = a.map((v, i) => {
    if (!(Math.abs(v) > t[Math.floor(((i % n) * t.length) / n)]!)) return b[i]!
    count[Math.floor(i / n)]!++
    return v
  })
  return { y: tensor(Float32Array.from(y), little.shape), count }
}
const at = (x: Tensor, t: number): Tensor => slice(x, [t, 0, 0], [1, ...x.shape.slice(1)]).reshapeView(x.shape.slice(1))
const gate = (x: Tensor, q: number, units: number): Tensor => slice(x, [0, q * units], [x.shape[0]!, units])

const size: Layer = { steps: 3, batch: 2, cols: 37, units: 19, k: 16 }

describe('dual_lstm', () => {
  it('is its definition', () =>
    scope(() => {
      const w = layer(size, 4)
      const [states, count] = dualLstm(
        ...([w.x!, w.wih!, w.whh!, null, null, w.bias!, w.px!, w.ph!, w.lx!, w.lh!, w.h0!, w.c0!, null] as const),
        ...([w.thresholds!, size.k, 1, -1, false] as const),
      )
      let [h, c] = [w.h0!, w.c0!]
      const counts: number[] = []
      for (let t = 0; t < size.steps; t++) {
        const x = at(w.x!, t)
        const n = 4 * size.units
        const little = add(
          wgemm(ternaryProject(x, w.px!, size.k), w.lx!, w.bias!, null, n, 'none'),
          wgemm(ternaryProject(h, w.ph!, size.k), w.lh!, null, null, n, 'none'),
        )
        const { y, count: found } = merged(little, add(linear(x, w.wih!, w.bias), linear(h, w.whh!, null)), w.thresholds!)
        counts.push(...found)
        const [i, f, g, o] = [0, 1, 2, 3].map((q) => gate(y, q, size.units)) as [Tensor, Tensor, Tensor, Tensor]
        c = add(mul(sigmoid(f), c), mul(sigmoid(i), tanh(g)))
        h = mul(sigmoid(o), tanh(c))
        near(at(states, t), h)
      }
      near(at(states, size.steps), h)
      near(at(states, size.steps + 1), c)
      expect([...(count.read() as Int32Array)]).toEqual(counts)
      expect(Math.min(...counts)).toBeGreaterThan(0)
      expect(Math.min(...counts)).toBeLessThan(4 * size.units)
    }))

  it('counts by rank are exact; with none insensitive it is the dense layer, with all the twin alone', () =>
    scope(() => {
      const w = layer(size, 4)
      const run = (insensitive: number, wih = w.wih!, whh = w.whh!): readonly Tensor[] =>
        dualLstm(
          ...([w.x!, wih, whh, null, null, w.bias!, w.px!, w.ph!, w.lx!, w.lh!, w.h0!, w.c0!, null] as const),
          ...([w.thresholds!, size.k, 1, insensitive, true] as const),
        )
      for (const n of [0, 1, 20, 75, 76]) expect(new Set(run(n)[1]!.read() as Int32Array)).toEqual(new Set([n]))
      near(run(0)[0]!, lstmDirection(w.x!, w.wih!, w.whh!, w.bias!, w.h0!, w.c0!, null, true)[0])
      const other = run(76, normal(76, 37), normal(76, 19))[0]!
      expect(numbers(other)).toEqual(numbers(run(76)[0]!))
    }))

  it('does not depend on the batch, and a sequence may be cut anywhere', () =>
    scope(() => {
      const w = layer({ ...size, batch: 5, steps: 4 }, 4)
      const run = (x: Tensor, h0: Tensor, c0: Tensor, lengths: Tensor | null = null): readonly Tensor[] =>
        dualLstm(
          ...([x, w.wih!, w.whh!, null, null, w.bias!, w.px!, w.ph!, w.lx!, w.lh!, h0, c0, lengths] as const),
          ...([w.thresholds!, size.k, 1, 30, false] as const),
        )
      const [all, count] = run(w.x!, w.h0!, w.c0!)
      for (let b = 0; b < 5; b++) {
        const own = (t: Tensor): Tensor => slice(t, [b, 0], [1, size.units])
        const one = run(slice(w.x!, [0, b, 0], [4, 1, size.cols]), own(w.h0!), own(w.c0!))[0]!
        expect(numbers(one)).toEqual(numbers(slice(all!, [0, b, 0], [6, 1, size.units])))
      }
      const first = run(slice(w.x!, [0, 0, 0], [3, 5, size.cols]), w.h0!, w.c0!)[0]!
      const rest = run(slice(w.x!, [3, 0, 0], [1, 5, size.cols]), at(first, 3), at(first, 4))[0]!
      expect(numbers(rest)).toEqual(numbers(slice(all!, [3, 0, 0], [3, 5, size.units])))
      const lengths = tensor(Int32Array.from([4, 0, 2, 4, 1]))
      const [short, live] = run(w.x!, w.h0!, w.c0!, lengths)
      expect([...(live!.read() as Int32Array)].map((n) => n > 0)).toEqual([0, 1, 2, 3].flatMap((t) => [4, 0, 2, 4, 1].map((l) => t < l)))
      expect(new Set(count!.read() as Int32Array)).toEqual(new Set([30]))
      expect(numbers(slice(short!, [4, 1, 0], [1, 1, size.units]))).toEqual(numbers(slice(w.h0!, [1, 0], [1, size.units])))
    }))

  it('takes 8-bit weights, exact inputs, f32 twins and twins of 16 bits', () =>
    scope(() => {
      const w = layer(size, 4)
      const n = 4 * size.units
      const [qi, qh] = [pattern('i8', [n, size.cols], -127, 127), pattern('i8', [n, size.units], -127, 127)]
      const scale = full([n], 0.01)
      const values = (q: Tensor): Tensor =>
        tensor(
          Float32Array.from(q.read() as Int8Array, (v) => v * 0.01),
          q.shape,
        )
      const tail = [w.h0!, w.c0!, null, w.thresholds!, size.k] as const
      const ints = dualLstm(w.x!, qi, qh, scale, scale, w.bias!, null, w.ph!, null, w.lh!, ...tail, 1, 30, false)[0]
      const floats = dualLstm(w.x!, values(qi), values(qh), null, null, w.bias!, null, w.ph!, null, w.lh!, ...tail, 1, 30, false)[0]
      near(ints, floats, 1e-4)
      const little = normal(n, size.k)
      const q16 = Float64Array.from(numbers(little), (v) => Math.round(v / 2 ** -12))
      const halves = new Int8Array(n * 2 * size.k)
      q16.forEach((q, i) => {
        const at = Math.floor(i / size.k) * 2 * size.k + (i % size.k)
        const high = Math.floor((q + 128) / 256)
        halves[at] = high
        halves[at + size.k] = q - 256 * high
      })
      const steps = tensor(
        Float32Array.from({ length: 2 * n }, (_, i) => (i % 2 === 0 ? 2 ** -4 : 2 ** -12)),
        [n, 2],
      )
      const wide = wgemmPack(tensor(halves, [n, 2 * size.k]), steps, null, 8)
      const rounded = tensor(
        Float32Array.from(q16, (q) => q * 2 ** -12),
        [n, size.k],
      )
      const run = (lh: Tensor, copies: number): Tensor =>
        dualLstm(w.x!, w.wih!, w.whh!, null, null, w.bias!, null, w.ph!, null, lh, ...tail, copies, n, false)[0]
      near(run(wide, 2), run(rounded, 1))
    }))
})

describe('dual_gru', () => {
  it('is its definition', () =>
    scope(() => {
      const w = layer(size, 3)
      const u = size.units
      const [states, count] = dualGru(
        ...([w.x!, w.wih!, w.whh!, null, null, w.bias!, w.bhh!, w.px!, w.ph!, w.lx!, w.lh!, w.h0!, null] as const),
        ...([w.thresholds!, size.k, 1, -1, false] as const),
      )
      let h = w.h0!
      const counts: number[] = []
      for (let t = 0; t < size.steps; t++) {
        const x = at(w.x!, t)
        const [xl, hl] = [
          wgemm(ternaryProject(x, w.px!, size.k), w.lx!, w.bias!, null, 3 * u, 'none'),
          wgemm(ternaryProject(h, w.ph!, size.k), w.lh!, w.bhh!, null, 3 * u, 'none'),
        ]
        const [xe, he] = [linear(x, w.wih!, w.bias), linear(h, w.whh!, w.bhh)]
        const gates = (a: Tensor): Tensor => slice(a, [0, 0], [size.batch, 2 * u])
        const { y, count: found } = merged(gates(add(xl, hl)), gates(add(xe, he)), slice(w.thresholds!, [0], [2]))
        const [r, z] = [sigmoid(gate(y, 0, u)), sigmoid(gate(y, 1, u))]
        const candidate = (a: Tensor, b: Tensor): Tensor => add(gate(a, 2, u), mul(r, gate(b, 2, u)))
        const { y: n, count: more } = merged(candidate(xl, hl), candidate(xe, he), slice(w.thresholds!, [2], [1]))
        counts.push(...found.map((v, i) => v + more[i]!))
        h = add(tanh(n), mul(z, sub(h, tanh(n))))
        near(at(states, t), h)
      }
      expect([...(count.read() as Int32Array)]).toEqual(counts)
    }))

  it('counts by rank are exact, with none insensitive it is the dense layer', () =>
    scope(() => {
      const w = layer(size, 3)
      const run = (insensitive: number): readonly Tensor[] =>
        dualGru(
          ...([w.x!, w.wih!, w.whh!, null, null, w.bias!, w.bhh!, w.px!, w.ph!, w.lx!, w.lh!, w.h0!, null] as const),
          ...([w.thresholds!, size.k, 1, insensitive, false] as const),
        )
      for (const n of [0, 1, 2, 29, 56, 57]) expect(new Set(run(n)[1]!.read() as Int32Array)).toEqual(new Set([n]))
      near(run(0)[0]!, gruDirection(w.x!, w.wih!, w.whh!, w.bias!, w.bhh!, w.h0!, null, false)[0])
    }))
})

describe('dual_linear', () => {
  it('ranks by magnitude or by value, ties by lowest index, NaN always exact', () =>
    scope(() => {
      // Twins that see x = [1] itself: their outputs are the columns below.
      const twin = tensor([[3], [-3], [3], [1], [NaN], [-2]])
      const exact = full([6, 1], 9)
      const run = (insensitive: number, below: boolean, threshold = 0): number[] =>
        numbers(dualLinear(tensor([[1]]), exact, null, null, null, twin, tensor([threshold]), 1, 1, insensitive, below)[0])
      expect(run(2, false)).toEqual([3, -3, 9, 9, 9, 9])
      expect(run(4, false)).toEqual([3, -3, 3, 9, 9, -2])
      for (const below of [false, true]) for (const n of [5, 6]) expect(run(n, below)).toEqual([3, -3, 3, 1, 9, -2])
      expect(run(2, true)).toEqual([9, -3, 9, 9, 9, -2])
      expect(run(3, true)).toEqual([9, -3, 9, 1, 9, -2])
      expect(run(-1, false, 2)).toEqual([3, -3, 3, 9, 9, 9])
      expect(run(-1, true, 1)).toEqual([9, -3, 9, 9, 9, -2])
    }))

  it('rows of a batch do not know each other', () =>
    scope(() => {
      const [x, w, p, l] = [normal(40, 33), normal(50, 33), ternaryPack(8, 33, 1, 0), codes(50, 8)]
      const run = (rows: Tensor): Tensor => dualLinear(rows, w, null, null, p, l, tensor([0]), 8, 1, 20, true)[0]
      const all = numbers(run(x))
      for (const i of [0, 7, 39]) expect(numbers(run(slice(x, [i, 0], [1, 33])))).toEqual(all.slice(50 * i, 50 * i + 50))
    }))
})
