/**
 * Low-rank factors: W [n, m] ~ left [n, r] right [r, m], which saves where r < n m / (n + m). With `weighting: 'none'` the pair of rank r with the smallest |W - left right|
 * (truncated singular value decomposition; Eckart and Young 1936: the squared error is the sum of the squares of the singular values left out). With `weighting: 'input'` the one
 * with the smallest error of the layer's output over calibration data, tr(E G E^T) for the second moments G of the input (Wang et al. 2024, "SVD-LLM", section 3.1): the left
 * factor are the leading eigenvectors U of W G W^T, the right one is U^T W. Convolutions are split into r kernels and a convolution of size 1 (Zhang et al. 2015, section 2.2).
 */
import { z } from 'zod'
import { sizeOf } from '../../base/shape.js'
import { DenseWeight, LowRankWeight, type PlacedWeight } from '../../nn/index.js'
import { matmul } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { gramOf } from '../observe/gram.js'
import { definePass, type PassContext } from '../pass.js'
import { checkFinite } from '../train/working-copy.js'
import { denseValues } from '../values.js'
import { symmetricEigen } from './eigen.js'

const NAME = 'factorize/svd'

const options = z
  .strictObject({
    /** Numbers of the two factors over those of the matrix, at most. */
    ratio: z.number().gt(0).lt(1).optional(),
    /** The same rank for every layer. */
    rank: z.int().min(1).optional(),
    /** The smallest rank that keeps this share of the sum of squares (of the output's, with weighting 'input'). Default, where neither of the others is given: 0.9. */
    energy: z.number().gt(0).max(1).optional(),
    /** What an error counts: all the same, or by what the layer's input makes of it ('input' needs data). */
    weighting: z.enum(['none', 'input']).default('none'),
    /** Examples to calibrate on, with weighting 'input'. */
    samples: z.int().positive().max(1e7).default(256),
  })
  .refine((o) => [o.ratio, o.rank, o.energy].filter((v) => v !== undefined).length <= 1, 'at most one of ratio, rank and energy')
type SvdOptions = z.output<typeof options>

interface Factors {
  readonly rank: number
  readonly full: number
  /** [n, r] and [r, m]. */
  readonly left: Float32Array
  readonly right: Float32Array
  /** Of the sum of squares that the rank was chosen by. */
  readonly kept: number
  /** |W - left right| / |W|. */
  readonly error: number
}

export const svd = definePass({
  name: NAME,
  version: 1,
  summary: 'replaces matrices by products of two smaller ones',
  options,
  needs: (o) => ({ calibration: o.weighting === 'input' }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets.flatMap(({ layer, module, name }) => {
      const statistic = o.weighting === 'input' && name === 'weight' ? gramOf(module) : undefined
      return statistic ? [{ path: layer, statistic }] : []
    }),
  }),
  apply: (model, context) =>
    convertWeights<SvdOptions, Factors | string>(model, context, {
      task: NAME,
      prepare: async (target) => obstacle(target) ?? factors(target, context),
      convert: ({ path, weight }, found) => {
        if (typeof found === 'string') return { left: found }
        const { rank, full, left, right, kept, error } = found
        const [n, ...rest] = weight.shape as [number, ...number[]]
        context.note(`rank ${rank} of ${full}: ${(100 * kept).toFixed(2)} % of the squares, |W - W'| = ${error.toPrecision(3)} |W|`, path)
        return new LowRankWeight(weight.shape, {
          left: new DenseWeight(tensor(left, [n, rank, ...rest.slice(1).map(() => 1)])),
          right: new DenseWeight(tensor(right, [rank, ...rest])),
        })
      },
    }),
})

