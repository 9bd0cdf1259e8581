/**
 * Train Large, Then Compress (Li, Wallace, Shen, Lin, Keutzer, Klein, Gonzalez, ICML 2020, section 4): of nets of several sizes, pruned and quantized as far as one likes,
 * are the large ones, compressed harder, the more accurate at equal bytes? Three encoders on one task, a grid of bits and sparsities, bytes as this package stores them.
 */
import { evaluateModel } from '../../ts/analyze/index.js'
import { compress, prune, quantize, recipe, sparsify, train, type PassSpec } from '../../ts/compress/index.js'
import type { Model } from '../../ts/nn/index.js'
import { definePaper, mean, type PaperRun, type Row } from './lib/paper.js'
import { missingWord, smallBert, type Sentences } from './lib/small-bert.js'

const WIDTHS = [32, 64, 128] as const
type Width = (typeof WIDTHS)[number]
/** Largest rates, of 1e-3 and 3e-3 the one with the smaller loss of the uncompressed net on windows that do not count. */
const RATES: Readonly<Record<Width, number>> = { 32: 3e-3, 64: 1e-3, 128: 1e-3 }
const BITS = [32, 8, 6, 4, 3] as const
const SPARSITIES = [0, 0.5, 0.75, 0.9] as const
/** The first held-out windows choose the point of a front, the others are counted. */
const CHOOSING = 1000
const ALL = ['@matrix', '@table']

interface Point {
  readonly width: Width
  readonly bits: (typeof BITS)[number]
  readonly sparsity: (typeof SPARSITIES)[number]
  /** Of all weights, indices of nonzero values included. */
  readonly bytes: number
  /** As the paper counts: nonzero values times bits. */
  readonly plain: number
  /** In %, on the choosing and on the counted windows. */
  readonly chosen: number
  readonly counted: number
}

const weightBytes = (m: Model): number => m.weights().reduce((sum, { weight }) => sum + weight.bytes(), 0)
const valueBytes = (m: Model, bits: number): number =>
  m.weights().reduce((sum, { weight, role }) => sum + (weight.nonzeros() * (role === 'vector' ? 32 : bits)) / 8, 0)
const keyOf = (p: Point): string => `${p.width} ${p.bits} ${p.sparsity}`
const named = (width: number): string => `width ${width}`

/** What is in `after` and not in `before` is freed. */
function freeNew(after: Model, ...before: readonly Model[]): void {
  const kept = new Set(before.flatMap((m) => m.weights().map(({ weight }) => weight)))
  for (const { weight } of after.weights()) if (!kept.has(weight)) weight.dispose()
}

class Grid {
  readonly #seeds: Map<string, Point>[] = []

  constructor(
    private readonly run: PaperRun,
    private readonly data: Sentences,
  ) {}

