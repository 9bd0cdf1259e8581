/** What several groups of operators share: elementwise work on either side, joins, host lists. */
import { broadcastShapes, sizeOf, stridesOf } from '../../base/shape.js'
import { cast, concat, stack } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { RunContext, Value } from '../define.js'
import { SequenceValue } from '../define.js'
import type { ElementType } from '../graph.js'
import { HostTensor } from '../host.js'

/** Beyond this many elements even host values are computed natively. */
const HOST_SIZE = 1 << 16

export const isHost = (v: Value | undefined): v is HostTensor => v instanceof HostTensor
export const isTensor = (v: Value | undefined): v is Tensor => v !== undefined && !isHost(v) && !(v instanceof SequenceValue)

export const isFloat = (dtype: ElementType): boolean => dtype === 'f32' || dtype === 'f64' || dtype === 'f16' || dtype === 'bf16'

/** Integer results wrap around like those of C; f32 is rounded. */
const finishers: Partial<Record<ElementType, (v: number) => number>> = {
  f32: Math.fround,
  f16: Math.fround,
  bf16: Math.fround,
  bool: (v) => (v ? 1 : 0),
  i32: (v) => v | 0,
  u32: (v) => v >>> 0,
  i16: (v) => (v << 16) >> 16,
  u16: (v) => v & 0xffff,
  i8: (v) => (v << 24) >> 24,
  u8: (v) => v & 0xff,
}

/** Host values of one shape computed element by element. */
export function mapHost(x: HostTensor, f: (v: number) => number, dtype: ElementType = x.dtype): HostTensor {
  const finish = finishers[dtype] ?? ((v: number): number => v)
  return new HostTensor(
    dtype,
    x.shape,
    x.data.map((v) => finish(f(v))),
  )
}

/** The same for two with NumPy's broadcasting. */
export function zipHost(a: HostTensor, b: HostTensor, f: (x: number, y: number) => number, dtype: ElementType = a.dtype): HostTensor {
  const shape = broadcastShapes('graph', a.shape, b.shape)
  const finish = finishers[dtype] ?? ((v: number): number => v)
  const [ia, ib] = [offsets(a.shape, shape), offsets(b.shape, shape)]
  return new HostTensor(
    dtype,
    shape,
    Array.from({ length: sizeOf(shape) }, (_, i) => finish(f(a.data[ia(i)]!, b.data[ib(i)]!))),
  )
}

/** Position in a tensor of `shape` of element i of what it is broadcast to. */
export function offsets(shape: readonly number[], to: readonly number[]): (i: number) => number {
  const strides = stridesOf(shape)
  const outer = stridesOf(to)
  const step = to.map((_, i) => {
    const k = i - (to.length - shape.length)
    return k < 0 || shape[k] === 1 ? 0 : strides[k]!
  })
  return (i) => {
    let at = 0
    for (let k = 0, left = i; k < to.length; k++) {
      const q = Math.floor(left / outer[k]!)
      left -= q * outer[k]!
      at += q * step[k]!
    }
    return at
  }
}

/**
 * An elementwise operator of two inputs wherever they are: two host values stay in JavaScript; floating tensors go to `native`; integer tensors go there as
 * f64, which is exact up to 2^53. `result` is the dtype of the outcome (default: that of the inputs).
 */
export function binary(
  ctx: RunContext,
  [a, b]: readonly (Value | undefined)[],
  host: (x: number, y: number) => number,
  native: (x: Tensor, y: Tensor) => Tensor,
  result?: ElementType,
): Value {
  if (isHost(a) && isHost(b) && a.size <= HOST_SIZE && b.size <= HOST_SIZE) return zipHost(a, b, host, result ?? a.dtype)
  const x = ctx.tensor(a)
  const right = ctx.tensor(b)
  const y = right.dtype === x.dtype ? right : cast(right, x.dtype)
  const out = result === 'bool' ? 'bool' : x.dtype
  if (x.dtype === 'f32' || x.dtype === 'f64') return out === x.dtype ? native(x, y) : cast(native(x, y), out)
  return cast(native(cast(x, 'f64'), cast(y, 'f64')), out)
}

/** The same for one input. */
export function unary(ctx: RunContext, x: Value | undefined, host: (v: number) => number, native: (x: Tensor) => Tensor): Value {
  if (isHost(x) && x.size <= HOST_SIZE && !x.native) return mapHost(x, host)
  const t = ctx.tensor(x)
  return t.dtype === 'f32' || t.dtype === 'f64' ? native(t) : cast(native(cast(t, 'f64')), t.dtype)
}

/** Values one after the other along an axis in [0, rank). */
export function join(ctx: RunContext, values: readonly Value[], axis: number): Value {
  if (values.every(isHost)) {
    const first = values[0]!
    const parts = values.map((v) => (v.strings ? v.strings : v.data))
    const outer = sizeOf(first.shape.slice(0, axis))
    const out: (number | string)[] = []
    for (let i = 0; i < outer; i++)
      values.forEach((v, k) => {
        const run = v.size / outer
        for (let j = 0; j < run; j++) out.push(parts[k]![i * run + j]!)
      })
    const shape = first.shape.map((d, i) => (i === axis ? values.reduce((n, v) => n + v.shape[axis]!, 0) : d))
    return first.strings
      ? new HostTensor('string', shape, [], { strings: out as string[] })
      : new HostTensor(first.dtype, shape, out as number[])
  }
  const tensors = values.map((v) => ctx.tensor(v))
  const dtype = tensors[0]!.dtype
  return concat(
    tensors.map((t) => (t.dtype === dtype ? t : cast(t, dtype))),
    axis,
  )
}

/** Values of one shape along a new axis. */
export function pile(ctx: RunContext, values: readonly Value[], axis: number): Value {
  if (!values.every(isHost))
    return stack(
      values.map((v) => ctx.tensor(v)),
      axis,
    )
  const widened = values.map((v) => {
    const shape = [...v.shape.slice(0, axis), 1, ...v.shape.slice(axis)]
    return reshapeHost(v, shape)
  })
  return join(ctx, widened, axis)
}

export function reshapeHost(v: HostTensor, shape: readonly number[]): HostTensor {
  return v.strings ? new HostTensor('string', shape, [], { strings: v.strings }) : new HostTensor(v.dtype, shape, v.data)
}

/** Numbers of a host input: axes, sizes, pads. */
export function list(ctx: RunContext, v: Value | undefined): readonly number[] {
  return ctx.host(v).data
}
