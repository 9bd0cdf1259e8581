/** Shapes are readonly lists of non-negative integers, outermost dimension first. */
import { ShapeError } from './errors.js'

export type Shape = readonly number[]
export const MAX_RANK = 8

export function sizeOf(shape: Shape): number {
  let n = 1
  for (const d of shape) n *= d
  return n
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i])
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length)
  let s = 1
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = s
    s *= shape[i]!
  }
  return strides
}

/** Safe for any value: JSON would throw on BigInt. */
function describe(shape: unknown): string {
  return Array.isArray(shape) ? `[${shape.map(String).join(',')}]` : `a value of type ${typeof shape}`
}

export function checkShape(where: string, shape: Shape): void {
  if (!Array.isArray(shape) || shape.length > MAX_RANK)
    throw new ShapeError('ERR_SHAPE', `${where}: a shape is a list of at most ${MAX_RANK} dimensions, got ${describe(shape)}`)
  for (const d of shape as readonly unknown[])
    if (typeof d !== 'number' || !Number.isSafeInteger(d) || d < 0 || d > 2 ** 48)
      throw new ShapeError('ERR_SHAPE', `${where}: dimensions are integers in [0, 2^48], got ${describe(shape)}`)
  if (!Number.isSafeInteger(sizeOf(shape))) throw new ShapeError('ERR_SHAPE', `${where}: more than 2^53 elements in ${describe(shape)}`)
}

/** NumPy's rule: align right, a dimension of 1 stretches. */
export function broadcastShapes(where: string, a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1
    const y = b[b.length - rank + i] ?? 1
    if (x !== y && x !== 1 && y !== 1)
      throw new ShapeError('ERR_SHAPE', `${where}: shapes [${a}] and [${b}] do not broadcast (dimension ${i}: ${x} and ${y})`)
    return x === 1 ? y : x
  })
}

/** Turns an axis in [-rank, rank) into [0, rank). */
export function normalizeAxis(where: string, axis: number, rank: number): number {
  if (!Number.isInteger(axis) || axis < -rank || axis >= rank)
    throw new ShapeError('ERR_SHAPE', `${where}: axis must be an integer in [${-rank}, ${rank}), got ${axis}`)
  return axis < 0 ? axis + rank : axis
}
