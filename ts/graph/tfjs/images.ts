/** Convolutions, pools, norms and resizing of values with channels: shared by graph and layers models. */
import type { GraphTensor } from '../graph.js'
import { Val, toLast, type Attributes, type Builder } from './builder.js'
import { f32, floatsOf, permuted, reshaped } from './constants.js'

/** Where channels stand in the model: `last` has the values change form, `first` not. */
export type Channels = 'last' | 'first'

export function enter(b: Builder, x: Val, rank: number, channels: Channels): string {
  if (channels === 'last') return b.first(x, rank)
  const own = b.rank(x)
  if (own !== undefined && own !== rank) b.unsupported(`${JSON.stringify(b.at)}: needs ${rank} dimensions, got ${own}`)
  return b.plain(x)
}
export const leave = (y: string, channels: Channels): Val => (channels === 'last' ? new Val(undefined, y) : new Val(y))

export interface Windows {
  readonly strides: readonly number[]
  readonly dilations?: readonly number[]
  /** 'same', 'valid', or pads before and after each axis. */
  readonly padding: 'same' | 'valid' | readonly (readonly [number, number])[]
  readonly channels: Channels
}

export function windowAttributes(w: Windows): Attributes {
  const explicit = typeof w.padding === 'string' ? undefined : w.padding
  return {
    strides: w.strides,
    ...(w.dilations ? { dilations: w.dilations } : {}),
    ...(w.padding === 'same' ? { auto_pad: 'SAME_UPPER' } : {}),
    ...(explicit ? { pads: [...explicit.map((p) => p[0]), ...explicit.map((p) => p[1])] } : {}),
  }
}

/** A constant filter by another arrangement, under its own name; undefined when the value is not constant. */
function arranged(b: Builder, v: Val, arrange: (t: GraphTensor) => GraphTensor): string | undefined {
  const t = b.tensor(v)
  return t?.dtype === 'f32' ? b.constant(v.source?.name ?? v.plain!, arrange(t)) : undefined
}

const ones = (list: readonly number[]): boolean => list.every((v) => v === 1)

/** x * filter [...kernel, in / groups, out] + bias. */
export function convolution(b: Builder, x: Val, filter: Val, bias: Val | undefined, w: Windows): Val {
  const shape = b.type(filter).shape
  if (!shape || shape.length < 3 || shape.length > 5) b.unsupported(`${JSON.stringify(b.at)}: a filter of unknown or wrong rank`)
  const rank = shape.length
  const kernel = shape.slice(0, -2)
  // A product along the channels needs no windows.
  const pointwise = kernel.every((k) => k === 1) && ones(w.strides) && typeof w.padding === 'string' && w.channels === 'last'
  const inputs = shape.at(-2)
  const width = b.type(x).shape?.at(-1)
  if (pointwise && !b.isFirst(x) && (typeof width !== 'number' || width === inputs)) {
    const matrix = arranged(b, filter, (t) => reshaped(t, t.shape.slice(-2)))
    if (matrix !== undefined) {
      const y = b.op('MatMul', [b.plain(x), matrix])
      return new Val(bias ? b.op('Add', [y, b.plain(bias)]) : y)
    }
  }
  const image = enter(b, x, rank, w.channels)
  const perm = [rank - 1, rank - 2, ...kernel.map((_, i) => i)]
  const own = arranged(b, filter, (t) => permuted(t, perm)) ?? b.op('Transpose', [b.plain(filter)], { perm })
  const channels = b.types.get(image)?.shape?.[1]
  const group = typeof channels === 'number' && typeof inputs === 'number' && inputs > 0 && channels % inputs === 0 ? channels / inputs : 1
  return leave(b.op('Conv', [image, own, bias && b.plain(bias)], { ...windowAttributes(w), ...(group > 1 ? { group } : {}) }), w.channels)
}

/** Each channel by its own filters: filter [h, w, channels, multiplier]. */
export function depthwise(b: Builder, x: Val, filter: Val, bias: Val | undefined, w: Windows): Val {
  const t = b.tensor(filter)
  if (t?.shape.length !== 4 || t.dtype !== 'f32')
    return b.unsupported(`${JSON.stringify(b.at)}: the filter must be a constant of 4 dimensions`)
  const [kh, kw, channels, multiplier] = t.shape as [number, number, number, number]
  const own = arranged(b, filter, (f) => reshaped(permuted(f, [2, 3, 0, 1]), [channels * multiplier, 1, kh, kw]))!
  const image = enter(b, x, 4, w.channels)
  return leave(b.op('Conv', [image, own, bias && b.plain(bias)], { ...windowAttributes(w), group: channels }), w.channels)
}

/**
 * The transposed convolution, filter [h, w, out, in]. Its result has height and width `size` where they and those of x are known; else 'same' gives
 * size * stride, as Keras does.
 */
