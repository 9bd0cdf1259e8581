/** Pools over windows and over everything, of sequences [B, C, L] and images [B, C, H, W]. */
import { sizeOf, stridesOf } from '../../base/shape.js'
import {
  abs,
  add,
  amax,
  argmax,
  avgPool2d,
  cast,
  concat,
  div,
  gather,
  maxPool2dWithIndex,
  mean,
  pad,
  permute,
  pow,
  power,
  reshape,
  sqrt,
  sum,
} from '../../ops/index.js'
import { full, ones, tensor, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, intAttribute, type InferContext, type RunContext, type Value, type ValueType } from '../define.js'
import type { Dim } from '../graph.js'
import { HostTensor } from '../host.js'
import { valueType } from '../infer.js'
import { keepsAxis } from './channels.js'
import { isFloat } from './values.js'
import { slide, windowsOf, type Windows } from './windows.js'

function inferPool(ctx: InferContext, x: ValueType | undefined): ValueType {
  if (!x?.shape) return valueType(x?.dtype)
  const spatial = x.shape.slice(2)
  const windows = windowsOf(
    ctx,
    spatial.map((d) => (typeof d === 'number' ? d : null)),
  )
  return valueType(x.dtype, [...x.shape.slice(0, 2), ...slide(ctx, spatial, windows)])
}

/** x as an image, padded so that what is left of the pads is the same on both sides and at most half of the kernel. */
function prepare(
  ctx: RunContext,
  x: Tensor,
  outside: number,
): { image: Tensor; kernel: [number, number]; stride: [number, number]; padding: [number, number]; w: Windows } {
  if (x.rank < 3 || x.rank > 4) ctx.fail('ERR_UNSUPPORTED', `pools of ${x} are not supported: [B, C, L] and [B, C, H, W] are`)
  const w = windowsOf(ctx, x.shape.slice(2))
  slide(ctx, x.shape.slice(2), w)
  if (w.dilation.some((d) => d !== 1)) ctx.fail('ERR_UNSUPPORTED', 'dilated pools are not supported')
  const lift = (list: readonly number[], other: number): [number, number] => (list.length === 1 ? [other, list[0]!] : [list[0]!, list[1]!])
  const image = x.rank === 3 ? reshape(x, [x.shape[0]!, x.shape[1]!, 1, x.shape[2]!]) : x
  const [before, after, kernel] = [lift(w.before, 0), lift(w.after, 0), lift(w.kernel, 1)]
  const even = before.every((b, i) => b === after[i]! && 2 * b <= kernel[i]!)
  const padded = even
    ? image
    : pad(
        image,
        [
          [0, 0],
          [0, 0],
          [before[0], after[0]],
          [before[1], after[1]],
        ],
        { value: outside },
      )
  return { image: padded, kernel, stride: lift(w.stride, 1), padding: even ? before : [0, 0], w }
}

/** What the native pools do not take: three and more dimensions, dilations, other types than f32 and f64. */
const isGeneral = (x: Tensor, w: Windows): boolean => x.rank > 4 || w.dilation.some((d) => d !== 1) || !isFloat(x.dtype)

/** The elements of every window by position in their plane; -1: outside. [out, kernel] row by row. */
function windowPositions(spatial: readonly number[], out: readonly number[], w: Windows): Int32Array {
  const [os, ks, ss] = [stridesOf(out), stridesOf(w.kernel), stridesOf(spatial)]
  const k = sizeOf(w.kernel)
  return Int32Array.from({ length: sizeOf(out) * k }, (_, e) => {
    const [o, i] = [Math.floor(e / k), e % k]
    let at = 0
    for (let d = 0; d < spatial.length; d++) {
      const p = (Math.floor(o / os[d]!) % out[d]!) * w.stride[d]! - w.before[d]! + (Math.floor(i / ks[d]!) % w.kernel[d]!) * w.dilation[d]!
      if (p < 0 || p >= spatial[d]!) return -1
      at += p * ss[d]!
    }
    return at
  })
}

interface Gathered {
  /** [out, kernel, B * C]: `fill` where a window reaches outside. */
  readonly elements: Tensor
  readonly positions: Int32Array
  readonly out: readonly number[]
}

