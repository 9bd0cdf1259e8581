/**
 * BLEU of a corpus (Papineni, Roukos, Ward, Zhu 2002): n-gram matches, clipped by the most that one reference has, are summed over the corpus; the
 * geometric mean of the precisions times the brevity penalty, times 100. The same numbers as sacrebleu 2 on the same tokens (`tokenize='none'` on
 * tokens joined by spaces); this file does not tokenize.
 */
import { DataError, OptionError } from '../../base/errors.js'

export interface BleuOptions {
  /** Longest n-gram; default 4. */
  readonly order?: number
  /**
   * What a precision of 0 becomes (Chen and Cherry 2014): `'exp'` (default, as sacrebleu: 1 / 2, 1 / 4, ... of a match), `'floor'` (`value` matches, default
   * 0.1), `'add-k'` (`value` more matches and n-grams above order 1, default 1), `'none'` (the score is 0).
   */
  readonly smoothing?: 'none' | 'exp' | 'floor' | 'add-k'
  readonly value?: number
  /** Leaves out orders longer than the hypotheses: for single sentences. Default false. */
  readonly effectiveOrder?: boolean
}

export interface BleuFigures {
  /** 0 to 100. */
  readonly score: number
  /** Per order, 0 to 100, smoothed. */
  readonly precisions: readonly number[]
  readonly brevityPenalty: number
  /** Tokens of the hypotheses; of the references, for each the one closest in length (of equally close ones the shorter). */
  readonly hypothesisLength: number
  readonly referenceLength: number
}

export type Tokens = ArrayLike<string | number>

/** Counts of all n-grams up to an order, by ids joined with commas: no two n-grams meet in a key. */
function ngrams(ids: readonly number[], order: number): Map<string, number>[] {
  return Array.from({ length: order }, (_, k) => {
    const counts = new Map<string, number>()
    for (let i = 0; i + k < ids.length; i++) {
      const key = ids.slice(i, i + k + 1).join()
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    return counts
  })
}

/**
 * @example
 * import { metrics } from 'tersor'
 * const b = new metrics.Bleu()
 * b.update('the cat sat on the mat'.split(' '), ['the cat is on the mat'.split(' ')])
 * b.result().score
 */
export class Bleu {
  readonly #options: Required<BleuOptions>
  readonly #correct: number[]
  readonly #total: number[]
  #hypothesis = 0
  #reference = 0
  #count = 0

  /** Options out of range: ERR_OPTION. */
  constructor(options: BleuOptions = {}) {
    const { order = 4, smoothing = 'exp', effectiveOrder = false } = options
    const value = options.value ?? (smoothing === 'floor' ? 0.1 : 1)
    if (!Number.isInteger(order) || order < 1 || order > 32)
      throw new OptionError('ERR_OPTION', `Bleu: order must be an integer in [1, 32], got ${order}`)
    if (!['none', 'exp', 'floor', 'add-k'].includes(smoothing))
      throw new OptionError('ERR_OPTION', `Bleu: smoothing must be none, exp, floor or add-k, got ${JSON.stringify(smoothing)}`)
    if (!(value > 0 && Number.isFinite(value))) throw new OptionError('ERR_OPTION', `Bleu: value must be > 0, got ${value}`)
    this.#options = { order, smoothing, value, effectiveOrder }
    this.#correct = new Array<number>(order).fill(0)
    this.#total = new Array<number>(order).fill(0)
  }

  /** One sentence and its references, as tokens (words or ids). No references: ERR_DATA. */
  update(hypothesis: Tokens, references: readonly Tokens[]): void {
    if (references.length === 0) throw new DataError('ERR_DATA', `Bleu: sentence ${this.#count} has no reference`)
    const { order } = this.#options
    const known = new Map<string | number, number>()
    const ids = (tokens: Tokens): number[] =>
      Array.from(tokens, (token) => {
        const id = known.get(token) ?? known.size
        known.set(token, id)
        return id
      })
    const own = ngrams(ids(hypothesis), order)
    const theirs = references.map((reference) => ngrams(ids(reference), order))
    own.forEach((counts, k) => {
      for (const [key, count] of counts) this.#correct[k]! += Math.min(count, Math.max(...theirs.map((t) => t[k]!.get(key) ?? 0)))
      this.#total[k]! += Math.max(0, hypothesis.length - k)
    })
    const length = hypothesis.length
    const distance = (n: number): number => Math.abs(n - length)
    this.#hypothesis += length
    this.#reference += references
      .map((r) => r.length)
      .reduce((a, b) => (distance(b) < distance(a) || (distance(b) === distance(a) && b < a) ? b : a))
    this.#count++
  }

  get count(): number {
    return this.#count
  }

  /** No sentences: ERR_DATA. */
  result(): BleuFigures {
    if (this.#count === 0) throw new DataError('ERR_DATA', 'Bleu: there are no sentences')
    const { order, smoothing, value, effectiveOrder } = this.#options
    const [hyp, ref] = [this.#hypothesis, this.#reference]
    const brevityPenalty = hyp >= ref ? 1 : hyp > 0 ? Math.exp(1 - ref / hyp) : 0
    const precisions = new Array<number>(order).fill(0)
    const figures = { brevityPenalty, hypothesisLength: hyp, referenceLength: ref }
    if (this.#correct.every((c) => c === 0)) return { score: 0, precisions, ...figures }
    let orders = order
    let halves = 1
    for (let k = 0; k < order; k++) {
      const extra = smoothing === 'add-k' && k > 0 ? value : 0
      const correct = this.#correct[k]! + extra
      const total = this.#total[k]! + extra
      if (total === 0) break
      if (effectiveOrder) orders = k + 1
      if (correct > 0) precisions[k] = (100 * correct) / total
      else if (smoothing === 'exp') precisions[k] = 100 / ((halves *= 2) * total)
      else if (smoothing === 'floor') precisions[k] = (100 * value) / total
    }
    const used = precisions.slice(0, orders)
    const score = used.some((p) => p === 0) ? 0 : brevityPenalty * Math.exp(used.reduce((sum, p) => sum + Math.log(p), 0) / orders)
    return { score, precisions, ...figures }
  }
}
