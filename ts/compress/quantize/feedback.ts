/**
 * Rounding with error feedback: columns are rounded one after the other, and what a rounding did to the layer's output is taken back by the columns that
 * follow. GPTQ (Frantar et al. 2022, algorithm 1), in the form of Babai's nearest plane (Chen et al. 2025, theorem 1), which needs one Cholesky factor and no
 * inverse:
 *
 *   min tr(E H E^T), E = W - Q.  With H = R R^T, R upper triangular, the error is |E R|^2, and once columns j < i are rounded the best value of column i is
 *   w_i + sum_{j < i} e_j R_ji / R_ii, which is then rounded to its grid.
 *
 * R comes from the factor of H with rows and columns in reverse order; here columns are numbered in that reversed order, so the last one goes first.
 */
import { NumericError } from '../../base/errors.js'
import { matmul } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { choleskyUpper } from './factor.js'
import type { CodeRange } from './grid.js'

/** Columns between two corrections by a native product. */
const BLOCK = 128
/** 1.5 * 2^52: adding and subtracting it rounds a double half to even. */
const MAGIC = 6755399441055744

export interface Rounding {
  /** [rows, cols]. */
  readonly values: Float32Array
  readonly rows: number
  readonly cols: number
  /** Scale and zero point of the value at (row, col). */
  readonly scale: (row: number, col: number) => number
  readonly zero: (row: number, col: number) => number
  readonly codes: CodeRange
  /** Values that are exactly 0 stay so: of pruned weights. */
  readonly keepZeros?: boolean
}

export interface Rounded {
  /** [rows, cols]. */
  readonly q: Int8Array
  /** tr(E H E^T) with the undamped H. */
  readonly error: number
  /** The same of rounding to nearest. */
  readonly nearest: number
}

export interface FeedbackOptions {
  /** Share of the mean of H's diagonal that is added to it. */
  readonly damping: number
  /** Columns by falling diagonal of H instead of from left to right. */
  readonly order: 'activation' | 'given'
}

/** The factor of H, damped so that it has one, with rows and columns in the order of `order`. */
export async function dampedFactor(
  where: string,
  products: Float32Array,
  order: Uint32Array,
  damping: number,
  breathe: () => Promise<void>,
): Promise<{ readonly u: Float32Array; readonly damping: number }> {
  const n = order.length
  const h = new Float32Array(n * n)
  for (let i = 0; i < n; i++) {
    const from = order[i]! * n
    for (let j = 0; j < n; j++) h[i * n + j] = products[from + order[j]!]!
  }
  let mean = 0
  for (let i = 0; i < n; i++) mean += h[i * n + i]! / n
  if (!Number.isFinite(mean)) throw new NumericError('ERR_NUMERIC', `${where}: the second moments of the layer's input are beyond f32`)
  if (!(mean > 0)) mean = 1 // nothing was ever seen: the identity, which is rounding to nearest
  for (let share = damping; share < 1e6; share = Math.max(10 * share, 1e-6)) {
    const damped = h.slice()
    for (let i = 0; i < n; i++) damped[i * n + i]! += share * mean
    const u = await choleskyUpper(damped, n, breathe)
    if (u) return { u, damping: share }
  }
  throw new NumericError('ERR_NUMERIC', `${where}: the second moments of the layer's input cannot be factored`)
}

/** The order in which the factor stands: what is rounded first comes last. */
export function orderOf(products: Float32Array, cols: number, order: FeedbackOptions['order']): Uint32Array {
  const out = Uint32Array.from({ length: cols }, (_, i) => cols - 1 - i)
  if (order === 'activation') out.sort((a, b) => products[a * cols + a]! - products[b * cols + b]! || b - a)
  return out
}

/**
 * Codes for one group of a layer. `products` is the sum of x x^T over its inputs, [cols, cols]. Never worse than rounding to nearest: where feedback loses (it is
 * greedy), the nearest codes are given.
 */
