/** Cutting, padding, reordering, triangles. */
import { add, broadcastTo, padSlice, reshape, slice } from '../../autograd/index.js'
import { OptionError, ShapeError } from '../../base/errors.js'
import { normalizeAxis } from '../../base/shape.js'
import { full, scope, tensor, type Tensor } from '../../tensor/index.js'
import { gatherAlong, where } from '../along.js'
import { scaleShift } from '../arithmetic.js'
import { inDType } from '../memory.js'

/**
 * x in parts along `axis`, views: of `size` elements each (the last may be shorter), or of the sizes in a list, which must add up (ERR_SHAPE).
 *
 * @example
 * split(tensor([1, 2, 3]), 2).map((t) => t.toArray())   // [[1, 2], [3]]
 */
export function split(x: Tensor, size: number | readonly number[], axis = 0): Tensor[] {
  const at = normalizeAxis('split', axis, x.rank)
  const n = x.shape[at]!
  const whole = (s: number): boolean => Number.isInteger(s) && s >= 0
  if (typeof size === 'number' && !(whole(size) && size > 0))
    throw new OptionError('ERR_OPTION', `split: size must be an integer >= 1, got ${size}`)
  const sizes = typeof size === 'number' ? Array.from({ length: Math.ceil(n / size) }, (_, i) => Math.min(size, n - i * size)) : size
  if (!sizes.every(whole) || sizes.reduce((a, b) => a + b, 0) !== n)
    throw new ShapeError('ERR_SHAPE', `split: sizes [${sizes}] do not add up to the ${n} elements of axis ${axis} of ${x}`)
  let from = 0
  return sizes.map((s) => {
    const part = slice(
      x,
      x.shape.map((_, i) => (i === at ? from : 0)),
      x.shape.map((d, i) => (i === at ? s : d)),
    )
    from += s
    return part
  })
}

/**
 * Entries of x along `axis` by a list of positions, i32 [n]; one outside is ERR_SHAPE.
 *
 * @example
 * indexSelect(tensor([5, 6, 7]), tensor(new Int32Array([2, 0]))).toArray()   // [7, 5]
 */
export function indexSelect(x: Tensor, index: Tensor, axis = 0): Tensor {
  const at = normalizeAxis('indexSelect', axis, x.rank)
  if (index.rank !== 1) throw new ShapeError('ERR_SHAPE', `indexSelect: index must be a list, got ${index}`)
  return scope(() => {
    const column = reshape(
      index,
      x.shape.map((_, i) => (i === at ? index.size : 1)),
    )
    const wide = broadcastTo(
      column,
      x.shape.map((d, i) => (i === at ? index.size : d)),
    )
    return gatherAlong(x, wide, at)
  })
}

const positions = (n: number, at: (i: number) => number): Tensor => tensor(Int32Array.from({ length: n }, (_, i) => at(i)))

/**
 * x in reverse order along each of `axes`.
 *
 * @example
 * flip(tensor([1, 2, 3]), [0]).toArray()   // [3, 2, 1]
 */
export function flip(x: Tensor, axes: readonly number[]): Tensor {
  const list = axes.map((a) => normalizeAxis('flip', a, x.rank))
  if (new Set(list).size !== list.length) throw new ShapeError('ERR_SHAPE', `flip: an axis is named twice in [${axes}]`)
  return scope(() =>
    list.reduce(
      (t, a) => {
        const n = t.shape[a]!
        return indexSelect(
          t,
          positions(n, (i) => n - 1 - i),
          a,
        )
      },
      reshape(x, x.shape),
    ),
  )
}

/**
 * x moved by `shift` places along `axis`; what leaves at one end comes in at the other.
 *
 * @example
 * roll(tensor([1, 2, 3]), 1).toArray()   // [3, 1, 2]
 */
export function roll(x: Tensor, shift: number, axis = 0): Tensor {
  const at = normalizeAxis('roll', axis, x.rank)
  if (!Number.isSafeInteger(shift)) throw new OptionError('ERR_OPTION', `roll: shift must be an integer, got ${shift}`)
  const n = x.shape[at]!
  const by = n === 0 ? 0 : ((shift % n) + n) % n
  return scope(() =>
    indexSelect(
      x,
      positions(n, (i) => (i + n - by) % n),
      at,
    ),
  )
}

/**
 * Each entry along `axis` `times` times in a row.
 *
 * @example
 * repeatInterleave(tensor([1, 2]), 2).toArray()   // [1, 1, 2, 2]
 */
export function repeatInterleave(x: Tensor, times: number, axis = 0): Tensor {
  const at = normalizeAxis('repeatInterleave', axis, x.rank)
  if (!(Number.isInteger(times) && times >= 0 && times * x.shape[at]! < 2 ** 31))
    throw new OptionError('ERR_OPTION', `repeatInterleave: times must be an integer >= 0, got ${times} (x: ${x})`)
  return scope(() =>
    indexSelect(
      x,
      positions(times * x.shape[at]!, (i) => Math.floor(i / times)),
      at,
    ),
  )
}

