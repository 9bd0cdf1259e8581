/**
 * Liu et al., ICML 2020, dual-module inference: what twins cost in quality (tables 1, 2, 4, 5), on LSTM and GRU language models of Moby-Dick that are trained here, and
 * what the source documents miss: the split of the gain between method and quantization, thresholds, the share of the twin step by step. Times: dual-speed.ts.
 */
import { Rng } from '../../ts/base/rng.js'
import { compress, dual, language, projectionSize, quantize, recipe, trainTask, type PassSpec } from '../../ts/compress/index.js'
import { loadText, type TextCorpus } from '../../ts/data/index.js'
import { languageModel } from '../../ts/models/index.js'
import { build, DenseWeight, freshValues, Model, QuantizedWeight } from '../../ts/nn/index.js'
import { full, scope } from '../../ts/tensor/index.js'
import { definePaper, mean, type PaperRun, type Row } from './lib/paper.js'
import { bytesRead, freeTwins, readText, readWithNoise, withRatio, type Region } from './lib/twins.js'

type Cell = 'lstm' | 'gru'
type DualOptions = NonNullable<Parameters<typeof dual.build>[0]>

/** Units of the paper's layers, and of ours. */
const PAPER = 1500
const UNITS = 200
const ratios = [10, 30, 50, 70, 90] as const
const paperPerplexity = { lstm: [80.64, 80.72, 80.56, 81.36, 87.48, 109.37], gru: [85.48, 85.62, 86.01, 88.73, 98.09, 122.75] } as const
const epsilons = [0.3, 0.5, 0.7] as const
const paperEpsilon = [80.4, 81.36, 83.51] as const
const paperBits = { 32: 81.28, 16: 81.18, 8: 81.36, 4: 81.47, 2: 82.43 } as const
const paperSizes = { 32: 19.1, 16: 9.6, 8: 4.8, 4: 2.4, 2: 1.2 } as const
const BITS = [32, 16, 8, 4, 2] as const
/** Cosine in front of the gates in the paper's table 1 is about .94: noise of .363 of the length. */
const NOISE = 0.363
const STEPS_DRAWN = 120

/** The paper's k for 1500 units, in proportion to ours. */
const sizeFor = (epsilon: number, units: number): number => Math.round((projectionSize(4 * PAPER, epsilon) * units) / PAPER)

/** Bytes of both twins of an LSTM of 1500 units as this package stores them, scales included, in MiB. */
function twinSize(bits: (typeof BITS)[number]): number {
  const [rows, k] = [4 * PAPER, projectionSize(4 * PAPER, 0.5)]
  const copies = bits === 16 ? 2 : 1
  return scope(() => {
    const w =
      bits === 32
        ? new DenseWeight(full([rows, k], 0))
        : new QuantizedWeight({
            shape: [rows, copies * k],
            q: full([rows, copies * k], 0, 'i8'),
            scale: full([rows, 1], 1),
            bits: bits / copies,
            layout: 'channel',
          })
    return (2 * w.bytes()) / 2 ** 20
  })
}

class Quality {
  readonly #rows = new Map<string, { readonly row: Omit<Row, 'values'>; readonly values: number[] }>()
  readonly #at = new Map<string, number[]>()

  constructor(
    private readonly run: PaperRun,
    private readonly corpus: TextCorpus,
    private readonly held: Int32Array,
    private readonly units: number,
  ) {}

