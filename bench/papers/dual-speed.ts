/**
 * Liu et al., ICML 2020, dual-module inference: tables 2, 4 and 5. Times: one step of an LSTM and a GRU of 1500 units, batch 1, seeded weights, three copies visited in
 * turn so that the exact weights come from memory, against the package's own dense layer. Quality: a small LSTM language model of Moby-Dick, trained here.
 */
import { Rng } from '../../ts/base/rng.js'
import { compress, dual, language, languagePerplexity, projectionSize, recipe, trainTask } from '../../ts/compress/index.js'
import { loadText } from '../../ts/data/index.js'
import { languageModel } from '../../ts/models/index.js'
import { setThreads, threads } from '../../ts/native/devices.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { dualGru, dualLstm, randomNormal, scaleShift, ternaryPack, wgemmPack } from '../../ts/ops/index.js'
import { gruDirection, lstmDirection } from '../../ts/ops/recurrent.js'
import { full, scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { definePaper, type PaperRun } from './lib/paper.js'

type Cell = 'lstm' | 'gru'
const H = 1500
const K = projectionSize(4 * H, 0.5)
const ratios = [10, 30, 50, 70, 90] as const
const paperTimes = { lstm: [1.12, 1.35, 1.67, 2.3, 3.89], gru: [1.15, 1.36, 1.63, 2.17, 3.38] } as const
const paperPerplexity = [80.72, 80.56, 81.36, 87.48, 109.37] as const

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

async function quality(run: PaperRun): Promise<void> {
  const corpus = await loadText('moby-dick,lower=yes,maxSize=1000', { signal: run.signal })
  const cut = run.quick ? 20_000 : corpus.train.length
  const hidden = run.quick ? 32 : 200
  const tokens = corpus.train.subarray(0, cut)
  const held = corpus.test.subarray(0, run.quick ? 2000 : 12_000)
  const figures = new Map<string, { row: Parameters<PaperRun['row']>[0]; values: number[] }>()
  const note = (row: Omit<Parameters<PaperRun['row']>[0], 'values'>, value: number): void => {
    const key = JSON.stringify(row)
    const entry = figures.get(key) ?? { row: { ...row, values: [] }, values: [] }
    entry.values.push(value)
    figures.set(key, entry)
  }
  const smooth: boolean[] = []
  for (const seed of run.seeds) {
    const spec = languageModel({ vocabulary: 1000, width: hidden, hidden, layers: 1, dropout: 0.2 })
    const fresh = new Model(build(spec, freshValues(Rng.of(seed, 'init'))), { name: 'whale', task: 'language', history: [] })
    const { model } = await trainTask(fresh, language(tokens), {
      epochs: run.quick ? 1 : 3,
      batchSize: 20,
      clipNorm: 1,
      seed,
      optimizer: { kind: 'adam' },
      schedule: { kind: 'cosine', lr: 0.003, end: 0, warmup: 0.05 },
    })
    const perplexity = (m: Model): Promise<number> => languagePerplexity(m, held, { columns: 8 })
    const base = await perplexity(model)
    run.say(`seed ${seed}: dense ${base.toFixed(2)}`)
    const n = held.length
    const table = `LSTM-${hidden} on Moby-Dick: perplexity`
    note({ table, method: 'dense', at: { name: 'insensitive %', value: 0 }, metric: 'perplexity', n, paper: 80.64 }, base)
    const made = async (o: NonNullable<Parameters<typeof dual.build>[0]>): Promise<number> => {
      const { model: small } = await compress(model, recipe([[dual.build({ samples: 20_000, ...o }, { targets: ['rnn.**'] })]], { seed }), {
        task: language(tokens),
        signal: run.signal,
      })
      const p = await perplexity(small)
      small.weights().forEach(({ weight }) => weight.kind === 'dual' && weight.dispose())
      return p
    }
    const curve: number[] = []
    for (const [i, r] of ratios.entries()) {
      curve.push(await made({ bits: 8, ratio: r / 100 }))
      note(
        { table, method: 'int8 twin, top-k', at: { name: 'insensitive %', value: r }, metric: 'perplexity', n, paper: paperPerplexity[i]! },
        curve[i]!,
      )
      note(
        { table, method: 'SeerNet: the layer in int4', at: { name: 'insensitive %', value: r }, metric: 'perplexity', n },
        await made({ bits: 4, projection: 'none', ratio: r / 100 }),
      )
    }
    smooth.push(curve[2]! < 1.05 * base && curve[4]! > curve[2]!)
    for (const bits of [32, 16, 8, 4, 2] as const)
      note(
        {
          table: 'bits of the twin, 50 % insensitive',
          method: `int${bits}`.replace('int32', 'f32'),
          metric: 'perplexity',
          n,
          paper: { 32: 81.28, 16: 81.18, 8: 81.36, 4: 81.47, 2: 82.43 }[bits],
        },
        await made({ bits, ratio: 0.5 }),
      )
    for (const [i, epsilon] of [0.3, 0.5, 0.7].entries())
      note(
        { table: 'epsilon, 50 % insensitive', method: `epsilon ${epsilon}`, metric: 'perplexity', n, paper: [80.4, 81.36, 83.51][i]! },
        await made({ bits: 8, ratio: 0.5, epsilon }),
      )
    note(
      { table: 'rules, 50 % insensitive', method: 'adaptive, strict', metric: 'perplexity', n },
      await made({ bits: 8, ratio: 0.5, rule: 'adaptive', bound: 'strict' }),
    )
    note({ table: 'rules, 50 % insensitive', method: 'fixed', metric: 'perplexity', n }, await made({ bits: 8, ratio: 0.5, rule: 'fixed' }))
  }
  for (const { row, values } of figures.values()) run.row({ ...row, values })
  run.claim({
    text: 'up to half of the gates may be a twin’s with perplexity within 5 %; at 90 % it rises clearly',
    holds: smooth.every(Boolean),
    detail: `${run.seeds.length} seeds`,
  })
}

export const dualPaper = definePaper({
  name: 'dual',
  title: 'Dual-module inference',
  source: 'Liu, Zhao, Song and others, ICML 2020, tables 2, 4, 5',
  setup:
    'Times on layers of the paper’s size with seeded weights, batch 1, one thread. Perplexity on a one-layer LSTM of 200 units and Moby-Dick with 1000 words (the paper: 1500 units, Penn Treebank).',
  seeds: [1, 2],
  run: async (run) => {
    const before = threads()
    setThreads(1)
    try {
      for (const cell of ['lstm', 'gru'] as const) speed(run, cell)
    } finally {
      setThreads(before)
    }
    await quality(run)
  },
})
