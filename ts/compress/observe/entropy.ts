/**
 * The range that loses least information: Migacz 2017, "8-bit inference with TensorRT" (GTC), as TensorRT and ONNX Runtime search it. Ranges grow from 0 outwards;
 * for each, the reference P is the distribution inside it with everything outside counted at its ends, and Q is what codes leave of it: counters merged into as
 * many runs of equal width as there are codes, each run spread evenly over its counters that are not empty. The range with the smallest KL(P || Q) is taken.
 *
 * Two things are ours. Ranges need not be symmetric: [max(min, -t), min(max, t)], so that inputs behind a ReLU use all codes. And exact zeros do not count: they have
 * a code of their own, so the two counters beside 0 take the count of their outer neighbour where that is less (pytorch-quantization does so with the first one).
 */
import type { Distribution } from './histogram.js'
import type { ValueRange } from './ranges.js'

/** Ranges that are tried: steps of so many counters. */
const STRIDE = 16
/** What an empty counter of Q counts where P has something: ONNX Runtime's 1e-4. */
const EMPTY = 1e-4

/**
 * KL(P || Q) in nats. `counts` are those inside the range, `below` and `above` how many values lie outside on either side, `levels` the number of codes.
 *
 * @example
 * divergence([1, 0, 2, 3, 5, 3, 1, 7], 0, 0, 2)   // Q is [2, 0, 2, 2, 4, 4, 4, 4]: 0.1104
 */
export function divergence(counts: ArrayLike<number>, below: number, above: number, levels: number): number {
  const n = counts.length
  const reference = (i: number): number => counts[i]! + (i === 0 ? below : 0) + (i === n - 1 ? above : 0)
  let inside = 0
  for (let i = 0; i < n; i++) inside += counts[i]!
  const total = inside + below + above
  if (total === 0) return 0
  if (inside === 0) return Infinity
  let sum = 0
  for (let from = 0, run = 0; from < n; run++) {
    const to = Math.max(from + 1, Math.min(n, Math.ceil(((run + 1) * n) / levels)))
    let [mass, filled] = [0, 0]
    for (let i = from; i < to; i++) {
      mass += counts[i]!
      if (reference(i) > 0) filled++
    }
    const q = Math.max(mass / filled, EMPTY) / inside
    for (let i = from; i < to; i++) {
      const p = reference(i) / total
      if (p > 0) sum += p * Math.log(p / q)
    }
    from = to
  }
  return sum
}

/** The range of smallest divergence for `levels` codes; symmetric: [-t, t]. */
export function entropyRange(d: Distribution, levels: number, symmetric = false): ValueRange {
  const bins = d.counts.length
  const middle = bins / 2
  const width = (2 * d.limit) / bins
  const counts = Float64Array.from(d.counts)
  counts[middle] = Math.min(counts[middle]!, counts[middle + 1]!)
  counts[middle - 1] = Math.min(counts[middle - 1]!, counts[middle - 2]!)
  const before = new Float64Array(bins + 1)
  for (let i = 0; i < bins; i++) before[i + 1] = before[i]! + counts[i]!
  const whole = symmetric
    ? { min: -Math.max(-d.min, d.max), max: Math.max(-d.min, d.max) }
    : { min: Math.min(d.min, 0), max: Math.max(d.max, 0) }
  const least = Math.floor((whole.min + d.limit) / width)
  const most = Math.min(bins, Math.floor((whole.max + d.limit) / width) + 1)
  if (before[most]! === before[least]!) return whole
  const reach = Math.max(middle - least, most - middle)
  let best = { range: whole, divergence: divergence(counts.subarray(least, most), before[least]!, before[bins]! - before[most]!, levels) }
  for (let t = STRIDE; t < reach; t += STRIDE) {
    const [from, to] = [Math.max(least, middle - t), Math.min(most, middle + t)]
    // Fewer counters than codes say nothing about what codes lose.
    if (to - from < levels) continue
    const found = divergence(counts.subarray(from, to), before[from]!, before[bins]! - before[to]!, levels)
    if (found < best.divergence)
      best = {
        range: { min: Math.max(whole.min, (from - middle) * width), max: Math.min(whole.max, (to - middle) * width) },
        divergence: found,
      }
  }
  return best.range
}
