/** Kernel, strides, pads and dilations of convolutions and pools, with auto_pad resolved. */
import { intAttribute, intsAttribute, stringAttribute, type InferContext, type RunContext } from '../define.js'
import type { Dim } from '../graph.js'

export interface Windows {
  readonly kernel: readonly number[]
  readonly stride: readonly number[]
  readonly dilation: readonly number[]
  readonly before: readonly number[]
  readonly after: readonly number[]
  readonly ceil: boolean
}

type AnyContext = InferContext | RunContext

/** Largest value that the attributes may have: beyond it nothing fits into memory anyway. */
const MAX = 2 ** 24

function sizes(ctx: AnyContext, name: string, rank: number, least: number, other?: readonly number[]): readonly number[] {
  const list = intsAttribute(ctx.node, name, other)
  const length = name === 'pads' ? 2 * rank : rank
  if (list.length !== length || !list.every((v) => Number.isInteger(v) && v >= least && v < MAX))
    ctx.fail('ERR_MODEL_FORMAT', `${name} must be ${length} integers in [${least}, 2^24), got [${list.slice(0, 16).join(', ')}]`)
  return list
}

/** `spatial`: the sizes behind batch and channels, null where auto_pad need not know them; `kernel` defaults to the attribute. */
export function windowsOf(ctx: AnyContext, spatial: readonly (number | null)[], kernel?: readonly number[]): Windows {
  const rank = spatial.length
  const ones = Array<number>(rank).fill(1)
  const k = sizes(ctx, 'kernel_shape', rank, 1, kernel)
  if (kernel && kernel.some((v, i) => v !== k[i]))
    ctx.fail('ERR_MODEL_FORMAT', `kernel_shape is [${k.join(', ')}], the filters are [${kernel.join(', ')}]`)
  const stride = sizes(ctx, 'strides', rank, 1, ones)
  const dilation = sizes(ctx, 'dilations', rank, 1, ones)
  const ceil = intAttribute(ctx.node, 'ceil_mode', 0) !== 0
  const auto = stringAttribute(ctx.node, 'auto_pad', 'NOTSET')
  const zeros = Array<number>(rank).fill(0)
  if (auto === 'NOTSET') {
    const pads = sizes(ctx, 'pads', rank, 0, [...zeros, ...zeros])
    return { kernel: k, stride, dilation, before: pads.slice(0, rank), after: pads.slice(rank), ceil }
  }
  if (auto === 'VALID') return { kernel: k, stride, dilation, before: zeros, after: zeros, ceil }
  if (auto !== 'SAME_UPPER' && auto !== 'SAME_LOWER') ctx.fail('ERR_MODEL_FORMAT', `auto_pad ${JSON.stringify(auto)} is unknown`)
  const total = spatial.map((n, i) =>
    n === null ? 0 : Math.max(0, (Math.ceil(n / stride[i]!) - 1) * stride[i]! + (k[i]! - 1) * dilation[i]! + 1 - n),
  )
  const half = total.map((t) => (auto === 'SAME_UPPER' ? Math.floor(t / 2) : Math.ceil(t / 2)))
  return { kernel: k, stride, dilation, before: half, after: total.map((t, i) => t - half[i]!), ceil }
}

/** Sizes of the result. */
export function slide(ctx: AnyContext, spatial: readonly Dim[], w: Windows): Dim[] {
  const auto = stringAttribute(ctx.node, 'auto_pad', 'NOTSET')
  return spatial.map((n, i): Dim => {
    if (typeof n !== 'number') return null
    if (auto.startsWith('SAME')) return Math.ceil(n / w.stride[i]!)
    const room = n + w.before[i]! + w.after[i]! - w.dilation[i]! * (w.kernel[i]! - 1) - 1
    if (room < 0) ctx.fail('ERR_SHAPE', `a window of ${w.kernel[i]} does not fit into ${n} elements`)
    let out = (w.ceil ? Math.ceil(room / w.stride[i]!) : Math.floor(room / w.stride[i]!)) + 1
    // A window counts only if it begins inside.
    if (w.ceil && (out - 1) * w.stride[i]! >= n + w.before[i]!) out--
    return out
  })
}
