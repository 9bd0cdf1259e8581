/**
 * k-means of numbers: the codebooks of Deep Compression (Han, Mao, Dally 2016, section 3.1), each value with a weight that says what its error counts. On a line clusters are
 * intervals: values are sorted once, an iteration of Lloyd's is k binary searches on running sums, and the result is exact for its boundaries.
 */

export interface Clusters {
  /** Rising, at most k: clusters that lost all values are left out. */
  readonly centres: Float64Array
  /** Sum of weight * (value - centre)^2. */
  readonly error: number
}

/** Values in order with running sums of weight, weight * value, weight * value^2. */
interface Sorted {
  readonly values: Float64Array
  readonly weight: Float64Array
  readonly first: Float64Array
  readonly second: Float64Array
}

function sorted(values: ArrayLike<number>, weights: ArrayLike<number> | undefined): Sorted {
  const n = values.length
  let order: Uint32Array | undefined
  let line: Float64Array
  if (weights) {
    order = Uint32Array.from({ length: n }, (_, i) => i).sort((a, b) => values[a]! - values[b]!)
    line = Float64Array.from(order, (i) => values[i]!)
  } else line = Float64Array.from(values).sort()
  const [weight, first, second] = [new Float64Array(n + 1), new Float64Array(n + 1), new Float64Array(n + 1)]
  for (let i = 0; i < n; i++) {
    const w = order ? weights![order[i]!]! : 1
    weight[i + 1] = weight[i]! + w
    first[i + 1] = first[i]! + w * line[i]!
    second[i + 1] = second[i]! + w * line[i]! * line[i]!
  }
  return { values: line, weight, first, second }
}

/** How many values are below x. */
function below(values: Float64Array, x: number): number {
  let [lo, hi] = [0, values.length]
  while (lo < hi) {
    const mid = (lo + hi) >> 1
    if (values[mid]! < x) lo = mid + 1
    else hi = mid
  }
  return lo
}

/** Lloyd's iteration from given centres until nothing moves. */
function lloyd(line: Sorted, start: Float64Array, iterations: number): Clusters {
  const { values, weight, first, second } = line
  let centres = start
  let error = Infinity
  for (let i = 0; ; i++) {
    const cuts = Array.from({ length: centres.length + 1 }, (_, c) =>
      c === 0 ? 0 : c === centres.length ? values.length : below(values, (centres[c - 1]! + centres[c]!) / 2),
    )
    let total = 0
    const moved: number[] = []
    for (let c = 0; c < centres.length; c++) {
      const [from, to] = [cuts[c]!, cuts[c + 1]!]
      if (to <= from) continue
      const w = weight[to]! - weight[from]!
      const sum = first[to]! - first[from]!
      const centre = w > 0 ? Math.min(values[to - 1]!, Math.max(values[from]!, sum / w)) : values[from]!
      moved.push(centre)
      total += Math.max(0, second[to]! - second[from]! - 2 * centre * sum + centre * centre * w)
    }
    const next = Float64Array.from(moved)
    if (i === iterations || !(total < error * (1 - 1e-7))) return total < error ? { centres: next, error: total } : { centres, error }
    error = total
    centres = next
  }
}

/**
 * At most k centres. Two starts, the better result: centres evenly over the range (the paper's choice: large values keep a centre), and evenly over the values. Everything
 * follows from the values.
 */
export function kmeans(values: ArrayLike<number>, k: number, weights?: ArrayLike<number>, iterations = 100): Clusters {
  const n = values.length
  if (n === 0) return { centres: new Float64Array([0]), error: 0 }
  const line = sorted(values, weights)
  const distinct = distinctUpTo(line.values, k)
  if (distinct) return { centres: distinct, error: 0 }
  const [low, high] = [line.values[0]!, line.values[n - 1]!]
  const linear = Float64Array.from({ length: k }, (_, i) => low + ((high - low) * i) / Math.max(1, k - 1))
  const dense = Float64Array.from({ length: k }, (_, i) => line.values[Math.min(n - 1, Math.floor(((i + 0.5) * n) / k))]!)
  const [a, b] = [lloyd(line, linear, iterations), lloyd(line, unique(dense), iterations)]
  return a.error <= b.error ? a : b
}

const unique = (rising: Float64Array): Float64Array => rising.filter((v, i) => i === 0 || v > rising[i - 1]!)

/** The distinct values where there are no more than k. */
function distinctUpTo(line: Float64Array, k: number): Float64Array | undefined {
  const out: number[] = []
  for (const v of line) {
    if (out.length > 0 && out.at(-1) === v) continue
    if (out.length === k) return undefined
    out.push(v)
  }
  return Float64Array.from(out)
}

/** The nearest centre of each value; the lower one of two that are equally near. */
export function nearestCentre(centres: ArrayLike<number>, x: number): number {
  let [lo, hi] = [0, centres.length - 1]
  while (lo < hi) {
    const mid = (lo + hi) >> 1
    if (x > (centres[mid]! + centres[mid + 1]!) / 2) lo = mid + 1
    else hi = mid
  }
  return lo
}
