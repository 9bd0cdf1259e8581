/** Conv and ConvTranspose of sequences [B, C, L] and images [B, C, H, W]. */
import { add, conv2d, padSlice, reshape } from '../../ops/index.js'
import { conv2dGroupedGradInput } from '../../ops/conv2d-grouped.js'
import type { Tensor } from '../../tensor/index.js'
import {
  defineOnnxOp,
  hasAttribute,
  intAttribute,
  intsAttribute,
  stringAttribute,
  type InferContext,
  type RunContext,
  type ValueType,
} from '../define.js'
import type { Dim } from '../graph.js'
import { valueType } from '../infer.js'
import { slide, windowsOf, type Windows } from './windows.js'

type AnyContext = InferContext | RunContext

function groupsOf(ctx: AnyContext): number {
  const groups = intAttribute(ctx.node, 'group', 1)
  if (!(groups >= 1 && groups < 2 ** 24)) ctx.fail('ERR_MODEL_FORMAT', `group must be an integer >= 1, got ${groups}`)
  return groups
}

/** Ranks, channels and groups of x and w; what is not known yet fits. */
function check(ctx: AnyContext, x: readonly Dim[], w: readonly Dim[], transposed: boolean): void {
  const groups = groupsOf(ctx)
  if (x.length !== w.length || x.length < 3)
    ctx.fail('ERR_SHAPE', `x and filters must be [B, C, ...] of one rank, got [${x.join(',')}] and [${w.join(',')}]`)
  if (x.length > 4) ctx.fail('ERR_UNSUPPORTED', `convolutions in ${x.length - 2} dimensions are not supported`)
  const channels = transposed ? w[0] : typeof w[1] === 'number' ? w[1] * groups : null
  const out = w[0]
  if (typeof x[1] === 'number' && typeof channels === 'number' && x[1] !== channels)
    ctx.fail('ERR_SHAPE', `x has ${x[1]} channels, the filters take ${channels} (group ${groups})`)
  if (typeof out === 'number' && out % groups !== 0) ctx.fail('ERR_SHAPE', `${out} filters are no multiple of ${groups} groups`)
}

const known = (dims: readonly Dim[]): (number | null)[] => dims.map((d) => (typeof d === 'number' ? d : null))

function checkBias(ctx: AnyContext, bias: readonly Dim[] | undefined, out: Dim): void {
  if (bias && (bias.length !== 1 || (typeof bias[0] === 'number' && typeof out === 'number' && bias[0] !== out)))
    ctx.fail('ERR_SHAPE', `the bias must be [${out}], got [${bias.join(',')}]`)
}

/** A sequence as an image of one row. */
const asImage = (t: Tensor): Tensor => (t.rank === 3 ? reshape(t, [t.shape[0]!, t.shape[1]!, 1, t.shape[2]!]) : t)
const two = (list: readonly number[], other: number): [number, number] => (list.length === 1 ? [other, list[0]!] : [list[0]!, list[1]!])

defineOnnxOp('Conv', {
  since: [1, 11, 22],
  inputs: [2, 3],
  infer: (ctx, [x, w, bias]): ValueType[] => {
    if (!w?.shape) return [valueType(x?.dtype)]
    checkBias(ctx, bias?.shape, w.shape[0]!)
    const kernel = known(w.shape.slice(2))
    if (!x?.shape || kernel.some((k) => k === null))
      return [valueType(x?.dtype, x?.shape && [x.shape[0]!, w.shape[0]!, ...x.shape.slice(2).map(() => null)])]
    check(ctx, x.shape, w.shape, false)
    const windows = windowsOf(ctx, known(x.shape.slice(2)), kernel as number[])
    return [valueType(x.dtype, [x.shape[0]!, w.shape[0]!, ...slide(ctx, x.shape.slice(2), windows)])]
  },
  run: (ctx, inputs) => {
    const [x, w] = [ctx.tensor(inputs[0]), ctx.tensor(inputs[1])]
    check(ctx, x.shape, w.shape, false)
    const bias = inputs[2] === undefined ? null : ctx.tensor(inputs[2])
    checkBias(ctx, bias?.shape, w.shape[0]!)
    return convolve(x, w, bias, windowsOf(ctx, x.shape.slice(2), w.shape.slice(2)), groupsOf(ctx))
  },
})

function convolve(x: Tensor, w: Tensor, bias: Tensor | null, { stride, dilation, before, after }: Windows, groups: number): Tensor {
  const [top, left] = two(before, 0)
  const [bottom, right] = two(after, 0)
  const y = conv2d(asImage(x), asImage(w), bias, {
    stride: two(stride, 1),
    dilation: two(dilation, 1),
    padding: [
      [top, bottom],
      [left, right],
    ],
    groups,
  })
  return x.rank === 3 ? reshape(y, [y.shape[0]!, y.shape[1]!, y.shape[3]!]) : y
}

