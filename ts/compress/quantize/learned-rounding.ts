/**
 * AdaRound's optimization (Nagel, Amjad, van Baalen, Louizos, Blankevoort 2020, "Up or down? Adaptive rounding for post-training quantization", equations 21 to 25): each
 * value goes up or down by h = clip(1.2 sigmoid(V) - 0.1, 0, 1), V is learned so that the squared error of the layer's output is small, and a term
 * lambda sum(1 - |2h - 1|^beta) with falling beta drives h to 0 or 1.
 *
 *   tr(E H E^T) / N + lambda sum(1 - |2h - 1|^beta),   E = s (floor(w / s) + h) - w
 *
 * The authors draw batches of stored inputs; for a linear layer H = sum x x^T says the same with constant memory, and the gradient 2 E H has no noise, so fewer steps do.
 * Rows do not depend on each other: they are learned some at a time.
 */
import { abs, adamStep, add, clip, greater, matmul, mul, power, scaleShift, sigmoid, sign, sub } from '../../ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../tensor/index.js'
import type { CodeRange } from './grid.js'

export interface RoundingOptions {
  readonly iterations: number
  readonly learningRate: number
  /** lambda, with errors counted in those of rounding to nearest (see `learnRounding`). */
  readonly regularization: number
  /** Share of the iterations before the term begins. */
  readonly warmup: number
  readonly beta: readonly [first: number, last: number]
}

export interface RoundingProblem {
  /** [rows, K]. */
  readonly values: Float32Array
  readonly rows: number
  /** Per value: its scale and zero point. */
  readonly scale: Float32Array
  readonly zero: Float32Array
  readonly codes: CodeRange
  /** [K, K]. */
  readonly products: Float32Array
  /** Values that are exactly 0 stay so. */
  readonly keepZeros: boolean
}

export interface LearnedRounding {
  readonly q: Int8Array
  readonly error: number
  /** The same of rounding to nearest. */
  readonly nearest: number
}

const [ZETA, GAMMA] = [1.1, -0.1]
/** 1.5 * 2^52: adding and subtracting it rounds a double half to even. */
const MAGIC = 6755399441055744
/** Values that are learned at a time: their tensors stay in the caches. */
const PIECE = 2 ** 19

/**
 * Codes [rows, K]. Rows where learning ends above the error of rounding to nearest take the nearest codes. Errors are divided by their mean per value after rounding to nearest,
 * so that `regularization` means the same for every layer.
 */
export async function learnRounding(
  p: RoundingProblem,
  o: RoundingOptions,
  breathe: () => Promise<void>,
  progress?: (done: number) => void,
): Promise<LearnedRounding> {
  const cols = p.values.length / p.rows
  const nearest = nearestCodes(p)
  const h = tensor(p.products, [cols, cols])
  try {
    const per = Math.max(1, Math.floor(PIECE / cols))
    const q = new Int8Array(p.values.length)
    let [error, plain] = [0, 0]
    const before = rowErrors(p, nearest, h)
    const unit = before.reduce((a, b) => a + b, 0) / p.values.length
    for (let from = 0; from < p.rows; from += per) {
      const rows = Math.min(per, p.rows - from)
      const cut = <T extends Float32Array | Int8Array>(a: T): T => a.subarray(from * cols, (from + rows) * cols) as T
      const part = { ...p, rows, values: cut(p.values), scale: cut(p.scale), zero: cut(p.zero) }
      const learned = unit > 0 ? await learnRows(part, h, unit, o, breathe) : cut(nearest)
      const after = rowErrors(part, learned, h)
      for (let r = 0; r < rows; r++) {
        const better = after[r]! <= before[from + r]!
        q.set((better ? learned : cut(nearest)).subarray(r * cols, (r + 1) * cols), (from + r) * cols)
        error += better ? after[r]! : before[from + r]!
        plain += before[from + r]!
      }
      progress?.(from + rows)
    }
    return { q, error, nearest: plain }
  } finally {
    h.dispose()
  }
}

