/**
 * Convolutions of 16-bit tensors: some images at a time are widened to f32, computed, and rounded into the result, so that the f32 copies stay below
 * `PIECE` bytes (or 16 images) however large the batch is. Values of results and of gradients in x are those of the f32 ops rounded once; gradients of weights
 * and bias are f32 sums over the pieces, in an order that follows from shapes alone.
 */
import { callOp, callOpInto, Tensor, zeros } from '../tensor/index.js'
import type { DType } from '../base/dtype.js'

/** Bytes of f32 copies at a time: enough images for all threads, little beside a batch. */
const PIECE = 8 * 2 ** 20
/** Images that are computed side by side (native/ops/conv_lanes.h). */
const BLOCK = 16

/** How an op goes through the images of a batch. */
interface Walk {
  readonly op: string
  /** Arguments with one entry per image. */
  readonly images: readonly number[]
  /** The shape of the result, where it is an argument: its first number counts images. */
  readonly shape?: number
  /** The result is a sum over all images. */
  readonly sums?: true
}

const walk = (op: string, images: readonly number[], more: Partial<Walk> = {}): Walk => ({ op, images, ...more })
const plain = { input: walk('conv2d_grad_input', [0], { shape: 2 }), weight: walk('conv2d_grad_weight', [0, 1], { sums: true }) }
const grouped = {
  input: walk('conv2d_grouped_grad_input', [0], { shape: 2 }),
  weight: walk('conv2d_grouped_grad_weight', [0, 1], { sums: true }),
}
const pooled = {
  input: walk('conv2d_select_grad_input', [0, 1], { shape: 3 }),
  weight: walk('conv2d_select_grad_weight', [0, 1, 2], { sums: true }),
}

type Args = readonly unknown[]
interface Rule {
  readonly forward: Walk
  readonly input: Walk
  readonly weight: Walk
  /** Arguments of the adjoints behind dy (and index): those of the forward call behind its bias. */
  readonly index: boolean
}
const rules: Readonly<Record<string, Rule>> = {
  conv2d: { forward: walk('conv2d', [0]), ...plain, index: false },
  conv2d_grouped: { forward: walk('conv2d_grouped', [0]), ...grouped, index: false },
  conv2d_max_pool: { forward: walk('conv2d_max_pool', [0]), ...pooled, index: true },
}

const isHalf = (x: unknown): x is Tensor => x instanceof Tensor && (x.dtype === 'bf16' || x.dtype === 'f16')
const widen = (x: Tensor): Tensor => callOp('cast', [x, 'f32'])[0]!

/** Images [begin, end) of x, without a copy; x itself where it is all of them. */
function cut(x: Tensor, begin: number, end: number): Tensor {
  if (begin === 0 && end === x.shape[0]) return x
  return x.view([end - begin, ...x.shape.slice(1)], x.strides, begin * x.strides[0]!)
}

/** Images that go together: a multiple of BLOCK, by the bytes of the f32 copies of one. */
function together(args: Args, { images, shape }: Walk, count: number): number {
  let elements = 0
  for (const i of images) elements += (args[i] as Tensor).size / count
  if (shape === undefined)
    elements *= 2 // the result is about as large
  else elements += (args[shape] as readonly number[]).slice(1).reduce((a, b) => a * b, 1)
  return Math.max(BLOCK, Math.floor(PIECE / (4 * elements) / BLOCK) * BLOCK)
}

/** Runs an op on 16-bit tensors. Results with an entry per image have `dtype` where they are floats, sums are f32. */
function run(w: Walk, args: Args, dtype: DType): Tensor[] {
  const count = (args[w.images[0]!] as Tensor).shape[0]!
  const step = count === 0 ? 1 : together(args, w, count)
  // What is not cut (weights, bias) is widened once.
  const whole = args.map((x, i) => (isHalf(x) && !w.images.includes(i) ? widen(x) : x))
  const results: Tensor[] = []
  for (let begin = 0; begin === 0 || begin < count; begin += step) {
    const end = Math.min(count, begin + step)
    const made: Tensor[] = []
    const piece = whole.map((x, i) => {
      if (i === w.shape) return [end - begin, ...(x as readonly number[]).slice(1)]
      if (!w.images.includes(i)) return x
      const part = cut(x as Tensor, begin, end)
      if (part !== x) made.push(part)
      if (!isHalf(part)) return part
      const wide = widen(part)
      made.push(wide)
      return wide
    })
    const found = callOp(w.op as 'conv2d', piece)
    for (const t of made) t.dispose()
    if (w.sums) {
      if (results.length === 0) results.push(...found)
      else {
        callOp('axpby', [results[0]!, found[0]!, 1, 1])
        found[0]!.dispose()
      }
      continue
    }
    found.forEach((y, r) => {
      const own = y.dtype === 'f32' ? dtype : y.dtype
      if (end - begin === count) {
        results.push(own === y.dtype ? y : callOp('cast', [y, own])[0]!)
        if (results[r] !== y) y.dispose()
        return
      }
      results[r] ??= zeros([count, ...y.shape.slice(1)], own)
      const to = cut(results[r], begin, end)
      if (own === y.dtype) callOpInto('copy', [y], [to])
      else callOpInto('cast', [y, own], [to])
      to.dispose()
      y.dispose()
    })
  }
  whole.forEach((x, i) => x !== args[i] && (x as Tensor).dispose())
  return results
}

/** @internal Whether an op has a form for 16-bit tensors here. */
export const halfConvolution = (name: string): boolean => Object.hasOwn(rules, name)

/** @internal The results of the op on 16-bit tensors. */
export function convolutionHalf(name: string, args: Args): Tensor[] {
  return run(rules[name]!.forward, args, args.find(isHalf)!.dtype)
}

/** @internal First-order gradients in x, w and bias. */
export function convolutionHalfGradients(
  name: string,
  args: Args,
  results: readonly Tensor[],
  dy: Tensor,
): Readonly<Record<'x' | 'w' | 'bias', () => Tensor>> {
  const rule = rules[name]!
  const [x, w, , ...rest] = args as readonly [Tensor, Tensor, Tensor | null]
  const chosen = rule.index ? [results[1]!] : []
  return {
    x: () => run(rule.input, [dy, ...chosen, w, x.shape, ...rest], x.dtype)[0]!,
    w: () => run(rule.weight, [x, dy, ...chosen, w.shape, ...rest], 'f32')[0]!,
    bias: () => run(walk('sum', [0], { sums: true }), [dy, [0, 2, 3], false], 'f32')[0]!,
  }
}
