/**
 * The twin's values: L minimises E ||W u - L P u||^2 over the inputs u (Liu et al., ICML 2020, section 3.4: distillation of pre-activations; the FSP matrices of both
 * give the same loss, ||x||^2 ||y_HH - y_LL||^2). The twin is linear, so the second moments S of u are all that the loss depends on:
 *
 *   loss = tr(W S W^T) - 2 tr(L B^T) + tr(L A L^T)      A = P S P^T   B = W S P^T
 *
 * Ridge regression L = B (A + damping I)^-1 gives its minimum at once; gradient descent on the same moments (every example seen counts in every step, at the step
 * 1 / largest eigenvalue that cannot overshoot) goes on from there, or from random values as in the paper.
 */
import { NumericError } from '../../base/errors.js'
import type { Rng } from '../../base/rng.js'
import { TernaryProjection } from '../../kernels/rows.js'
import { DenseWeight, QuantizedWeight, type Weight } from '../../nn/index.js'
import { concat, matmul, mul, permute, scaleShift, slice, sub } from '../../ops/index.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import type { Gram } from '../observe/gram.js'
import { encode, findGrids, scalesOf } from '../quantize/encode.js'
import { choleskyUpper } from '../quantize/factor.js'
import { outputCodes } from '../quantize/output-codes.js'

/** Columns that share a projection: of x, of h. */
export interface Block {
  readonly cols: number
  readonly seed: number
  readonly stream: number
}

export interface FitOptions {
  readonly k: number
  readonly init: 'ridge' | 'random'
  readonly damping: number
  readonly steps: number
  readonly rng: Rng
  readonly breathe: () => Promise<void>
}

export interface Fit {
  /** [N, blocks * k]. */
  readonly values: Float32Array
  /** P S P^T, [blocks * k, blocks * k]. */
  readonly moments: Float32Array
  /** Mean squared error of an output before and after the descent. */
  readonly begin: number
  readonly end: number
}

const sumOf = (t: Tensor): number => (t.read() as Float32Array).reduce((a, b) => a + b, 0)
const transposed = (t: Tensor): Tensor => permute(t, [1, 0])

/** t [n, sum of cols] -> [n, blocks * k]. */
function project(t: Tensor, blocks: readonly Block[], k: number): Tensor {
  let from = 0
  return concat(
    blocks.map(({ cols, seed, stream }) => {
      const part = slice(t, [0, from], [t.shape[0]!, cols])
      from += cols
      const p = new TernaryProjection(k, cols, { seed, stream })
      const y = p.apply(part)
      p.dispose()
      return y
    }),
    1,
  )
}

/** `w` is [N, D], `products` [D, D] sums over `count` rows. */
export async function fitTwin(w: Tensor, products: Float32Array, count: number, blocks: readonly Block[], o: FitOptions): Promise<Fit> {
  const [n, d] = w.shape as [number, number]
  const size = blocks.length * o.k
  const known = scope(() => {
    const s = scaleShift(tensor(products, [d, d]), 1 / count, 0)
    const sp = project(s, blocks, o.k)
    return {
      total: sumOf(mul(w, matmul(w, s))),
      a: project(transposed(sp), blocks, o.k).read() as Float32Array,
      b: matmul(w, sp).read() as Float32Array,
    }
  })
  const [a, b] = [tensor(known.a, [size, size]), tensor(known.b, [n, size])]
  try {
    let values = o.init === 'random' ? uniform(n, size, o.rng) : await ridge(known.a, b, size, o)
    try {
      const loss = (): number =>
        scope(() => Math.max(0, known.total - 2 * sumOf(mul(values, b)) + sumOf(mul(matmul(values, a), values))) / n)
      const begin = loss()
      const rate = 1 / (1.05 * largestEigenvalue(known.a, size) || 1)
      for (let i = 0; i < o.steps; i++) {
        await o.breathe()
        const next = scope(() => sub(values, scaleShift(sub(matmul(values, a), b), rate, 0)))
        values.dispose()
        values = next
      }
      return { values: values.read() as Float32Array, moments: known.a, begin, end: loss() }
    } finally {
      values.dispose()
    }
  } finally {
    for (const t of [a, b]) t.dispose()
  }
}

function uniform(n: number, size: number, rng: Rng): Tensor {
  const limit = 1 / Math.sqrt(size)
  return tensor(
    Float32Array.from({ length: n * size }, () => (2 * rng.uniform() - 1) * limit),
    [n, size],
  )
}