async function learnRows(
  p: RoundingProblem,
  h: Tensor,
  unit: number,
  o: RoundingOptions,
  breathe: () => Promise<void>,
): Promise<Int8Array> {
  const { values, scale, zero, codes } = p
  const n = values.length
  const shape = [p.rows, n / p.rows]
  const [floor, start, begin, move] = [new Float32Array(n), new Float32Array(n), new Float32Array(n), new Float32Array(n)]
  for (let i = 0; i < n; i++) {
    const t = values[i]! / scale[i]! + zero[i]!
    const low = Math.floor(t)
    const free = low >= codes.qmin && low < codes.qmax && !(p.keepZeros && values[i] === 0)
    const share = t - low
    floor[i] = free ? low : Math.min(codes.qmax, Math.max(codes.qmin, t + MAGIC - MAGIC))
    start[i] = scale[i]! * (floor[i]! - zero[i]!) - values[i]!
    move[i] = free ? scale[i]! : 0
    const inner = (share - GAMMA) / (ZETA - GAMMA)
    begin[i] = -Math.log(1 / inner - 1)
  }
  const fixed = [
    tensor(start, shape),
    tensor(move, shape),
    tensor(begin, shape),
    zeros(shape),
    zeros(shape),
    tensor([0]),
    tensor([1]),
  ] as const
  const [e0, s, v, first, second, none, all] = fixed
  try {
    const warm = Math.floor(o.warmup * o.iterations)
    for (let step = 1; step <= o.iterations; step++) {
      scope(() => {
        const open = sigmoid(v)
        const loose = scaleShift(open, ZETA - GAMMA, GAMMA)
        const up = clip(loose, 0, 1)
        let slope = scaleShift(mul(s, matmul(add(e0, mul(s, up)), h)), 2 / unit, 0)
        if (step > warm) {
          const beta = annealed(o.beta, (step - warm) / Math.max(1, o.iterations - warm))
          const d = scaleShift(up, 2, -1)
          slope = sub(slope, scaleShift(mul(sign(d), power(abs(d), beta - 1)), 2 * beta * o.regularization))
        }
        // The derivative of h: 0 where it is clipped.
        const inside = mul(greater(loose, none), greater(all, loose))
        const through = mul(mul(open, scaleShift(open, -1, 1)), inside)
        const g = mul(slope, scaleShift(through, ZETA - GAMMA, 0))
        adamStep(v, g, first, second, null, { lr: o.learningRate, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0, step })
      })
      await breathe()
    }
    const learned = v.read() as Float32Array
    return Int8Array.from(floor, (low, i) => low + (move[i]! > 0 && learned[i]! >= 0 ? 1 : 0))
  } finally {
    for (const t of fixed) t.dispose()
  }
}

/** Falls from the first to the last value along a cosine (the authors' code). */
function annealed([first, last]: readonly [number, number], done: number): number {
  return last + 0.5 * (first - last) * (1 + Math.cos(Math.PI * done))
}

function nearestCodes({ values, scale, zero, codes: { qmin, qmax } }: RoundingProblem): Int8Array {
  return Int8Array.from(values, (w, i) => {
    const t = w / scale[i]!
    const z = zero[i]!
    return (t < qmin - z ? qmin - z : t > qmax - z ? qmax - z : t) + MAGIC - MAGIC + z
  })
}

/** e H e^T of each row. */
function rowErrors({ values, rows, scale, zero }: RoundingProblem, q: Int8Array, h: Tensor): Float64Array {
  const e = Float32Array.from(values, (w, i) => scale[i]! * (q[i]! - zero[i]!) - w)
  const cols = values.length / rows
  const eh = scope(() => matmul(tensor(e, [rows, cols]), h).read()) as Float32Array
  const out = new Float64Array(rows)
  for (let i = 0; i < e.length; i++) out[Math.floor(i / cols)]! += e[i]! * eh[i]!
  return out
}