function gatherWindows(ctx: RunContext, x: Tensor, w: Windows, fill: number): Gathered {
  const spatial = x.shape.slice(2)
  const out = slide(ctx, spatial, w) as number[]
  const positions = windowPositions(spatial, out, w)
  const [plane, planes] = [sizeOf(spatial), x.shape[0]! * x.shape[1]!]
  const rows = concat([permute(reshape(x, [planes, plane]), [1, 0]), full([1, planes], fill, x.dtype)])
  const index = positions.map((p) => (p < 0 ? plane : p))
  return { elements: gather(rows, tensor(index, [sizeOf(out), sizeOf(w.kernel)])), positions, out }
}
/** [out, B * C] as [B, C, ...out]. */
const fromColumns = (y: Tensor, x: Tensor, out: readonly number[]): Tensor =>
  reshape(permute(y, [1, 0]), [x.shape[0]!, x.shape[1]!, ...out])

function generalMaxPool(ctx: RunContext, input: Tensor, w: Windows): Value[] {
  const floats = isFloat(input.dtype)
  const x = floats ? input : cast(input, 'f64')
  const { elements, positions, out } = gatherWindows(ctx, x, w, -Infinity)
  const y = fromColumns(amax(elements, [1]), x, out)
  const values = floats ? y : cast(y, input.dtype)
  if (!ctx.node.outputs[1]) return [values]
  const best = ctx.host(argmax(permute(elements, [0, 2, 1]))).data
  const spatial = x.shape.slice(2)
  const [plane, planes, places, k] = [sizeOf(spatial), x.shape[0]! * x.shape[1]!, sizeOf(out), sizeOf(w.kernel)]
  const columns = intAttribute(ctx.node, 'storage_order', 0) !== 0
  const strides = stridesOf(spatial)
  const inPlane = (p: number): number => {
    if (!columns) return p
    let [at, step] = [0, 1]
    for (let d = 0; d < spatial.length; d++) {
      at += (Math.floor(p / strides[d]!) % spatial[d]!) * step
      step *= spatial[d]!
    }
    return at
  }
  const index = Array.from({ length: planes * places }, (_, i) => {
    const [c, o] = [Math.floor(i / places), i % places]
    return c * plane + inPlane(positions[o * k + best[o * planes + c]!]!)
  })
  return [values, new HostTensor('i64', values.shape, index)]
}

/** How many elements of each window are data, or data and padding. */
function windowCounts(
  positions: Int32Array,
  spatial: readonly number[],
  out: readonly number[],
  w: Windows,
  countPadding: boolean,
): Float32Array {
  const k = sizeOf(w.kernel)
  const os = stridesOf(out)
  const ks = stridesOf(w.kernel)
  return Float32Array.from({ length: sizeOf(out) }, (_, o) => {
    let n = 0
    for (let i = 0; i < k; i++) {
      if (positions[o * k + i]! >= 0) n++
      else if (countPadding)
        n += spatial.every((size, d) => {
          const p = (Math.floor(o / os[d]!) % out[d]!) * w.stride[d]! + (Math.floor(i / ks[d]!) % w.kernel[d]!) * w.dilation[d]!
          return p < size + w.before[d]! + w.after[d]!
        })
          ? 1
          : 0
    }
    return n
  })
}

function generalAveragePool(ctx: RunContext, x: Tensor, w: Windows, countPadding: boolean): Tensor {
  const { elements, positions, out } = gatherWindows(ctx, x, w, 0)
  const counts = windowCounts(positions, x.shape.slice(2), out, w, countPadding)
  const divisor = tensor(counts, [counts.length, 1])
  return fromColumns(div(sum(elements, [1]), x.dtype === 'f32' ? divisor : cast(divisor, x.dtype)), x, out)
}

