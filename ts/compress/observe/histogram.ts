/**
 * Distribution of a layer's input over a stream of batches, in a fixed number of counters.
 *
 * The counters divide [-limit, limit), where limit is a power of two above the largest magnitude seen. When a larger value comes, limit
 * doubles and neighbouring counters are added up: that is exact, so the counts are those that one pass with the final limit would have
 * given, and the order of the batches does not matter. 0 always lies on a border between two counters. (Only a negative value nearer to 0
 * than 2^-53 limit counts on the other side of it: the sum x + limit is made in doubles.)
 *
 *   -limit        0         limit
 *     |..|..|..|..|..|..|..|..|      doubling: pairs merge into the middle half
 *           |..|..|..|..|
 */
import type { JsonObject } from '../../base/json-types.js'
import { histogram } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { rangeOf, type ValueRange } from './ranges.js'
import type { Observer, Statistic } from './statistic.js'

const BINS = 8192
/** Smallest limit: below it everything counts as one of the two middle counters. */
const LEAST = 2 ** -100

export interface Distribution extends ValueRange {
  readonly limit: number
  /** Of `BINS` parts of [-limit, limit). Doubles: exact to 2^53. */
  readonly counts: Float64Array
}

export class HistogramObserver implements Observer<Distribution> {
  readonly #path: string
  #min = Infinity
  #max = -Infinity
  #limit = LEAST
  #counts = new Float64Array(BINS)

  constructor(path: string) {
    this.#path = path
  }

  see(x: Tensor): void {
    if (x.size === 0) return
    const { min, max } = rangeOf(this.#path, x)
    this.#min = Math.min(this.#min, min)
    this.#max = Math.max(this.#max, max)
    while (Math.max(-min, max) >= this.#limit) this.#double()
    const counts = scope(() => histogram(x, -this.#limit, this.#limit, BINS).read()) as BigInt64Array
    for (let i = 0; i < BINS; i++) this.#counts[i]! += Number(counts[i])
  }

  #double(): void {
    const next = new Float64Array(BINS)
    for (let i = 0; i < BINS / 2; i++) next[BINS / 4 + i] = this.#counts[2 * i]! + this.#counts[2 * i + 1]!
    this.#counts = next
    this.#limit *= 2
  }

  value(): Distribution {
    return { min: this.#min, max: this.#max, limit: this.#limit, counts: this.#counts }
  }
}

export const distribution: Statistic<Distribution> = {
  key: 'distribution',
  observe: (path) => new HistogramObserver(path),
  save: ({ min, max, limit, counts }) => ({
    json: { min, max, limit },
    tensors: { counts: { dtype: 'f64', shape: [counts.length], data: new Uint8Array(counts.buffer.slice(0)) } },
  }),
  restore: (json, tensors) => {
    const { min, max, limit } = json as JsonObject as unknown as Distribution
    const { data } = tensors.counts!
    return { min, max, limit, counts: new Float64Array(data.slice().buffer) }
  },
}

/** Middle of counter i. */
function centre(d: Distribution, i: number): number {
  return ((i + 0.5) / d.counts.length) * 2 * d.limit - d.limit
}

/** The range that holds `percent` percent of the values, half of the rest cut off on either side; never wider than what was seen. */
export function percentileRange(d: Distribution, percent: number): ValueRange {
  const total = d.counts.reduce((a, b) => a + b, 0)
  const cut = (total * (100 - percent)) / 200
  const border = (i: number): number => (i / d.counts.length) * 2 * d.limit - d.limit
  let first = 0
  for (let sum = d.counts[0]!; sum <= cut && first < d.counts.length - 1; sum += d.counts[++first]!);
  let last = d.counts.length - 1
  for (let sum = d.counts[last]!; sum <= cut && last > 0; sum += d.counts[--last]!);
  return { min: Math.max(d.min, Math.min(border(first), d.max)), max: Math.min(d.max, Math.max(border(last + 1), d.min)) }
}

/**
 * The range whose quantization to `levels` steps has the smallest mean squared error on the distribution: both ends are drawn in step by
 * step, each as long as it pays; symmetric: both together.
 */
export function leastErrorRange(d: Distribution, levels: number, symmetric = false): ValueRange {
  const filled: number[] = []
  d.counts.forEach((n, i) => {
    if (n > 0) filled.push(i)
  })
  const error = (lo: number, hi: number): number => {
    const step = Math.max((hi - lo) / levels, Number.MIN_VALUE)
    let sum = 0
    for (const i of filled) {
      const x = centre(d, i)
      const off = x < lo ? lo - x : x > hi ? x - hi : 0
      // Inside the range the error is uniform in +-step / 2.
      sum += d.counts[i]! * (off * off + (step * step) / 12)
    }
    return sum
  }
  const most = Math.max(-d.min, d.max)
  let best: ValueRange = symmetric ? { min: -most, max: most } : { min: Math.min(d.min, 0), max: Math.max(d.max, 0) }
  let least = error(best.min, best.max)
  for (const shrink of [0.98, 0.9]) {
    for (let moved = true; moved;) {
      moved = false
      const both = { min: best.min * shrink, max: best.max * shrink }
      for (const next of symmetric
        ? [both]
        : [
            { ...best, min: both.min },
            { ...best, max: both.max },
          ]) {
        const e = error(next.min, next.max)
        if (e >= least) continue
        least = e
        best = next
        moved = true
      }
    }
  }
  return best
}