/** Pads and sizes of a transposed convolution: pads are cut off the full result. */
function transposedWindows(ctx: AnyContext, spatial: readonly number[], kernel: readonly number[]): { windows: Windows; out: number[] } {
  const rank = spatial.length
  const extra = intsAttribute(ctx.node, 'output_padding', Array<number>(rank).fill(0))
  const auto = stringAttribute(ctx.node, 'auto_pad', 'NOTSET')
  const windows = windowsOf(
    ctx,
    spatial.map(() => null),
    kernel,
  )
  const { stride, dilation } = windows
  if (extra.length !== rank || !extra.every((e, i) => Number.isInteger(e) && e >= 0 && e < Math.max(stride[i]!, dilation[i]!)))
    ctx.fail('ERR_MODEL_FORMAT', `output_padding must be less than strides or dilations, got [${extra.join(', ')}]`)
  const full = spatial.map((n, i) => (n - 1) * stride[i]! + dilation[i]! * (kernel[i]! - 1) + 1 + extra[i]!)
  const wanted = hasAttribute(ctx.node, 'output_shape')
    ? intsAttribute(ctx.node, 'output_shape').slice(-rank)
    : auto.startsWith('SAME')
      ? spatial.map((n, i) => n * stride[i]!)
      : undefined
  if (!wanted) {
    const out = full.map((f, i) => f - windows.before[i]! - windows.after[i]!)
    if (out.some((d) => d < 1)) ctx.fail('ERR_SHAPE', `pads leave nothing of [${full.join(', ')}]`)
    return { windows, out }
  }
  // Where more is wanted than windows reach, the rest at the end is zero.
  const total = full.map((f, i) => Math.max(0, f - wanted[i]!))
  const small = total.map((t) => Math.floor(t / 2))
  const large = total.map((t, i) => t - small[i]!)
  // The specification puts the odd element before, except for SAME_UPPER.
  const upper = auto === 'SAME_UPPER'
  return { windows: { ...windows, before: upper ? small : large, after: upper ? large : small }, out: [...wanted] }
}

defineOnnxOp('ConvTranspose', {
  since: [1, 11, 22],
  inputs: [2, 3],
  infer: (ctx, [x, w, bias]) => {
    if (!x?.shape || !w?.shape) return [valueType(x?.dtype)]
    check(ctx, x.shape, w.shape, true)
    const channels = typeof w.shape[1] === 'number' ? w.shape[1] * groupsOf(ctx) : null
    checkBias(ctx, bias?.shape, channels)
    const [spatial, kernel] = [known(x.shape.slice(2)), known(w.shape.slice(2))]
    const all = [...spatial, ...kernel].every((d) => d !== null)
    const out = all ? transposedWindows(ctx, spatial as number[], kernel as number[]).out : spatial.map(() => null)
    return [valueType(x.dtype, [x.shape[0]!, channels, ...out])]
  },
  run: (ctx, inputs) => {
    const [x, w] = [ctx.tensor(inputs[0]), ctx.tensor(inputs[1])]
    check(ctx, x.shape, w.shape, true)
    const groups = groupsOf(ctx)
    const { windows, out } = transposedWindows(ctx, x.shape.slice(2), w.shape.slice(2))
    const channels = w.shape[1]! * groups
    const [top, left] = two(windows.before, 0)
    const [bottom, right] = two(windows.after, 0)
    const [stride, dilation] = [two(windows.stride, 1), two(windows.dilation, 1)]
    const size = two(out, 1)
    const [image, filters] = [asImage(x), asImage(w)]
    // Rows at the end that no window reaches stay zero: the adjoint of the convolution is taken on what windows reach.
    const reach = size.map((n, i) => {
      const pads = i === 0 ? top + bottom : left + right
      return Math.min(n + pads, (image.shape[2 + i]! - 1) * stride[i]! + dilation[i]! * (filters.shape[2 + i]! - 1) + 1) - pads
    })
    const pads = [top, bottom, left, right]
    let y = conv2dGroupedGradInput(image, filters, [x.shape[0]!, channels, ...reach], stride, pads, dilation, groups)
    if (reach.some((n, i) => n !== size[i])) y = padSlice(y, [x.shape[0]!, channels, ...size], [0, 0, 0, 0])
    if (inputs[2] !== undefined) {
      const bias = ctx.tensor(inputs[2])
      checkBias(ctx, bias.shape, channels)
      y = add(y, reshape(bias, [1, channels, 1, 1]))
    }
    return x.rank === 3 ? reshape(y, [y.shape[0]!, y.shape[1]!, y.shape[3]!]) : y
  },
})
