/**
 * Liu et al., ICML 2020, dual-module inference: the times of table 2. One step of an LSTM and a GRU of 1500 units, batch 1, seeded weights, three copies visited in
 * turn so that the exact weights come from memory, against the package's own dense layer. For a machine that does nothing else; what twins cost in quality: dual.ts.
 */
import { Rng } from '../../ts/base/rng.js'
import { projectionSize } from '../../ts/compress/index.js'
import { setThreads, threads } from '../../ts/native/devices.js'
import { dualGru, dualLstm, randomNormal, scaleShift, ternaryPack, wgemmPack } from '../../ts/ops/index.js'
import { gruDirection, lstmDirection } from '../../ts/ops/recurrent.js'
import { full, scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { definePaper, type PaperRun } from './lib/paper.js'

type Cell = 'lstm' | 'gru'
const H = 1500
const K = projectionSize(4 * H, 0.5)
const ratios = [10, 30, 50, 70, 90] as const
const paperTimes = { lstm: [1.12, 1.35, 1.67, 2.3, 3.89], gru: [1.15, 1.36, 1.63, 2.17, 3.38] } as const

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

function codes(rng: Rng, rows: number, cols: number, bits: number): Tensor {
  const half = 2 ** (bits - 1)
  return tensor(
    Int8Array.from({ length: rows * cols }, () => rng.int(2 * half) - half),
    [rows, cols],
  )
}

/** Runs of one step, in milliseconds, each case once per round: dense, and dual with twins of `bits` and exact weights in f32 or int8. */
function times(cell: Cell, rounds: number): Map<string, number> {
  const gates = (cell === 'lstm' ? 4 : 3) * H
  const rng = Rng.of(1, cell)
  const normal = (shape: number[], stream: number, by = 1): Tensor => scaleShift(randomNormal(shape, { seed: 1, stream }), by, 0)
  const [x, h, c, bias] = [normal([1, 1, H], 0), normal([1, H], 1), normal([1, H], 2), normal([gates], 3, 0.1)]
  const twin = (k: number, bits: number): readonly Tensor[] =>
    [0, 1].map(() => wgemmPack(codes(rng, gates, k, bits), full([gates, 1], 0.01), null, bits))
  const copies = [0, 1, 2].map((i) => {
    const twins = new Map([8, 4, 2].map((bits) => [bits, twin(K, bits)]))
    const w = [normal([gates, H], 10 + i, 0.05), normal([gates, H], 20 + i, 0.05)] as const
    return { w, codes: [codes(rng, gates, H, 8), codes(rng, gates, H, 8)] as const, twins }
  })
  const step = full([gates], 0.0004)
  const [px, ph, thresholds] = [ternaryPack(K, H, 1, 0), ternaryPack(K, H, 1, 1), full([gates / H], 0)]
  type Copy = (typeof copies)[number]
  const run = ({ w, codes: q, twins }: Copy, bits: number, insensitive: number, int8: boolean): unknown => {
    const [a, b] = int8 ? q : w
    const s = int8 ? step : null
    const [lx, lh] = twins.get(bits) as [Tensor, Tensor]
    return cell === 'lstm'
      ? dualLstm(x, a, b, s, s, bias, px, ph, lx, lh, h, c, null, thresholds, K, 1, insensitive, false)
      : dualGru(x, a, b, s, s, bias, bias, px, ph, lx, lh, h, null, thresholds, K, 1, insensitive, false)
  }
  const dense = ({ w: [a, b] }: Copy): unknown =>
    cell === 'lstm' ? lstmDirection(x, a, b, bias, h, c, null, false) : gruDirection(x, a, b, bias, bias, h, null, false)
  const cases = new Map<string, (copy: Copy) => unknown>([
    ['dense', dense],
    ['int8 dense', (s) => run(s, 4, 0, true)],
  ])
  for (const r of ratios) {
    const n = Math.round((r / 100) * gates)
    for (const bits of [8, 4, 2]) cases.set(`int${bits} ${r}`, (s) => run(s, bits, n, false))
    cases.set(`int8 rows ${r}`, (s) => run(s, 4, n, true))
  }
  const found = new Map<string, number[]>()
  for (let round = 0; round < rounds; round++)
    for (const [name, f] of cases)
      for (const copy of copies) {
        const began = performance.now()
        scope(() => f(copy))
        found.set(name, [...(found.get(name) ?? []), performance.now() - began])
      }
  return new Map([...found].map(([name, list]) => [name, median(list)]))
}

function speed(run: PaperRun, cell: Cell): void {
  const t = scope(() => times(cell, run.quick ? 3 : 40))
  const base = t.get('dense')!
  const rowOf = (method: string, key: string, against: number): number[] =>
    ratios.map((r, i) => {
      const value = against / t.get(`${key} ${r}`)!
      const paper = key === 'int8' ? { paper: paperTimes[cell][i]! } : {}
      run.row({
        table: `${cell.toUpperCase()}-1500, one step: speed-up over dense`,
        method,
        at: { name: 'insensitive %', value: r },
        metric: 'speed-up',
        unit: 'x',
        values: [value],
        ...paper,
      })
      return value
    })
  const eight = rowOf('int8 twin, f32 rows', 'int8', base)
  const four = rowOf('int4 twin, f32 rows', 'int4', base)
  rowOf('int2 twin, f32 rows', 'int2', base)
  const rows = rowOf('int4 twin, int8 rows, over int8 dense', 'int8 rows', t.get('int8 dense')!)
  run.row({ table: `${cell.toUpperCase()}-1500, one step`, method: 'dense', metric: 'time', unit: 'ms', values: [base] })
  run.row({
    table: `${cell.toUpperCase()}-1500, one step`,
    method: 'int8 dense',
    metric: 'time',
    unit: 'ms',
    values: [t.get('int8 dense')!],
  })
  const text = (list: readonly number[]): string => list.map((v) => v.toFixed(2)).join(' / ')
  const best = eight.map((v, i) => Math.max(v, four[i]!))
  run.claim({
    text: `${cell.toUpperCase()}-1500: faster than dense by at least ${paperTimes[cell].join(' / ')} at ${ratios.join(' / ')} % insensitive`,
    holds: best.every((v, i) => v >= paperTimes[cell][i]!),
    detail: `${text(best)}; ${threads()} threads, dense ${((2 * (cell === 'lstm' ? 4 : 3) * H * H * 4) / base / 1e6).toFixed(1)} GB/s`,
  })
  run.claim({ text: `the method adds to 8-bit weights (over the int8 dense layer)`, holds: rows[2]! > 1, detail: text(rows) })
}

export const dualSpeed = definePaper({
  name: 'dual-speed',
  title: 'Dual-module inference: times',
  source: 'Liu, Zhao, Song and others, ICML 2020, table 2',
  setup: 'One step of layers of the paper’s size, seeded weights, batch 1, one thread, the exact weights read from memory; medians.',
  seeds: [1],
  run: (run) => {
    const before = threads()
    setThreads(1)
    try {
      for (const cell of ['lstm', 'gru'] as const) speed(run, cell)
    } finally {
      setThreads(before)
    }
    return Promise.resolve()
  },
})