export function transposed(
  b: Builder,
  x: Val,
  filter: Val,
  bias: Val | undefined,
  w: Windows,
  size: readonly (number | undefined)[] = [],
): Val {
  const t = b.tensor(filter)
  if (t?.shape.length !== 4 || t.dtype !== 'f32' || typeof w.padding !== 'string')
    return b.unsupported(`${JSON.stringify(b.at)}: the filter must be a constant of 4 dimensions and the padding same or valid`)
  const kernel = t.shape.slice(0, 2).map((k, i) => (k - 1) * (w.dilations?.[i] ?? 1) + 1)
  const own = b.type(x).shape
  /** Elements that the whole result has more than is wanted. */
  const over = kernel.map((k, i) => {
    const [stride, wanted, n] = [w.strides[i]!, size[i], own?.[w.channels === 'last' ? 1 + i : 2 + i]]
    if (wanted === undefined || typeof n !== 'number') return w.padding === 'same' ? k - stride : Math.min(k - stride, 0)
    const back = Math.ceil((w.padding === 'same' ? wanted : wanted - k + 1) / stride)
    if (back !== n) b.unsupported(`${JSON.stringify(b.at)}: a result of ${wanted} that ${n} elements do not give`)
    return (n - 1) * stride + k - wanted
  })
  const cut = over.map((o) => Math.max(o, 0))
  const before = cut.map((c) => Math.floor(c / 2))
  const extra = over.map((o) => Math.max(-o, 0))
  const turned = arranged(b, filter, (f) => permuted(f, [3, 2, 0, 1]))!
  const y = b.op('ConvTranspose', [enter(b, x, 4, w.channels), turned, bias && b.plain(bias)], {
    strides: w.strides,
    ...(w.dilations ? { dilations: w.dilations } : {}),
    pads: [...before, ...cut.map((c, i) => c - before[i]!)],
    ...(extra.some((e) => e > 0) ? { output_padding: extra } : {}),
  })
  return leave(y, w.channels)
}

export function pool(b: Builder, op: 'MaxPool' | 'AveragePool', x: Val, kernel: readonly number[], w: Windows): Val {
  const image = enter(b, x, kernel.length + 2, w.channels)
  return leave(b.op(op, [image], { kernel_shape: kernel, ...windowAttributes(w) }), w.channels)
}

/** (x - mean) / sqrt(variance + eps) * gamma + beta per channel; constants of [channels]. */
export function batchNorm(
  b: Builder,
  x: Val,
  parts: { readonly gamma: Val | undefined; readonly beta: Val | undefined; readonly mean: Val; readonly variance: Val },
  eps: number,
  channels: Channels,
): Val {
  const rank = b.rank(x) ?? 4
  const size = b.type(parts.mean).shape?.[0]
  const filled = (value: number): string => {
    if (typeof size !== 'number') return b.unsupported(`${JSON.stringify(b.at)}: the number of channels is not known`)
    return b.constant(
      `${b.at}/${value}`,
      f32([size], () => new Float32Array(size).fill(value)),
    )
  }
  const inputs = [
    parts.gamma ? b.plain(parts.gamma) : filled(1),
    parts.beta ? b.plain(parts.beta) : filled(0),
    b.plain(parts.mean),
    b.plain(parts.variance),
  ]
  const norm = (image: string): string => b.op('BatchNormalization', [image, ...inputs], { epsilon: { float: eps } })
  return rank === 2 ? new Val(norm(b.plain(x))) : leave(norm(enter(b, x, rank, channels)), channels)
}

export interface Resizing {
  readonly mode: 'linear' | 'nearest'
  readonly alignCorners: boolean
  readonly halfPixels: boolean
  readonly channels: Channels
}

/** Images of another size; `size` is a value of [2]. */
export function resize(b: Builder, x: Val, size: string, r: Resizing): Val {
  const image = enter(b, x, 4, r.channels)
  const at = r.alignCorners ? 'align_corners' : !r.halfPixels ? 'asymmetric' : r.mode === 'nearest' ? 'tf_half_pixel_for_nn' : 'half_pixel'
  const whole = b.op('Concat', [b.dim(image, 0), b.dim(image, 1), size], { axis: 0 })
  const y = b.op('Resize', [image, undefined, undefined, whole], {
    mode: r.mode,
    coordinate_transformation_mode: at,
    ...(r.mode === 'nearest' ? { nearest_mode: r.alignCorners ? 'round_prefer_ceil' : 'floor' } : {}),
  })
  const shape = b.types.get(y)?.shape
  // Rank is all that follows when sizes are only known by a run.
  if (!shape) b.types.set(y, { ...b.types.get(y), shape: [null, null, null, null] })
  return leave(y, r.channels)
}

/** The alpha of PReLU, whose shape is that of the value without the batch. */
export function prelu(b: Builder, x: Val, alpha: Val): Val {
  const t = b.tensor(alpha)
  const rank = b.isFirst(x) ? b.types.get(x.first!)?.shape?.length : undefined
  if (t?.dtype === 'f32' && rank !== undefined && t.shape.length <= rank - 1) {
    const full = [...Array<number>(rank - 1 - t.shape.length).fill(1), ...t.shape]
    const turned = full.length > 1 ? permuted(reshaped(t, full), [full.length - 1, ...full.slice(0, -1).map((_, i) => i)]) : t
    return new Val(undefined, b.op('PRelu', [x.first, b.constant(alpha.source?.name ?? alpha.plain!, turned)]))
  }
  return new Val(b.op('PRelu', [b.plain(x), b.plain(alpha)]))
}

export { floatsOf, toLast }
