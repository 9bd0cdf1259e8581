/**
 * Mixed precision: inside `withPrecision('bf16' | 'f16', ...)` operands and results of matrix products and what activations make of them are tensors of that
 * dtype, which is also what the tape keeps for the backward pass; sums, norms, softmax and losses are f32. The design: docs/adr/0006-mixed-precision.md.
 */
import { definePrimitive, done, withAdapter, type Adapter, type PrimitiveDefinition } from '../autograd/index.js'
import { callOp, Tensor } from '../tensor/index.js'
import { convolutionHalf, convolutionHalfGradients, halfConvolution } from './convolution-half.js'
import { cast } from './memory.js'

export type Precision = 'f32' | 'bf16' | 'f16'
export type HalfDType = Exclude<Precision, 'f32'>

/** Whether x is stored in 16 bits. */
export function isHalf<T>(x: T): x is T & Tensor {
  return x instanceof Tensor && (x.dtype === 'bf16' || x.dtype === 'f16')
}

/** x in f32 if it is stored in 16 bits, else x itself. Differentiable. */
export function widened<T extends Tensor | null>(x: T): T {
  return isHalf(x) ? (cast(x, 'f32') as T) : x
}

/** A gradient in the dtype of `like`, which has 16 bits: a temporary of a rule. */
export function roundedLike(dy: Tensor, like: Tensor): Tensor {
  return dy.dtype === like.dtype ? dy : callOp('cast', [dy, like.dtype])[0]!
}

/** Ops whose tensors may have 16 bits: they look at shapes only, or compute in f32 inside. */
const native: ReadonlySet<string> = new Set([
  'reshape',
  'permute',
  'to',
  'slice',
  'broadcast_to',
  'copy',
  'cast',
  'matmul_half',
  'linear_half',
  'bf16_pack',
  'linear_bf16',
  'relu',
  'gelu',
  'nonlinear',
])

/** Ops whose result has 16 bits if an operand has: products, look-ups, activations, and those that only move or select values. */
const narrow: ReadonlySet<string> = new Set([
  ...['conv2d', 'conv2d_grouped', 'conv2d_max_pool', 'conv2d_grad_input', 'conv2d_grouped_grad_input', 'attention', 'gather'],
  ...['tanh', 'sigmoid', 'clip', 'max_pool2d', 'pad_slice', 'concat2'],
])

type General = PrimitiveDefinition<readonly unknown[], string>
type Run = (...args: readonly unknown[]) => readonly Tensor[]
const bordered = new Map<General, Run>()

/**
 * The op with f32 copies of its 16-bit operands, which live as long as the call: the tape keeps the 16-bit ones, and the rule widens them again. Second
 * derivatives go through casts, in f32.
 */
function atBorder(definition: General): Run {
  const { grad, forward } = definition
  const reads = definition.reads ?? 'all'
  return definePrimitive<readonly unknown[], string>({
    ...definition,
    forward: (...args) => {
      if (halfConvolution(definition.name)) return convolutionHalf(definition.name, args)
      const wide = args.map((x) => (isHalf(x) ? callOp('cast', [x, 'f32'])[0]! : x))
      const [y, ...more] = withAdapter(undefined, () => forward(...wide))
      wide.forEach((t, i) => t !== args[i] && (t as Tensor).dispose())
      if (y!.dtype !== 'f32' || !narrow.has(definition.name)) return [y!, ...more]
      const half = callOp('cast', [y!, args.find(isHalf)!.dtype])[0]!
      y!.dispose()
      return [half, ...more]
    },
    grad:
      grad &&
      ((call, dy) => {
        if (halfConvolution(definition.name) && !call.higher) return convolutionHalfGradients(definition.name, call.args, call.results, dy)
        const copy = <T>(x: T): T =>
          !isHalf(x) ? x : call.higher ? (cast(x, 'f32') as T & Tensor) : (callOp('cast', [x, 'f32'])[0] as T & Tensor)
        const args = reads === 'nothing' ? call.args : call.args.map(copy)
        const y = reads === 'all' || call.higher ? copy(call.y) : call.y
        return grad({ args, y, results: [y, ...call.results.slice(1)], higher: call.higher }, call.higher ? widened(dy) : copy(dy))
      }),
  })
}

const border: Adapter = (definition, args) => {
  if (!args.some(isHalf) || native.has(definition.name)) return undefined
  let run = bordered.get(definition)
  if (!run) bordered.set(definition, (run = atBorder(definition)))
  return withAdapter(undefined, () => run(...args))
}

interface Mode {
  readonly dtype: HalfDType
  /** One copy of each f32 tensor, however often it is used: a weight is rounded once a pass. */
  readonly copies: Map<Tensor, Tensor>
}
let current: Mode | undefined

/**
 * Runs fn (not asynchronous) with matrix products in mixed precision: their f32 operands are rounded to that format (to nearest, ties to even; f16 beyond 65504
 * to infinity) and their results are tensors of it. Ops that have no 16-bit form take f32 copies. What fn returns may have 16 bits.
 *
 * @example
 * const y = ops.withPrecision('bf16', () => model.forward(x))
 */
export function withPrecision<T>(precision: Precision, fn: () => T): T {
  const before = current
  current = precision === 'f32' ? undefined : { dtype: precision, copies: new Map<Tensor, Tensor>() }
  try {
    return withAdapter(current && border, fn)
  } finally {
    current = before
  }
}

/** @internal What an op of matrix products sees of an operand: x itself unless a 16-bit precision is in force. */
export function narrowed<T extends Tensor | null>(x: T): T {
  if (!current || x?.dtype !== 'f32') return x
  const { copies, dtype } = current
  let half = copies.get(x)
  // A scope that closed may have freed it.
  if (!half || half.disposed) copies.set(x, (half = cast(x, dtype)))
  return half as T
}

/** @internal `narrowed` for a result that nobody else holds. */
export function narrowedResult(y: Tensor): Tensor {
  if (!current || y.dtype !== 'f32') return y
  const half = cast(y, current.dtype)
  done(y)
  return half
}