function obstacle({ weight: w, module, role }: PlacedWeight): string | undefined {
  if (w.kind !== 'dense' || w.shape.length < 2 || sizeOf(w.shape) === 0)
    return w.kind === 'masked' ? 'its zeros must stay 0, which a product cannot' : `${w.description} is not a floating matrix`
  if (role !== 'kernel') return undefined
  const groups = Number((module.config as { groups?: number }).groups ?? 1)
  if (!['conv1d', 'conv2d'].includes(module.kind)) return `kernels of ${module.kind} are not split`
  return groups === 1 ? undefined : `a convolution of ${groups} groups is not split`
}

/** The rank by the options, given the falling squares of the singular values. */
function chooseRank({ ratio, rank, energy = 0.9 }: SvdOptions, squares: Float64Array, n: number, m: number): number {
  if (rank !== undefined) return rank
  if (ratio !== undefined) return Math.max(1, Math.floor((ratio * n * m) / (n + m)))
  const total = squares.reduce((a, b) => a + Math.max(0, b), 0)
  let sum = 0
  const found = squares.findIndex((v) => (sum += Math.max(0, v)) >= energy * total)
  return found < 0 ? squares.length : found + 1
}

async function factors(target: PlacedWeight, context: PassContext<SvdOptions>): Promise<Factors | string> {
  const { weight, path } = target
  scope(() => checkFinite(NAME, 'weight', path, weight.dense()))
  const values = Float64Array.from(denseValues(weight))
  const n = weight.shape[0]!
  const m = values.length / n
  const products = inputProducts(target, context)
  if (typeof products === 'string') return products
  const { squares, basisOf } = products ? await byOutputs(values, products, n, m, context) : await byValues(values, n, m, context)
  const full = Math.min(n, m)
  const rank = Math.min(chooseRank(context.options, squares, n, m), full)
  if (rank * (n + m) >= n * m) return `rank ${rank} of ${full} costs as much as the matrix or more`
  const { basis, outputs } = await basisOf(rank)
  await context.breathe()
  // What is left to choose is the other factor: W projected on the basis.
  const other = scope(() => matmul(tensor(basis, [rank, outputs ? n : m]), tensor(values, [n, m]), false, !outputs).read()) as Float64Array
  balance(basis, other, rank)
  const left = transpose(outputs ? basis : other, rank, n)
  const right = outputs ? other : basis
  const total = squares.reduce((a, b) => a + b, 0)
  const kept = total === 0 ? 1 : squares.subarray(0, rank).reduce((a, b) => a + b, 0) / total
  return { rank, full, left: Float32Array.from(left), right: Float32Array.from(right), kept, error: errorOf(values, left, right, rank) }
}

interface Spectrum {
  /** Falling; never negative. */
  readonly squares: Float64Array
  /** Orthonormal rows that span the best space of that many dimensions: of the outputs [rank, n], or of the inputs [rank, m]. */
  readonly basisOf: (rank: number) => Promise<{ readonly basis: Float64Array; readonly outputs: boolean }>
}
const notNegative = (v: Float64Array): Float64Array => v.map((x) => Math.max(0, x))

/** Singular vectors of W, on its smaller side. */
async function byValues(values: Float64Array, n: number, m: number, { breathe }: PassContext<SvdOptions>): Promise<Spectrum> {
  const outputs = n <= m
  const square = scope(() => {
    const w = tensor(values, [n, m])
    return (outputs ? matmul(w, w, false, true) : matmul(w, w, true, false)).read() as Float64Array
  })
  const eigen = await symmetricEigen(square, outputs ? n : m, breathe)
  return { squares: notNegative(eigen.values), basisOf: async (rank) => ({ basis: await eigen.vectors(rank), outputs }) }
}

/**
 * Leading left singular vectors of A = W S for the moments G = S S^T of the input: of A A^T where that is the smaller side, else A v / sigma for the eigenvectors v of A^T A, with
 * S from the eigenvectors of G (which may be singular).
 */
