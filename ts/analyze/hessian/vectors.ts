/** Flat vectors for the methods of this folder: parts, random directions, and a growing orthonormal basis. */
import { axpby, cast, innerProduct, orthogonalize, randomNormal, randomUniform, scaleShift, sqrt, step } from '../../ops/index.js'
import { NumericError } from '../../base/errors.js'
import { innerProductAt, orthogonalizeAt } from '../../ops/vectors.js'
import { scope, zeros, type Tensor } from '../../tensor/index.js'
import type { SymmetricOperator, VectorPart } from './operator.js'

type Real = 'f32' | 'f64'

/** The part of a flat vector in the shape of its parameter: a view. */
export function partView(flat: Tensor, part: VectorPart): Tensor {
  const strides = part.shape.map((_, i) => part.shape.slice(i + 1).reduce((n, d) => n * d, 1))
  return flat.view(part.shape, strides, part.size === 0 ? 0 : part.offset)
}

/** What an operator's vectors are made from: its size, its type, and where they lie. */
export type VectorSpace = Pick<SymmetricOperator, 'size' | 'dtype' | 'device'>

/** t where the space's vectors lie; t itself is given away. */
function placed(space: VectorSpace, t: Tensor): Tensor {
  if (!space.device || space.device === t.device) return t
  const there = t.to(space.device)
  t.dispose()
  return there
}

/** A vector of zeros, or `rows` of them. */
export function zeroVector(space: VectorSpace, rows?: number): Tensor {
  return placed(space, zeros(rows === undefined ? [space.size] : [rows, space.size], space.dtype))
}

/** What random vectors are for: each method draws from streams of its own. */
export const streams = { powerIteration: 1, lanczos: 2, trace: 3, density: 4, diagonal: 5 } as const

const inType = (x: Tensor, dtype: Real): Tensor => (dtype === 'f32' ? x : cast(x, dtype))
const source = (seed: number, stream: number, index: number): { seed: number; stream: number } => ({
  seed,
  stream: stream * 2 ** 32 + index,
})

/** Independent signs, +1 or -1: vector `index` of `stream`. */
export function rademacher(space: VectorSpace, seed: number, stream: number, index: number): Tensor {
  const signs = (): Tensor => scaleShift(step(scaleShift(randomUniform([space.size], source(seed, stream, index)), 1, -0.5)), 2, -1)
  return scope(() => placed(space, inType(signs(), space.dtype)))
}

/** Independent standard normal numbers: vector `index` of `stream`. */
export function gaussian(space: VectorSpace, seed: number, stream: number, index: number): Tensor {
  return scope(() => placed(space, inType(randomNormal([space.size], source(seed, stream, index)), space.dtype)))
}

/** Rows per block of a basis: a block is orthogonalised against in one call, and memory grows by blocks. */
const BLOCK = 16

/** Orthonormal vectors, kept for full orthogonalisation against all of them. Dispose it. */
export class Basis {
  readonly #blocks: Tensor[] = []
  #count = 0

  /** For at most `most` vectors. */
  constructor(
    readonly space: VectorSpace,
    readonly most: number,
  ) {}

  get count(): number {
    return this.#count
  }

  /** v := v without its parts along the basis, twice (the first pass leaves rounding errors of its own). Gives the norm of what is left. */
  purge(v: Tensor): number {
    if (this.#count === 0) return Math.sqrt(innerProduct(v, v))
    let norm = 0
    for (let pass = 0; pass < 2; pass++)
      for (let b = 0; b * BLOCK < this.#count; b++) norm = orthogonalize(v, this.#blocks[b]!, Math.min(BLOCK, this.#count - b * BLOCK)).norm
    return norm
  }

  /** The same without waiting for a device: the norm is a tensor f64 []. */
  purgeAt(v: Tensor): Tensor {
    if (this.#count === 0) return scope(() => sqrt(innerProductAt(v, v)))
    let norm: Tensor | undefined
    for (let pass = 0; pass < 2; pass++)
      for (let b = 0; b * BLOCK < this.#count; b++) {
        norm?.dispose()
        norm = orthogonalizeAt(v, this.#blocks[b]!, Math.min(BLOCK, this.#count - b * BLOCK))
      }
    return norm!
  }

  /** Appends v / norm. */
  push(v: Tensor, norm: number): void {
    if (this.#count % BLOCK === 0) this.#blocks.push(zeroVector(this.space, Math.min(BLOCK, this.most - this.#count)))
    this.#count++
    this.#use(this.#count - 1, (row) => axpby(row, v, 1 / norm, 0))
  }

  #use<T>(i: number, f: (row: Tensor) => T): T {
    const row = this.#blocks[Math.floor(i / BLOCK)]!.view([this.space.size], [1], (i % BLOCK) * this.space.size)
    try {
      return f(row)
    } finally {
      row.dispose()
    }
  }

  /** Vector i: a view, to be disposed. It keeps the memory of its block. */
  row(i: number): Tensor {
    return this.#use(i, (row) => row.alias())
  }

  /** sum_i c_i row_i, a new tensor. */
  combine(c: ArrayLike<number>): Tensor {
    const y = zeroVector(this.space)
    for (let i = 0; i < this.#count; i++) this.#use(i, (row) => axpby(y, row, c[i]!, 1))
    return y
  }

  dispose(): void {
    for (const b of this.#blocks) b.dispose()
    this.#blocks.length = 0
  }
}

/** ERR_NUMERIC unless the number, a norm or a product of vectors, is finite. */
export function checkFinite(where: string, what: string, value: number): number {
  if (Number.isFinite(value)) return value
  throw new NumericError('ERR_NUMERIC', `${where}: ${what} is ${value}`, { details: { stage: where, tensor: what, index: 0 } })
}
