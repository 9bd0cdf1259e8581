/**
 * Operators that only move elements, wherever the values are: each is a list of positions in the flat input. Host values are copied by it, tensors of any dtype are
 * gathered by it (so gradients flow back through a scatter), and known values of inference follow it too. Views are used where a view does.
 */
import { LimitError, ShapeError } from '../../base/errors.js'
import { broadcastShapes, sizeOf, stridesOf } from '../../base/shape.js'
import { add, broadcastTo, cast, concat2, gather, greater, mul, permute, reshape, slice } from '../../ops/index.js'
import { full, tensor, type Tensor } from '../../tensor/index.js'
import { SequenceValue, type RunContext, type Value, type ValueType } from '../define.js'
import type { Dim } from '../graph.js'
import { HostTensor } from '../host.js'
import { numbers, valueType } from '../infer.js'
import { isHost } from './values.js'

/** Elements of one list in JavaScript; what is larger is not for operators that work with positions. */
const MAX_LIST = 2 ** 26

/** Throws ERR_LIMIT where a list in JavaScript would be too long: a size that a file states is not a size that fits. */
export function checkCount(ctx: { readonly fail: RunContext['fail'] }, count: number): void {
  if (!(count <= MAX_LIST)) ctx.fail('ERR_LIMIT', `${count} elements: at most ${MAX_LIST} are possible here`)
}

/** Known elements are followed up to this many. */
const MAX_VALUE = 64

/** A tensor or host value; anything else is the model's fault. */
export function data(ctx: RunContext, v: Value | undefined): Tensor | HostTensor {
  if (v === undefined || v instanceof SequenceValue)
    return ctx.fail('ERR_MODEL_FORMAT', `needs a tensor, got ${v ? 'a sequence' : 'nothing'}`)
  return v
}

/** The elements of x at `positions` (row-major; -1: `fill`), as `shape`. */
export function pick(ctx: RunContext, v: Value | undefined, shape: readonly number[], positions: ArrayLike<number>, fill = 0): Value {
  const x = data(ctx, v)
  if (isHost(x)) {
    if (x.strings) return new HostTensor('string', shape, [], { strings: Array.from(positions, (p) => x.strings![p] ?? '') })
    return new HostTensor(
      x.dtype,
      shape,
      Array.from(positions, (p) => (p < 0 ? fill : x.data[p]!)),
    )
  }
  const t = ctx.tensor(x)
  const index = Int32Array.from(positions)
  const n = t.size
  let flat = reshape(t, [n])
  if (index.includes(-1)) {
    flat = concat2(flat, full([1], fill, t.dtype), 0)
    index.forEach((p, i) => {
      if (p < 0) index[i] = n
    })
  }
  return gather(flat, tensor(index, shape))
}

/** Positions of every element of a result of `shape`, whose place along each dimension is looked up in `along` (-1: outside). */
export function positionsOf(shape: readonly number[], strides: readonly number[], along: (axis: number, at: number) => number): Int32Array {
  if (!shape.every((d) => Number.isInteger(d) && d >= 0)) throw new ShapeError('ERR_SHAPE', `sizes must be integers >= 0, got [${shape}]`)
  if (!(sizeOf(shape) <= MAX_LIST)) throw new LimitError('ERR_LIMIT', `[${shape}]: at most ${MAX_LIST} elements are possible here`)
  const out = new Int32Array(sizeOf(shape))
  if (out.length === 0) return out // beside a 0 any other size may stand
  const tables = shape.map((d, axis) =>
    Int32Array.from({ length: d }, (_, at) => {
      const from = along(axis, at)
      return from < 0 ? -1 : from * strides[axis]!
    }),
  )
  const counters = shape.map(() => 0)
  for (let i = 0; i < out.length; i++) {
    let p = 0
    for (let k = 0; k < shape.length; k++) {
      const step = tables[k]![counters[k]!]!
      if (step < 0) {
        p = -1
        break
      }
      p += step
    }
    out[i] = p
    for (let k = shape.length - 1; k >= 0 && ++counters[k]! === shape[k]!; k--) counters[k] = 0
  }
  return out
}