export type PadMode = 'constant' | 'reflect' | 'replicate'

/**
 * x with `widths` [before, after] elements around each dimension (missing leading ones: none), filled with `value`, with the mirror image without the edge ('reflect',
 * narrower than the dimension) or with the edge ('replicate').
 *
 * @example
 * pad(tensor([1, 2, 3]), [[2, 1]], { mode: 'reflect' }).toArray()   // [3, 2, 1, 2, 3, 2]
 */
export function pad(
  x: Tensor,
  widths: readonly (readonly [before: number, after: number])[],
  { mode = 'constant', value = 0 }: { mode?: PadMode; value?: number } = {},
): Tensor {
  const sides = [...Array.from({ length: x.rank - widths.length }, () => [0, 0] as const), ...widths]
  if (sides.length !== x.rank) throw new ShapeError('ERR_SHAPE', `pad: ${widths.length} pairs of widths for ${x}`)
  if (!['constant', 'reflect', 'replicate'].includes(mode))
    throw new OptionError('ERR_OPTION', `pad: mode must be constant, reflect or replicate, got ${String(mode)}`)
  const least = mode === 'reflect' ? 1 : 0
  sides.forEach((pair, i) => {
    const n = x.shape[i]!
    const most = mode === 'constant' ? 2 ** 31 : mode === 'reflect' ? n - least : n > 0 ? 2 ** 31 : 0
    if (pair.length !== 2 || !pair.every((w) => Number.isInteger(w) && w >= 0 && (w === 0 || w <= most)))
      throw new OptionError(
        'ERR_OPTION',
        `pad: widths of dimension ${i} must be integers in [0, ${most}], got ${JSON.stringify(pair)} (${mode}, x: ${x})`,
      )
  })
  return scope(() => {
    if (mode === 'constant') {
      const shape = x.shape.map((d, i) => d + sides[i]![0] + sides[i]![1])
      const start = sides.map(([before]) => before)
      const y = padSlice(x, shape, start)
      if (value === 0) return y
      if (!Number.isFinite(value)) return where(padSlice(full(x.shape, 1, x.dtype), shape, start), y, full([], value, x.dtype))
      return add(y, scaleShift(padSlice(full(x.shape, 1, x.dtype), shape, start), -value, value))
    }
    return sides.reduce(
      (t, [before, after], i) => {
        if (before === 0 && after === 0) return t
        const n = t.shape[i]!
        const mirror = (k: number): number => (k < 0 ? -k : k >= n ? 2 * (n - 1) - k : k)
        const edge = (k: number): number => Math.min(Math.max(k, 0), n - 1)
        return indexSelect(
          t,
          positions(before + n + after, (k) => (mode === 'reflect' ? mirror : edge)(k - before)),
          i,
        )
      },
      reshape(x, x.shape),
    )
  })
}

/** x without the dimension `axis`, which has size 1. */
export function squeeze(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis('squeeze', axis, x.rank)
  if (x.shape[at] !== 1) throw new ShapeError('ERR_SHAPE', `squeeze: dimension ${axis} of ${x} is not 1`)
  return reshape(
    x,
    x.shape.filter((_, i) => i !== at),
  )
}

/** x with a dimension of size 1 put in at `axis`. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  const at = normalizeAxis('unsqueeze', axis, x.rank + 1)
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)])
}

/** 1 where column - row >= k, [rows, cols]. */
function triangle(where: string, x: Tensor, k: number): Tensor {
  if (x.rank < 2) throw new ShapeError('ERR_SHAPE', `${where}: x must have at least two dimensions, got ${x}`)
  if (!Number.isInteger(k)) throw new OptionError('ERR_OPTION', `${where}: the diagonal must be an integer, got ${k}`)
  const [r, c] = [x.shape[x.rank - 2]!, x.shape[x.rank - 1]!]
  return inDType(
    tensor(
      Float32Array.from({ length: r * c }, (_, i) => ((i % c) - Math.floor(i / c) >= k ? 1 : 0)),
      [r, c],
    ),
    x.dtype,
  )
}

/**
 * x [..., M, N] on and above diagonal k, zeros below.
 *
 * @example
 * triu(tensor([[1, 2], [3, 4]])).toArray()   // [[1, 2], [0, 4]]
 */
export function triu(x: Tensor, k = 0): Tensor {
  return scope(() => where(triangle('triu', x, k), x, full([], 0, x.dtype)))
}

/**
 * x [..., M, N] on and below diagonal k, zeros above.
 *
 * @example
 * tril(tensor([[1, 2], [3, 4]])).toArray()   // [[1, 0], [3, 4]]
 */
export function tril(x: Tensor, k = 0): Tensor {
  return scope(() => where(triangle('tril', x, k + 1), full([], 0, x.dtype), x))
}