  async #measure(model: Model): Promise<{ readonly chosen: number; readonly counted: number }> {
    const { predictions } = await evaluateModel(model, this.data.test, { latencyRuns: 1, signal: this.run.signal })
    const right = [...predictions].map((c, i) => (c === this.data.test.labels[i] ? 100 : 0))
    const cut = Math.min(CHOOSING, right.length >> 1)
    return { chosen: mean(right.slice(0, cut)), counted: mean(right.slice(cut)) }
  }

  async #small(model: Model, stages: readonly (readonly PassSpec[])[], seed: number): Promise<Model> {
    return (await compress(model, recipe(stages, { seed }), { data: this.data.train, signal: this.run.signal })).model
  }

  /** Every number of bits of one net; each is freed. */
  async #quantized(pruned: Model, width: Width, sparsity: Point['sparsity'], seed: number): Promise<Point[]> {
    const points: Point[] = []
    for (const bits of BITS) {
      const rtn = quantize.rtn(
        { bits: bits === 32 ? 8 : bits, mode: sparsity > 0 ? 'symmetric' : 'affine', layout: 'channel' },
        { targets: ALL },
      )
      const stages = [...(bits < 32 ? [[rtn]] : []), ...(sparsity > 0 ? [[sparsify.csr({}, { targets: ALL })]] : [])]
      const small = stages.length > 0 ? await this.#small(pruned, stages, seed) : pruned
      points.push({
        width,
        bits,
        sparsity,
        bytes: weightBytes(small),
        plain: valueBytes(pruned, bits),
        ...(await this.#measure(small)),
      })
      if (small !== pruned) freeNew(small, pruned)
    }
    return points
  }

  async seed(seed: number): Promise<void> {
    const { quick, signal, say } = this.run
    const points: Point[] = []
    for (const width of WIDTHS) {
      const shape = { layers: 2, width, heads: 4, tokens: 12, epochs: quick ? 2 : 3, lr: RATES[width] }
      let model = await smallBert(this.data.train, shape, seed, signal)
      for (const sparsity of SPARSITIES) {
        if (sparsity > 0) {
          const pass = prune.magnitude({ sparsity, scope: 'local', retrain: train.rewindLearningRate({ epochs: 1 }) })
          const next = await this.#small(model, [[pass]], seed)
          freeNew(model, next)
          model = next
        }
        const found = await this.#quantized(model, width, sparsity, seed)
        say(
          `seed ${seed}, ${named(width)}, ${100 * sparsity} % zeros: ${found.map((p) => `${p.bits}: ${p.counted.toFixed(1)} %`).join(', ')}`,
        )
        points.push(...found)
      }
      model.dispose()
    }
    this.#seeds.push(new Map(points.map((p) => [keyOf(p), p])))
  }

  report(): void {
    const points = [...this.#seeds[0]!.values()]
    const values = (p: Point, what: 'bytes' | 'plain' | 'chosen' | 'counted'): number[] => this.#seeds.map((s) => s.get(keyOf(p))![what])
    const n = this.data.test.size - Math.min(CHOOSING, this.data.test.size >> 1)
    for (const p of points)
      this.run.row({
        table: 'Three sizes, bits and zeros: accuracy against bytes',
        method: named(p.width),
        how: `${p.bits} bits, ${100 * p.sparsity} % zeros`,
        at: { name: 'bytes', value: Math.round(mean(values(p, 'bytes'))) },
        metric: 'accuracy',
        unit: '%',
        values: values(p, 'counted'),
        n,
      })
    for (const what of ['bytes', 'plain'] as const) this.#compare(points, values, what, n)
    this.#drops(values, points)
  }

  /** At the bytes of smaller nets: the best point of each size that fits, chosen on other windows than those that count. */
  #compare(
    points: readonly Point[],
    values: (p: Point, what: 'bytes' | 'plain' | 'chosen' | 'counted') => number[],
    what: 'bytes' | 'plain',
    n: number,
  ): void {
    const at = (width: Width, bits: number): number =>
      mean(
        values(
          points.find((p) => p.width === width && p.bits === bits && p.sparsity === 0)!,
          what,
        ),
      )
    const budgets = [
      ['width 32 in 4 bits', at(32, 4)],
      ['width 32 in 8 bits', at(32, 8)],
      ['width 32 in 32 bits', at(32, 32)],
      ['width 64 in 4 bits', at(64, 4)],
      ['width 64 in 8 bits', at(64, 8)],
      ['width 64 in 32 bits', at(64, 32)],
    ] as const
    const table =
      what === 'bytes'
        ? 'Best of each size within the bytes of a smaller net'
        : 'The same, counted as in the paper (nonzero values times bits, no indices)'
    for (const [name, budget] of budgets) {
      const best = WIDTHS.flatMap((width) => {
        const fits = points.filter((p) => p.width === width && mean(values(p, what)) <= budget * (1 + 1e-9))
        const top = fits.sort((a, b) => mean(values(b, 'chosen')) - mean(values(a, 'chosen')))[0]
        return top ? [top] : []
      })
      for (const p of best) {
        const row: Row = {
          table,
          method: named(p.width),
          how: `${p.bits} bits, ${100 * p.sparsity} % zeros, within ${name}`,
          at: { name: 'budget', value: Math.round(budget) },
          metric: 'accuracy',
          unit: '%',
          values: values(p, 'counted'),
          n,
        }
        this.run.row(row)
      }
      const scores = best.map((p) => mean(values(p, 'counted')))
      const owner = Number(/\d+/.exec(name)![0])
      const larger = best.filter((p) => p.width > owner)
      this.run.claim({
        text: `within the bytes of ${name}${what === 'plain' ? ' (counted as in the paper)' : ''}, a larger net compressed harder is more accurate`,
        holds:
          larger.length > 0 &&
          Math.max(...larger.map((p) => mean(values(p, 'counted')))) >
            mean(
              values(
                best.find((p) => p.width === owner)!,
                'counted',
              ),
            ),
        detail:
          best.map((p, i) => `${named(p.width)} (${p.bits} bits, ${100 * p.sparsity} % zeros) ${scores[i]!.toFixed(2)} %`).join(', ') +
          (larger.length === 0 ? '; no larger net was made so small' : ''),
      })
    }
  }

  #drops(values: (p: Point, what: 'counted') => number[], points: readonly Point[]): void {
    const drop = (width: Width, bits: number, sparsity: number): number => {
      const of = (b: number, s: number): number =>
        mean(
          values(
            points.find((p) => p.width === width && p.bits === b && p.sparsity === s)!,
            'counted',
          ),
        )
      return of(32, 0) - of(bits, sparsity)
    }
    for (const [bits, sparsity, text] of [
      [3, 0, '3 bits'],
      [32, 0.9, '90 % zeros'],
    ] as const) {
      const lost = WIDTHS.map((w) => drop(w, bits, sparsity))
      this.run.claim({
        text: `the larger the net the less it loses by ${text}`,
        holds: lost.every((v, i) => i === 0 || v <= lost[i - 1]!),
        detail: lost.map((v, i) => `${named(WIDTHS[i]!)} ${v.toFixed(2)}`).join(', '),
      })
    }
  }
}

export const trainLarge = definePaper({
  name: 'train-large',
  title: 'Train large, then compress',
  source: 'Li, Wallace, Shen, Lin, Keutzer, Klein, Gonzalez, ICML 2020, figures 6 and 7',
  setup:
    'Encoders of two layers, 32, 64 and 128 wide, learn from nothing what kind of word is missing between eight others (Brown corpus), three epochs of 16,000 windows with the same settings but for the rate, chosen for each size by the loss of the uncompressed net; magnitude pruning of the matrices level by level with one ' +
    'epoch of learning-rate rewinding each, then rounding to nearest per row without training, embeddings included. The paper: RoBERTa of 3 to 24 layers, MNLI. Points of a size are chosen on 1000 windows that do not count.',
  run: async (run) => {
    const { quick } = run
    const data = await missingWord({ train: quick ? 4000 : 16_000, test: quick ? 600 : 3000 })
    const grid = new Grid(run, data)
    for (const seed of run.seeds) await grid.seed(seed)
    grid.report()
  },
})