  /** Keeps a value of this seed for a row, and under a name for the claims. */
  #note(name: string, row: Omit<Row, 'values'>, value: number): void {
    const key = JSON.stringify(row)
    const entry = this.#rows.get(key) ?? { row, values: [] }
    entry.values.push(value)
    this.#rows.set(key, entry)
    this.#at.set(name, [...(this.#at.get(name) ?? []), value])
  }

  async seed(cell: Cell, seed: number): Promise<void> {
    const model = await this.#trained(cell, seed)
    const base = readText(model, this.held).perplexity
    this.run.say(`seed ${seed}, ${cell}: ${base.toFixed(2)}; validation ${readText(model, this.corpus.valid).perplexity.toFixed(2)}`)
    await this.#curves(cell, seed, model, base)
    if (cell === 'lstm') {
      this.#noise(model, seed)
      await this.#twins(model, seed)
      await this.#rules(model, seed, seed === this.run.seeds[0])
      await this.#ablation(model, seed, base)
    }
    model.dispose()
  }

  async #trained(cell: Cell, seed: number): Promise<Model> {
    const { quick, signal } = this.run
    const spec = languageModel({
      vocabulary: this.corpus.vocabulary.size,
      width: this.units,
      hidden: this.units,
      layers: 1,
      cell,
      dropout: 0.2,
    })
    const fresh = new Model(build(spec, freshValues(Rng.of(seed, 'init'))), { name: 'whale', task: 'language', history: [] })
    const { model } = await trainTask(fresh, language(quick ? this.corpus.train.subarray(0, 20_000) : this.corpus.train), {
      epochs: quick ? 1 : 3,
      batchSize: 20,
      clipNorm: 1,
      seed,
      optimizer: { kind: 'adam' },
      schedule: { kind: 'cosine', lr: 0.003, end: 0, warmup: 0.05 },
      signal,
    })
    fresh.dispose()
    return model
  }

  /** A model with twins; what it shares with `model` stays that model's. */
  async #build(model: Model, seed: number, o: DualOptions, before: readonly PassSpec[] = []): Promise<Model> {
    const pass = dual.build({ samples: this.run.quick ? 2000 : 16_000, ...o }, { targets: ['rnn.**'] })
    const stages = before.length > 0 ? [before, [pass]] : [[pass]]
    const k = { task: language(this.corpus.train), signal: this.run.signal }
    return (await compress(model, recipe(stages, { seed }), k)).model
  }

  readonly #perplexity = (model: Model): number => readText(model, this.held).perplexity

  /** Table 2, and a twin that is the layer itself in 4 bits. */
  async #curves(cell: Cell, seed: number, model: Model, base: number): Promise<void> {
    const table = `${cell.toUpperCase()}-${this.units} on Moby-Dick: perplexity (table 2)`
    const put = (method: string, name: string, ratio: number, value: number, paper?: number): void =>
      this.#note(
        `${cell} ${name} ${ratio}`,
        {
          table,
          method,
          at: { name: 'insensitive %', value: ratio },
          metric: 'perplexity',
          n: this.held.length,
          ...(paper === undefined ? {} : { paper }),
        },
        value,
      )
    const twins = [
      ['int8 twin of a projection', 'twin', { bits: 8, k: sizeFor(0.5, this.units) }],
      ['twin: the layer in int4 (SeerNet)', 'seernet', { bits: 4, projection: 'none' }],
    ] as const
    for (const [method, name, o] of twins) {
      put(method, name, 0, base, name === 'twin' ? paperPerplexity[cell][0] : undefined)
      const made = await this.#build(model, seed, o)
      for (const [i, r] of ratios.entries()) {
        const m = withRatio(made, r / 100)
        put(method, name, r, this.#perplexity(m), name === 'twin' ? paperPerplexity[cell][i + 1] : undefined)
        freeTwins(m)
      }
      freeTwins(made)
    }
  }

  /** Table 1. */
  #noise(model: Model, seed: number): void {
    const table = 'Normal noise on half of the gates, in front of their functions (table 1)'
    const tokens = this.held.subarray(0, 8001)
    const paper: Readonly<Record<Region, number>> = { none: 80.64, sensitive: 85.7, insensitive: 81.79 }
    for (const region of ['none', 'sensitive', 'insensitive'] as const) {
      const { perplexity, before, after } = readWithNoise(model, tokens, region, NOISE, seed)
      this.#note(`noise ${region}`, { table, method: region, metric: 'perplexity', n: tokens.length, paper: paper[region] }, perplexity)
      if (region === 'none') continue
      const [a, b] = [mean(before), mean(after)]
      const cosines = region === 'sensitive' ? [0.924, 0.9255] : [0.94075, 0.97525]
      this.#note(`before ${region}`, { table, method: `${region}, in front`, metric: 'cosine', digits: 3, paper: cosines[0]! }, a)
      this.#note(`after ${region}`, { table, method: `${region}, behind`, metric: 'cosine', digits: 3, paper: cosines[1]! }, b)
    }
  }

  /** Tables 4 and 5: how much a twin sees, and in how many bits. */
  async #twins(model: Model, seed: number): Promise<void> {
    const half = async (o: DualOptions): Promise<number> => {
      const m = await this.#build(model, seed, { ratio: 0.5, ...o })
      const value = this.#perplexity(m)
      freeTwins(m)
      return value
    }
    const n = this.held.length
    for (const [i, epsilon] of epsilons.entries()) {
      const k = sizeFor(epsilon, this.units)
      const row = {
        table: 'What a twin sees, int8, 50 % insensitive (table 4)',
        method: `epsilon ${epsilon}: k ${k} of ${this.units} (the paper: ${projectionSize(4 * PAPER, epsilon)} of ${PAPER})`,
        metric: 'perplexity',
        n,
        paper: paperEpsilon[i]!,
      }
      this.#note(`epsilon ${epsilon}`, row, await half({ bits: 8, k }))
    }
    for (const bits of BITS) {
      const row = {
        table: `Bits of the twin, k ${sizeFor(0.5, this.units)}, 50 % insensitive (table 5)`,
        method: bits === 32 ? 'f32' : `int${bits}`,
        metric: 'perplexity',
        n,
        paper: paperBits[bits],
      }
      this.#note(`bits ${bits}`, row, await half({ bits, k: sizeFor(0.5, this.units) }))
    }
  }

  /** Thresholds against ranks: what they cost, which share they really give, and how it follows the text. */
  async #rules(model: Model, seed: number, draw: boolean): Promise<void> {
    const table = 'Rules, int8 twin, tuned to 50 % on training text'
    const rules = [
      ['top-k', { rule: 'top-k' }],
      ['one threshold', { rule: 'fixed' }],
      ['adaptive, paper’s bounds', { rule: 'adaptive', bound: 'paper' }],
      ['adaptive, safe', { rule: 'adaptive', bound: 'safe' }],
      ['adaptive, strict', { rule: 'adaptive', bound: 'strict' }],
    ] as const
    for (const [method, o] of rules) {
      const m = await this.#build(model, seed, { bits: 8, k: sizeFor(0.5, this.units), ratio: 0.5, ...o })
      const { perplexity, shares } = readText(m, this.held)
      this.#note(`rule ${method}`, { table, method, metric: 'perplexity', n: this.held.length }, perplexity)
      this.#note(`share ${method}`, { table, method, metric: 'insensitive', unit: '%', n: this.held.length }, 100 * mean(shares))
      if (draw && (o.rule !== 'adaptive' || o.bound === 'strict')) this.#drawSteps(m, method)
      freeTwins(m)
    }
  }

  #drawSteps(model: Model, method: string): void {
    const { shares } = readText(model, this.held.subarray(0, STEPS_DRAWN + 1), 1)
    const text = { table: 'Share of the twin, token by token of held-out text (first seed)', metric: 'insensitive', unit: '%' } as const
    for (const [i, share] of shares.entries())
      this.run.row({ ...text, method, at: { name: 'step', value: i + 1 }, drawn: true, values: [100 * share] })
    const [low, high] = [Math.min(...shares.slice(8)), Math.max(...shares.slice(8))]
    this.run.say(`${method}: ${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)} % by step`)
  }

  /** What of the gain is the method's, what that of few bits: perplexity and the bytes of recurrent weights that a step reads. */
  async #ablation(model: Model, seed: number, base: number): Promise<void> {
    const table = 'Method against quantization: recurrent layer'
    const dense = bytesRead(model, 0)
    const put = (method: string, perplexity: number, bytes: number): void => {
      this.#note(`ablation ${method}`, { table, method, metric: 'perplexity', n: this.held.length }, perplexity)
      this.#note(`read ${method}`, { table, method, metric: 'bytes read in a step, of f32', unit: '%' }, (100 * bytes) / dense)
    }
    put('f32', base, dense)
    const int8 = quantize.rtn({ bits: 8, layout: 'channel' }, { targets: ['rnn.weight*'] })
    const rounded = (await compress(model, recipe([[int8]], { seed }))).model
    put('int8', this.#perplexity(rounded), bytesRead(rounded, 0))
    for (const { path, weight } of rounded.weights()) if (path.startsWith('rnn.weight')) weight.dispose()
    const k = sizeFor(0.5, this.units)
    const cases: readonly (readonly [string, number, DualOptions])[] = [
      ['f32, f32 twin, 50 %', 0.5, { bits: 32, k }],
      ['f32, int8 twin, 50 %', 0.5, { bits: 8, k }],
      ['f32, int4 twin, 50 %', 0.5, { bits: 4, k }],
      ['int8, int8 twin, 50 %', 0.5, { bits: 8, k, big: 'int8' }],
      ['int8, int4 twin, 50 %', 0.5, { bits: 4, k, big: 'int8' }],
      ['f32 twin alone', 1, { bits: 32, k }],
      ['int8 twin alone', 1, { bits: 8, k }],
    ]
    for (const [method, ratio, o] of cases) {
      const m = await this.#build(model, seed, { ...o, ratio })
      put(method, this.#perplexity(m), bytesRead(m, ratio))
      freeTwins(m)
    }
  }

  report(cells: readonly Cell[]): void {
    const { row, claim } = this.run
    for (const { row: text, values } of this.#rows.values()) row({ ...text, values })
    const at = (name: string): number => mean(this.#at.get(name)!)
    const rise = (values: readonly number[]): number[] => values.slice(1).map((v) => 100 * (v / values[0]! - 1))
    const text = (list: readonly number[]): string => list.map((v) => v.toFixed(2)).join(' / ')
    for (const cell of cells) {
      const ours = rise([0, ...ratios].map((r) => at(`${cell} twin ${r}`)))
      const theirs = rise(paperPerplexity[cell])
      claim({
        text: `${cell.toUpperCase()}: perplexity rises as slowly as in the paper at ${ratios.join(' / ')} % (relative, in %)`,
        holds: ours.every((v, i) => v <= theirs[i]!),
        detail: `${text(ours)} against ${text(theirs)}`,
      })
      claim({
        text: `${cell.toUpperCase()}: half of the gates from a twin cost at most 5 %, and 90 % cost more than 50 %`,
        holds: ours[2]! <= 5 && ours[4]! > ours[2]!,
        detail: `${text([ours[2]!, ours[4]!])} %`,
      })
    }
    claim({
      text: 'noise of the same energy hurts less where gates are insensitive (table 1)',
      holds: at('noise insensitive') < at('noise sensitive'),
      detail: `${text(['none', 'insensitive', 'sensitive'].map((r) => at(`noise ${r}`)))} without, insensitive, sensitive`,
    })
    claim({
      text: 'the more a twin sees the better (table 4)',
      holds: at('epsilon 0.3') <= at('epsilon 0.5') && at('epsilon 0.5') <= at('epsilon 0.7'),
      detail: text(epsilons.map((e) => at(`epsilon ${e}`))),
    })
    const wide = BITS.slice(0, 4).map((b) => at(`bits ${b}`))
    claim({
      text: 'twins of 4 to 32 bits are within 1 % of each other, 2 bits are worst (table 5)',
      holds: Math.max(...wide) <= 1.01 * Math.min(...wide) && at('bits 2') > Math.max(...wide),
      detail: text(BITS.map((b) => at(`bits ${b}`))),
    })
    claim({
      text: 'one step of an int8 layer reads less than that of an f32 layer with an int8 twin at 50 %, and the method saves more on top of it',
      holds: at('read int8') < at('read f32, int8 twin, 50 %') && at('read int8, int4 twin, 50 %') < at('read int8'),
      detail: `${text(['int8', 'f32, int8 twin, 50 %', 'int8, int4 twin, 50 %'].map((m) => at(`read ${m}`)))} % of f32`,
    })
  }
}

/** What follows from the paper's formula: k, and bytes of the stored twins. */
function sizes({ row, claim }: PaperRun): void {
  for (const bits of BITS)
    row({
      table: 'Twins of an LSTM-1500, k 417, as stored (table 5)',
      method: bits === 32 ? 'f32' : `int${bits}`,
      metric: 'size',
      unit: 'MiB',
      values: [twinSize(bits)],
      paper: paperSizes[bits],
    })
  const k = epsilons.map((e) => projectionSize(4 * PAPER, e))
  claim({
    text: 'k for epsilon .3, .5, .7 and 6000 outputs is 966, 417, 266 (table 4)',
    holds: k.join() === '966,417,266',
    detail: k.join(', '),
  })
  const off = BITS.map((b) => Math.abs(twinSize(b) - paperSizes[b]))
  claim({
    text: 'twins take 19.1 / 9.6 / 4.8 / 2.4 / 1.2 MiB (within 0.1: rows have scales here)',
    holds: off.every((d) => d < 0.1),
    detail: BITS.map((b) => twinSize(b).toFixed(2)).join(' / '),
  })
}

export const dualPaper = definePaper({
  name: 'dual',
  title: 'Dual-module inference: quality',
  source: 'Liu, Zhao, Song and others, ICML 2020, tables 1, 2, 4, 5',
  setup:
    `One-layer language models of ${UNITS} units (the paper: ${PAPER}, Penn Treebank) on Moby-Dick with 1000 words, three epochs of Adam; twins see as many numbers for each unit as the paper’s ` +
    `(k of ${PAPER} units times ${UNITS}/${PAPER}), top-k rule where nothing else is said. What a layer of ${PAPER} units needs in bytes follows from its formula and is stored and counted.`,
  seeds: [1, 2, 3],
  run: async (run) => {
    sizes(run)
    const corpus = await loadText('moby-dick,lower=yes,maxSize=1000', { signal: run.signal })
    const held = corpus.test.subarray(0, run.quick ? 2001 : 12_001)
    const quality = new Quality(run, corpus, held, run.quick ? 32 : UNITS)
    const cells: readonly Cell[] = ['lstm', 'gru']
    for (const seed of run.seeds) for (const cell of cells) await quality.seed(cell, seed)
    quality.report(cells)
  },
})
