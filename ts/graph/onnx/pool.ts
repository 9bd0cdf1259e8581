/** Pools over windows and over everything, of sequences [B, C, L] and images [B, C, H, W]. */
import { add, amax, avgPool2d, cast, div, maxPool2dWithIndex, mean, pad, reshape } from '../../ops/index.js'
import { ones, tensor, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, intAttribute, type InferContext, type RunContext, type ValueType } from '../define.js'
import type { Dim } from '../graph.js'
import { valueType } from '../infer.js'
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

const back = (y: Tensor, x: Tensor): Tensor => (x.rank === 3 ? reshape(y, [y.shape[0]!, y.shape[1]!, y.shape[3]!]) : y)

defineOnnxOp('MaxPool', {
  since: [1, 8, 10, 11, 12, 22],
  inputs: [1, 1],
  infer: (ctx, [x]) => {
    const y = inferPool(ctx, x)
    return [y, valueType('i64', y.shape)]
  },
  run: (ctx, [input], node) => {
    const x = ctx.tensor(input)
    const { image, kernel, stride, padding, w } = prepare(ctx, x, -Infinity)
    const [y, index] = maxPool2dWithIndex(image, kernel, { stride, padding, ceil: w.ceil })
    if (!node.outputs[1]) return back(y, x)
    if (image.size !== x.size || intAttribute(node, 'storage_order', 0) !== 0)
      ctx.fail('ERR_UNSUPPORTED', 'positions of the largest elements with uneven pads or in column order are not supported')
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
  infer: (ctx, [x]) => [inferPool(ctx, x)],
  run: (ctx, [input], node) => {
    const x = ctx.tensor(input)
    const countPadding = intAttribute(node, 'count_include_pad', 0) !== 0
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