/** Entries of x along one axis by a list; a view where the list is a plain run. */
export function select(ctx: RunContext, v: Value | undefined, axis: number, list: readonly number[]): Value {
  const x = data(ctx, v)
  const shape = x.shape.map((d, i) => (i === axis ? list.length : d))
  if (isHost(x))
    return pick(
      ctx,
      x,
      shape,
      positionsOf(shape, stridesOf(x.shape), (k, at) => (k === axis ? list[at]! : at)),
    )
  const t = ctx.tensor(x)
  const first = list[0] ?? 0
  if (list.every((p, i) => p === first + i)) {
    const start = shape.map((_, i) => (i === axis && list.length > 0 ? first : 0))
    return slice(t, start, shape)
  }
  const order = [axis, ...shape.map((_, i) => i).filter((i) => i !== axis)]
  const back = shape.map((_, i) => order.indexOf(i))
  return permute(gather(permute(t, order), tensor(Int32Array.from(list))), back)
}

export function permuted(ctx: RunContext, v: Value | undefined, order: readonly number[]): Value {
  const x = data(ctx, v)
  if (!isHost(x) || x.native) return permute(ctx.tensor(x), order)
  const strides = stridesOf(x.shape)
  const shape = order.map((i) => x.shape[i]!)
  return pick(
    ctx,
    x,
    shape,
    positionsOf(
      shape,
      order.map((i) => strides[i]!),
      (_, at) => at,
    ),
  )
}

/** x stretched to the shape that it and `shape` broadcast to. */
export function expanded(ctx: RunContext, v: Value | undefined, shape: readonly number[]): Value {
  const x = data(ctx, v)
  const to = broadcastShapes('Expand', x.shape, shape)
  if (!isHost(x)) return broadcastTo(ctx.tensor(x), to)
  if (x.native && sizeOf(to) > MAX_VALUE) return broadcastTo(ctx.tensor(x), to)
  const wide = [...Array<number>(to.length - x.rank).fill(1), ...x.shape]
  return pick(
    ctx,
    x,
    to,
    positionsOf(to, stridesOf(wide), (axis, at) => (wide[axis] === 1 ? 0 : at)),
  )
}

/** Positions as native i32 with negative ones counted from the end: of host values checked, of tensors without reading them. */
export function nativeIndex(ctx: RunContext, v: Value | undefined, n: number): Tensor {
  const index = data(ctx, v)
  if (isHost(index)) return tensor(Int32Array.from(hostIndex(ctx, index, n)), index.shape)
  const i = ctx.tensor(index)
  return wrapIndex(i.dtype === 'i32' ? i : cast(i, 'i32'), n)
}

/** p + n where p < 0. */
function wrapIndex(index: Tensor, n: number): Tensor {
  return add(index, mul(greater(full([], 0, 'i32'), index), full([], n, 'i32')))
}

/** Positions in [0, n) of host values; one outside [-n, n) is ERR_SHAPE. */
export function hostIndex(ctx: RunContext, index: HostTensor, n: number): number[] {
  return index.data.map((p) => {
    if (!(p >= -n && p < n)) ctx.fail('ERR_SHAPE', `index must be in [${-n}, ${n}), got ${p}`)
    return p < 0 ? p + n : p
  })
}

/** The type of moved elements: shape, and values where they are known. */
export function movedType(x: ValueType | undefined, shape: readonly Dim[] | undefined, positions?: () => ArrayLike<number>): ValueType {
  const sizes = numbers(shape)
  const follow = x?.value && sizes && positions && sizeOf(sizes) <= MAX_VALUE
  return valueType(x?.dtype, shape, follow ? Array.from(positions(), (p) => (p < 0 ? 0 : x.value![p]!)) : undefined)
}