defineOnnxOp('LpPool', {
  since: [1, 2, 11, 18, 22],
  inputs: [1, 1],
  channels: keepsAxis,
  infer: (ctx, [x]) => [inferPool(ctx, x)],
  run: (ctx, [input], node) => {
    const x = ctx.tensor(input)
    const p = intAttribute(node, 'p', 2)
    if (!(p >= 1 && p <= 64)) ctx.fail('ERR_MODEL_FORMAT', `p must be an integer in [1, 64], got ${p}`)
    const { elements, out } = gatherWindows(ctx, x, windowsOf(ctx, x.shape.slice(2)), 0)
    const sums = sum(pow(abs(elements), p), [1])
    return fromColumns(p === 1 ? sums : p === 2 ? sqrt(sums) : power(sums, 1 / p), x, out)
  },
})

const back = (y: Tensor, x: Tensor): Tensor => (x.rank === 3 ? reshape(y, [y.shape[0]!, y.shape[1]!, y.shape[3]!]) : y)

defineOnnxOp('MaxPool', {
  since: [1, 8, 10, 11, 12, 22],
  inputs: [1, 1],
  channels: keepsAxis,
  infer: (ctx, [x]) => {
    const y = inferPool(ctx, x)
    return [y, valueType('i64', y.shape)]
  },
  run: (ctx, [input], node) => {
    const x = ctx.tensor(input)
    const general = windowsOf(ctx, x.shape.slice(2))
    const uneven = general.before.some((b, i) => b !== general.after[i] || 2 * b > general.kernel[i]!)
    if (isGeneral(x, general) || (node.outputs[1] && (uneven || intAttribute(node, 'storage_order', 0) !== 0)))
      return generalMaxPool(ctx, x, general)
    const { image, kernel, stride, padding, w } = prepare(ctx, x, -Infinity)
    const [y, index] = maxPool2dWithIndex(image, kernel, { stride, padding, ceil: w.ceil })
    if (!node.outputs[1]) return back(y, x)
    const [b, c] = x.shape as [number, number]
    const plane = x.size / (b * c)
    const starts = tensor(
      Float64Array.from({ length: b * c }, (_, i) => i * plane),
      [b, c, 1, 1],
    )
    return [back(y, x), back(cast(add(cast(index, 'f64'), starts), 'i64'), x)]
  },
})

defineOnnxOp('AveragePool', {
  since: [1, 7, 10, 11, 19, 22],
  inputs: [1, 1],
  channels: keepsAxis,
  infer: (ctx, [x]) => [inferPool(ctx, x)],
  run: (ctx, [input], node) => {
    const x = ctx.tensor(input)
    const countPadding = intAttribute(node, 'count_include_pad', 0) !== 0
    const general = windowsOf(ctx, x.shape.slice(2))
    if (isGeneral(x, general)) return generalAveragePool(ctx, x, general, countPadding)
    const { image, kernel, stride, padding, w } = prepare(ctx, x, 0)
    const options = { stride, padding, ceil: w.ceil, countPadding }
    const y = avgPool2d(image, kernel, options)
    if (countPadding || image.size === x.size) return back(y, x)
    // Uneven pads: the sums of data over the share of each window that is data.
    const share = avgPool2d(prepare(ctx, ones([1, 1, ...x.shape.slice(2)], x.dtype), 0).image, kernel, options)
    return back(div(y, share), x)
  },
})

const spatialAxes = (rank: number): number[] => Array.from({ length: rank - 2 }, (_, i) => i + 2)

function globalPool(name: string, native: (x: Tensor, axes: readonly number[]) => Tensor): void {
  defineOnnxOp(name, {
    since: [1, 22],
    inputs: [1, 1],
    channels: keepsAxis,
    infer: (_ctx, [x]) => [
      valueType(
        x?.dtype,
        x?.shape?.map((d, i): Dim => (i < 2 ? d : 1)),
      ),
    ],
    run: (ctx, [input]) => {
      const x = ctx.tensor(input)
      if (x.rank < 3) ctx.fail('ERR_SHAPE', `x must be [B, C, ...], got ${x}`)
      return native(x, spatialAxes(x.rank))
    },
  })
}
globalPool('GlobalAveragePool', (x, axes) => mean(x, axes, true))
globalPool('GlobalMaxPool', (x, axes) => amax(x, axes, true))