/** B (A + damping mean(diag A) I)^-1, by the factor of A. */
async function ridge(a: Float32Array, b: Tensor, size: number, { damping, breathe }: FitOptions): Promise<Tensor> {
  let mean = 0
  for (let i = 0; i < size; i++) mean += a[i * size + i]! / size
  const damped = a.slice()
  for (let i = 0; i < size; i++) damped[i * size + i]! += damping * mean || 1
  const u = await choleskyUpper(damped, size, breathe)
  if (!u) throw new NumericError('ERR_NUMERIC', 'dual/build: the moments of a layer have no factor: give a larger damping')
  const inverse = inverseUpper(u, size)
  await breathe()
  return scope(() => {
    const v = tensor(inverse, [size, size])
    return matmul(matmul(b, v), v, false, true)
  })
}

/** Of an upper triangle: row by row from the last one. */
function inverseUpper(u: Float32Array, n: number): Float32Array {
  const out = new Float64Array(n * n)
  for (let i = n - 1; i >= 0; i--) {
    const pivot = 1 / u[i * n + i]!
    const row = out.subarray(i * n, (i + 1) * n)
    for (let j = i + 1; j < n; j++) {
      const factor = -u[i * n + j]! * pivot
      if (factor === 0) continue
      const other = out.subarray(j * n, (j + 1) * n)
      for (let c = j; c < n; c++) row[c]! += factor * other[c]!
    }
    row[i] = pivot
  }
  return Float32Array.from(out)
}

/** Power iteration from ones, in doubles; the moments are positive semidefinite. */
function largestEigenvalue(a: Float32Array, n: number): number {
  let v = new Float64Array(n).fill(1 / Math.sqrt(n))
  let norm = 0
  for (let i = 0; i < 30; i++) {
    const next = new Float64Array(n)
    for (let r = 0; r < n; r++) {
      let sum = 0
      for (let c = 0; c < n; c++) sum += a[r * n + c]! * v[c]!
      next[r] = sum
    }
    norm = Math.sqrt(next.reduce((s, x) => s + x * x, 0))
    if (norm === 0) return 0
    v = next.map((x) => x / norm)
  }
  return norm
}

/** Bits of the twin's values. */
export type LittleBits = 2 | 4 | 8 | 16 | 32

/** The twin [N, k] as it is stored: 32: f32; 16: high and low bytes side by side, [N, 2 k]; else codes per row. Call `keep` on it. */
export async function storeTwin(
  values: Float32Array,
  rows: number,
  k: number,
  bits: LittleBits,
  moments: Float32Array,
  count: number,
  breathe: () => Promise<void>,
): Promise<Weight> {
  if (bits === 32) return new DenseWeight(tensor(values, [rows, k]))
  if (bits === 16) return sixteen(values, rows, k)
  const weight = new DenseWeight(tensor(values, [rows, k]))
  try {
    const symmetric = bits === 8
    const o = { bits, symmetric, layout: 'channel' as const, groupSize: k, range: symmetric ? ('max' as const) : ('mse' as const) }
    const encoding = await findGrids('dual/build', 'twin', weight, o, breathe)
    const scales = scalesOf(encoding)
    const shape = [rows, k]
    if (symmetric) return new QuantizedWeight({ shape, bits, layout: 'channel', ...encode(encoding, scales, true) })
    const gram: Gram = { groups: 1, width: k, products: moments, sums: new Float32Array(k), count }
    const { q } = await outputCodes('dual/build', weight, encoding, scales, gram, { damping: 0.01, order: 'activation', breathe })
    const zero = Float32Array.from(encoding.grids, (g) => g.zero)
    return new QuantizedWeight({
      shape,
      bits,
      layout: 'channel',
      q: tensor(q, shape),
      scale: tensor(scales, encoding.shape),
      zero: tensor(zero, encoding.shape),
    })
  } finally {
    weight.dispose()
  }
}

/** Codes of 16 bits, 256 high + low, as two groups of 8-bit codes: kernels for 8 bits read them. */
function sixteen(values: Float32Array, rows: number, k: number): Weight {
  const q = new Int8Array(rows * 2 * k)
  const scale = new Float32Array(rows * 2)
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * k, (r + 1) * k)
    const step = Math.fround(row.reduce((m, v) => Math.max(m, Math.abs(v)), 0) / 32512) || 1
    row.forEach((v, c) => {
      const code = Math.max(-32512, Math.min(32512, Math.round(v / step)))
      const high = Math.floor((code + 128) / 256)
      q[r * 2 * k + c] = high
      q[r * 2 * k + k + c] = code - 256 * high
    })
    scale.set([256 * step, step], 2 * r)
  }
  return new QuantizedWeight({
    shape: [rows, 2 * k],
    bits: 8,
    layout: 'group',
    q: tensor(q, [rows, 2 * k]),
    scale: tensor(scale, [rows, 2]),
  })
}