async function byOutputs(
  values: Float64Array,
  moments: Float64Array,
  n: number,
  m: number,
  { breathe }: PassContext<SvdOptions>,
): Promise<Spectrum> {
  const w = (): ReturnType<typeof tensor> => tensor(values, [n, m])
  if (n <= m) {
    const square = scope(() => matmul(matmul(w(), tensor(moments, [m, m])), w(), false, true).read()) as Float64Array
    const eigen = await symmetricEigen(square, n, breathe)
    return { squares: notNegative(eigen.values), basisOf: async (rank) => ({ basis: await eigen.vectors(rank), outputs: true }) }
  }
  const input = await symmetricEigen(moments.slice(), m, breathe)
  const root = await input.vectors(m) // rows, each times the root of its value: S^T
  for (let i = 0; i < root.length; i++) root[i]! *= Math.sqrt(Math.max(0, input.values[Math.floor(i / m)]!))
  const { a, square } = scope(() => {
    const product = matmul(w(), tensor(root, [m, m]), false, true)
    return { a: product.read() as Float64Array, square: matmul(product, product, true, false).read() as Float64Array }
  })
  const eigen = await symmetricEigen(square, m, breathe)
  const squares = notNegative(eigen.values)
  return {
    squares,
    basisOf: async (rank) => {
      const inner = await eigen.vectors(rank)
      const basis = scope(() => matmul(tensor(inner, [rank, m]), tensor(a, [n, m]), false, true).read()) as Float64Array
      // What no input reaches has no direction: such rows are 0.
      for (let k = 0; k < rank; k++) {
        const row = basis.subarray(k * n, (k + 1) * n)
        const length = squares[k]! > squares[0]! * 1e-24 ? Math.sqrt(row.reduce((sum, v) => sum + v * v, 0)) : 0
        for (let i = 0; i < n; i++) row[i] = length > 0 ? row[i]! / length : 0
      }
      return { basis, outputs: true }
    },
  }
}

/** Second moments of the layer's input, undefined where none are wanted, or why there are none. */
function inputProducts({ layer, module, name }: PlacedWeight, context: PassContext<SvdOptions>): Float64Array | undefined | string {
  if (context.options.weighting === 'none') return undefined
  const statistic = name === 'weight' ? gramOf(module) : undefined
  if (!statistic) return `layers of kind ${module.kind} do not say what their products see`
  const found = context.statistic(layer, statistic)
  return found && found.count > 0 ? Float64Array.from(found.products) : 'no example reached the layer'
}

/** Rows of both factors of equal length: what is rounded or trained is then as large on both sides. In place. */
function balance(basis: Float64Array, other: Float64Array, rank: number): void {
  for (let k = 0; k < rank; k++) {
    const [a, b] = [basis, other].map((f) => f.subarray((k * f.length) / rank, ((k + 1) * f.length) / rank)) as [Float64Array, Float64Array]
    const scale = Math.sqrt(Math.sqrt(b.reduce((sum, v) => sum + v * v, 0)))
    for (let i = 0; i < a.length; i++) a[i] = a[i]! * scale
    if (scale > 0) for (let i = 0; i < b.length; i++) b[i] = b[i]! / scale
  }
}

/** [rows, cols] as [cols, rows]. */
function transpose<A extends Float32Array | Float64Array>(a: A, rows: number, cols: number): A {
  const out = a.slice() as A
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = a[i * cols + j]!
  return out
}

/** |W - left right| / |W|, 0 for a matrix of zeros. */
function errorOf(values: Float64Array, left: Float64Array, right: Float64Array, rank: number): number {
  const [n, m] = [left.length / rank, right.length / rank]
  const product = scope(() => matmul(tensor(left, [n, rank]), tensor(right, [rank, m])).read()) as Float64Array
  const norm = Math.sqrt(values.reduce((sum, v) => sum + v * v, 0))
  const off = Math.sqrt(values.reduce((sum, v, i) => sum + (v - product[i]!) ** 2, 0))
  return norm === 0 ? 0 : off / norm
}