export async function roundWithFeedback(
  where: string,
  w: Rounding,
  products: Float32Array,
  options: FeedbackOptions,
  breathe: () => Promise<void>,
): Promise<Rounded & { readonly damping: number }> {
  const { rows, cols } = w
  const order = orderOf(products, cols, options.order)
  const { u, damping } = await dampedFactor(where, products, order, options.damping, breathe)
  // Columns as rows, in the order of the factor: the inner loops run over what lies side by side.
  const left = new Float32Array(cols * rows)
  for (let a = 0; a < cols; a++) for (let r = 0; r < rows; r++) left[a * rows + r] = w.values[r * cols + order[a]!]!
  const q = new Int8Array(rows * cols)
  const errors = new Float32Array(cols * rows)
  const wanted = new Float64Array(rows)
  for (let end = cols; end > 0; end -= BLOCK) {
    const from = Math.max(0, end - BLOCK)
    const earlier = corrections(u, errors, { from, end, cols, rows })
    for (let a = end - 1; a >= from; a--) {
      const inverse = 1 / u[a * cols + a]!
      for (let r = 0; r < rows; r++) wanted[r] = earlier ? earlier[(a - from) * rows + r]! : 0
      for (let c = a + 1; c < end; c++) {
        const factor = u[a * cols + c]!
        if (factor === 0) continue
        const at = c * rows
        for (let r = 0; r < rows; r++) wanted[r]! += factor * errors[at + r]!
      }
      roundColumn(w, order[a]!, { wanted, inverse, values: left.subarray(a * rows, (a + 1) * rows), errors: errors.subarray(a * rows), q })
    }
    await breathe()
  }
  const nearest = nearestCodes(w)
  const [error, plain] = [outputError(w, q, products), outputError(w, nearest, products)]
  return { q: error <= plain ? q : nearest, error: Math.min(error, plain), nearest: plain, damping }
}

interface Place {
  readonly from: number
  readonly end: number
  readonly cols: number
  readonly rows: number
}

/** What the columns behind the block, which are done, ask of those in it: [block, rows]. */
export function corrections(u: Float32Array, errors: Float32Array, { from, end, cols, rows }: Place): Float32Array | undefined {
  const rest = cols - end
  if (rest === 0) return undefined
  const factors = new Float32Array((end - from) * rest)
  for (let a = from; a < end; a++) factors.set(u.subarray(a * cols + end, (a + 1) * cols), (a - from) * rest)
  return scope(() =>
    matmul(tensor(factors, [end - from, rest]), tensor(errors.subarray(end * rows), [rest, rows]), false, false).read(),
  ) as Float32Array
}

interface Column {
  readonly wanted: Float64Array
  readonly inverse: number
  readonly values: Float32Array
  readonly errors: Float32Array
  readonly q: Int8Array
}

function roundColumn({ rows, cols, scale, zero, codes: { qmin, qmax }, keepZeros }: Rounding, col: number, c: Column): void {
  for (let r = 0; r < rows; r++) {
    const x = keepZeros && c.values[r] === 0 ? 0 : c.values[r]! + c.wanted[r]! * c.inverse
    const s = scale(r, col)
    const z = zero(r, col)
    const t = x / s + z
    const code = (t < qmin ? qmin : t > qmax ? qmax : t) + MAGIC - MAGIC
    c.q[r * cols + col] = code
    c.errors[r] = c.values[r]! - s * (code - z)
  }
}

function nearestCodes({ values, rows, cols, scale, zero, codes: { qmin, qmax } }: Rounding): Int8Array {
  const q = new Int8Array(rows * cols)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++) {
      const t = values[r * cols + c]! / scale(r, c)
      const z = zero(r, c)
      q[r * cols + c] = (t < qmin - z ? qmin - z : t > qmax - z ? qmax - z : t) + MAGIC - MAGIC + z
    }
  return q
}

/** tr(E H E^T). */
function outputError(w: Rounding, q: Int8Array, products: Float32Array): number {
  const { rows, cols, values, scale, zero } = w
  const e = new Float32Array(rows * cols)
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++) e[r * cols + c] = values[r * cols + c]! - scale(r, c) * (q[r * cols + c]! - zero(r, c))
  return errorOf(e, rows, cols, products)
}

/** tr(E H E^T) of an error E [rows, cols]: what it does to the squared error of the outputs. */
export function errorOf(e: Float32Array, rows: number, cols: number, products: Float32Array): number {
  const eh = scope(() => matmul(tensor(e, [rows, cols]), tensor(products, [cols, cols]), false, false).read()) as Float32Array
  let total = 0
  for (let i = 0; i < e.length; i++) total += e[i]! * eh[i]!
  return Math.max(0, total)
}
