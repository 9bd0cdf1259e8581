/** Rules for products, convolutions, attention and quantized inputs. */
import { UnsupportedError } from '../../base/errors.js'
import type { InputQuantization } from '../../nn/index.js'
import { isValue, type TracedValue } from '../trace.js'
import { float, int, ints } from './builder.js'
import { valueArg, type ExportContext } from './context.js'
import { floatsOf, type Rule } from './ops.js'
import type { PairedCall } from './pair.js'
import { packNibbles, type Codes } from './weights.js'

const weightPath = (v: TracedValue): string | null => (v.from.kind === 'weight' ? v.from.path : null)

/**
 * The bias of a product of integers, as int32 at the scale of the product: with it runtimes join the product and the (de)quantization around it
 * into one integer kernel (Jacob et al. 2018, section 2.4). null where input or weight are no codes with one scale per row.
 */
function integerBias(c: ExportContext, x: TracedValue, w: TracedValue, bias: unknown): string | null {
  const path = weightPath(w)
  const codes = path === null ? null : c.weights.codes(path)
  if (!isValue(bias) || !codes || codes.groups !== 1 || codes.zero || x.from.kind !== 'call' || x.from.call.op !== 'quantize_input')
    return null
  const { scale } = x.from.call.args[1] as InputQuantization
  const values = floatsOf(c, bias)
  const scales = Float32Array.from(values, (_, i) => scale * codes.scale[codes.lead === 1 ? 0 : i]!)
  const whole = Array.from(values, (b, i) => Math.round(b / scales[i]!))
  if (!whole.every((q) => Math.abs(q) < 2 ** 31)) return null
  const stored = c.builder.constant(`${path}.bias`, 'i32', [values.length], whole)
  return c.builder.node('DequantizeLinear', [stored, c.weights.floats32(`${path}.bias_scale`, [values.length], scales)], {
    attributes: { axis: int(0) },
  })
}

const addBias = (c: ExportContext, y: string, bias: unknown): string => (isValue(bias) ? c.builder.node('Add', [y, c.name(bias)]) : y)

/** x [..., K] W^T + b for W [N, K]. */
const linear: Rule = (c, call) => {
  const [x, w, bias] = [valueArg(call, 0), valueArg(call, 1), call.a.args[2]]
  const path = weightPath(w)
  const codes = path === null ? null : c.weights.codes(path)
  if (path !== null && codes && !isQuantizedInput(x)) {
    if (c.target.matMulNBits && fitsNBits(codes)) return matMulNBits(c, c.name(x), path, codes, bias)
    if (c.target.dynamic && codes.groups === 1 && !codes.zero) return dynamicProduct(c, c.name(x), path, codes, bias)
  }
  if (x.shape.length === 2 && path !== null && (!codes || isQuantizedInput(x))) {
    const added = isValue(bias) ? (integerBias(c, x, w, bias) ?? c.name(bias)) : ''
    return c.builder.node('Gemm', [c.name(x), c.name(w), added], { attributes: { transB: int(1) } })
  }
  const right =
    path !== null ? c.weights.transposed(path) : c.builder.node('Transpose', [c.name(w)], { attributes: { perm: ints([1, 0]) } })
  return addBias(c, c.builder.node('MatMul', [c.name(x), right]), bias)
}

const isQuantizedInput = (x: TracedValue): boolean => x.from.kind === 'call' && x.from.call.op === 'quantize_input'

/** What com.microsoft.MatMulNBits takes: groups of a power of 2 from 16 on that divide the row, whole zero points. */
function fitsNBits({ groups, cols, zero, lead, rows, bits }: Codes): boolean {
  const size = cols / groups
  const sizes = [16, 32, 64, 128, 256]
  return (
    lead === rows &&
    bits <= 4 &&
    groups > 1 &&
    sizes.includes(size) &&
    (!zero || zero.every((z) => Number.isInteger(z) && z >= -8 && z <= 7))
  )
}

/** Codes -8..7 as 0..15, two in a byte, the first low; rows of `groups` blocks. */
function matMulNBits(c: ExportContext, x: string, path: string, codes: Codes, bias: unknown): string {
  const { rows, cols, groups, q, scale, zero } = codes
  const { builder } = c
  const packed = packNibbles(q.map((v) => v + 8)) // unsigned, with the zero at 8
  const size = cols / groups
  const stored = builder.tensor(`${path}.codes`, { dtype: 'u8', shape: [rows, groups, size / 2], read: () => packed })
  const inputs = [x, stored, c.weights.floats32(`${path}.scale`, [rows * groups], scale)]
  if (zero) {
    const perRow = Math.ceil(groups / 2)
    const zeros = new Uint8Array(rows * perRow)
    for (let r = 0; r < rows; r++)
      for (let g = 0; g < groups; g++) zeros[r * perRow + (g >> 1)]! |= ((zero[r * groups + g]! + 8) & 15) << (4 * (g & 1))
    inputs.push(builder.tensor(`${path}.zero`, { dtype: 'u8', shape: [rows * perRow], read: () => zeros }))
  }
  const attributes = { K: int(cols), N: int(rows), bits: int(4), block_size: int(size), accuracy_level: int(1) } // 1: f32 products
  return addBias(c, builder.node('MatMulNBits', inputs, { domain: 'com.microsoft', attributes }), bias)
}

/** Rows of x as u8 with a scale of their own, the product in integers, scales and bias behind it. */
function dynamicProduct(c: ExportContext, x: string, path: string, codes: Codes, bias: unknown): string {
  const { builder } = c
  const names = ['q', 'scale', 'zero'].map((part) => builder.name(`${path}.input_${part}`)) as [string, string, string]
  builder.node('DynamicQuantizeLinear', [x], { outputs: names })
  const { rows, scale, lead } = codes
  const stored = c.weights.flippedCodes(path, codes)
  const product = builder.cast(builder.node('MatMulInteger', [names[0], stored, names[2]]), 'f32')
  const factor = builder.node('Mul', [names[1], c.weights.floats32(`${path}.scale`, lead === 1 ? [] : [rows], scale)])
  return addBias(c, builder.node('Mul', [product, factor]), bias)
}

/** The operand of a product, transposed if asked. */
function operand(c: ExportContext, v: TracedValue, flip: boolean): string {
  if (!flip) return c.name(v)
  const path = weightPath(v)
  if (path !== null && v.shape.length === 2) return c.weights.transposed(path)
  const rank = v.shape.length
  const perm = v.shape.map((_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i))
  return c.builder.node('Transpose', [c.name(v)], { attributes: { perm: ints(perm) } })
}

const matmul: Rule = (c, call) =>
  c.builder.node('MatMul', [operand(c, valueArg(call, 0), !!call.a.args[2]), operand(c, valueArg(call, 1), !!call.a.args[3])])

const gemm: Rule = (c, call) => {
  const [, , third, ta, tb, alpha, beta] = call.a.args
  const attributes = { transA: int(ta ? 1 : 0), transB: int(tb ? 1 : 0), alpha: float(alpha as number), beta: float(beta as number) }
  if (valueArg(call, 0).shape.length !== 2)
    throw new UnsupportedError('ERR_UNSUPPORTED', 'export: gemm of more than two dimensions; use matmul')
  return c.builder.node('Gemm', [c.name(valueArg(call, 0)), c.name(valueArg(call, 1)), c.name(third)], { attributes })
}

interface Convolution {
  readonly stride: readonly number[]
  /** top, bottom, left, right */
  readonly padding: readonly number[]
  readonly dilation?: readonly number[]
  readonly groups?: number
}

function convolution(c: ExportContext, call: PairedCall, { stride, padding, dilation = [1, 1], groups = 1 }: Convolution): string {
  const w = valueArg(call, 1)
  const [top, bottom, left, right] = padding as [number, number, number, number]
  const attributes = {
    kernel_shape: ints(w.shape.slice(2)),
    strides: ints(stride),
    pads: ints([top, left, bottom, right]),
    dilations: ints(dilation),
    group: int(groups),
  }
  const [x, bias] = [valueArg(call, 0), call.a.args[2]]
  const added = isValue(bias) ? (integerBias(c, x, w, bias) ?? c.name(bias)) : ''
  return c.builder.node('Conv', [c.name(x), c.name(w), added], { attributes })
}
const numbers = (call: PairedCall, i: number): readonly number[] => call.a.args[i] as readonly number[]
const both = ([h, w]: readonly number[]): number[] => [h!, h!, w!, w!]

/** The adjoint of a convolution in its input, which is what transposed convolutions are made of. */
const transposedConvolution =
  (grouped: boolean): Rule =>
  (c, call) => {
    const [dy, w, shape, stride] = [valueArg(call, 0), valueArg(call, 1), numbers(call, 2), numbers(call, 3)]
    const padding = grouped ? numbers(call, 4) : both(numbers(call, 4))
    const dilation = grouped ? numbers(call, 5) : [1, 1]
    const [top, bottom, left, right] = padding as [number, number, number, number]
    const kernel = w.shape.slice(2)
    // H = stride (H' - 1) + dilation (k - 1) + 1 + output padding - top - bottom
    const extraOf = (out: readonly number[], from: readonly number[]): number[] =>
      [0, 1].map((i) => {
        const sides = i === 0 ? top + bottom : left + right
        return out[2 + i]! - (stride[i]! * (from[2 + i]! - 1) + dilation[i]! * (kernel[i]! - 1) + 1 - sides)
      })
    const extra = extraOf(shape, dy.shape)
    if (extraOf(call.b.args[2] as readonly number[], c.pair.other(dy).shape).some((n, i) => n !== extra[i]))
      throw new UnsupportedError(
        'ERR_UNSUPPORTED',
        'export: the size of a transposed convolution follows the inputs in a way ONNX cannot say; fix it with dynamic: {}',
      )
    const attributes = {
      kernel_shape: ints(kernel),
      strides: ints(stride),
      pads: ints([top, left, bottom, right]),
      dilations: ints(dilation),
      output_padding: ints(extra),
      group: int(grouped ? (call.a.args[6] as number) : 1),
    }
    return c.builder.node('ConvTranspose', [c.name(dy), c.name(w)], { attributes })
  }

const convAndPool: Rule = (c, call) => {
  const y = convolution(c, call, { stride: numbers(call, 3), padding: both(numbers(call, 4)) })
  const pool = numbers(call, 5)
  return c.builder.node('MaxPool', [y], { attributes: { kernel_shape: ints(pool), strides: ints(pool) } })
}

/** softmax(q k^T scale + mask) v by heads. */
const attention: Rule = (c, call) => {
  const { builder } = c
  const [q, k, v] = [valueArg(call, 0), valueArg(call, 1), valueArg(call, 2)]
  const [mask, keyMask, heads, scale, causal] = call.a.args.slice(3) as [unknown, unknown, number, number, boolean]
  const flat = q.shape.length === 3
  const split = (x: TracedValue, perm: readonly number[]): string => {
    if (!flat) return perm[3] === 3 ? c.name(x) : builder.node('Transpose', [c.name(x)], { attributes: { perm: ints([0, 1, 3, 2]) } })
    const parts = builder.node('Reshape', [c.name(x), builder.int64s([0, 0, heads, x.shape[2]! / heads])])
    return builder.node('Transpose', [parts], { attributes: { perm: ints(perm) } })
  }
  let scores = builder.node('MatMul', [split(q, [0, 2, 1, 3]), split(k, [0, 2, 3, 1])])
  if (scale !== 1) scores = builder.node('Mul', [scores, builder.scalar(scale)])
  if (isValue(mask)) scores = builder.node('Add', [scores, c.name(mask)])
  const hidden = (shown: string): string => builder.node('Mul', [builder.node('Sub', [shown, builder.scalar(1)]), builder.scalar(1e9)]) // 0, or -1e9 where hidden
  if (isValue(keyMask)) scores = builder.node('Add', [scores, hidden(builder.node('Unsqueeze', [c.name(keyMask), builder.int64s([1, 2])]))])
  if (causal) {
    const axis = flat ? 1 : 2
    const [t, s] = [c.pair.shape(q)[axis]!, c.pair.shape(k)[axis]!]
    const ones = builder.node('Expand', [builder.scalar(1), c.shape([t, s], q)])
    const late = builder.node('Squeeze', [c.int64([s[0] - t[0], s[1] - t[1]], k)])
    scores = builder.node('Add', [scores, hidden(builder.node('Trilu', [ones, late], { attributes: { upper: int(0) } }))])
  }
  const weights = builder.node('Softmax', [scores], { attributes: { axis: int(-1) } })
  const heard = builder.node('MatMul', [weights, split(v, [0, 2, 1, 3])])
  if (!flat) return heard
  const back = builder.node('Transpose', [heard], { attributes: { perm: ints([0, 2, 1, 3]) } })
  return builder.node('Reshape', [back, builder.int64s([0, 0, v.shape[2]!])])
}

const quantizeInput: Rule = (c, call) => {
  const { scale, zero, limits } = call.a.args[1] as InputQuantization
  const scales = [c.builder.scalar(scale), c.builder.constant('zero_point', 'u8', [], [zero])]
  // QuantizeLinear clamps to all of u8: fewer codes than that are limits of the values.
  const ends = limits?.map((code) => c.builder.scalar((code - zero) * scale))
  const x = ends ? c.builder.node('Clip', [c.name(valueArg(call, 0)), ...ends]) : c.name(valueArg(call, 0))
  return c.builder.node('DequantizeLinear', [c.builder.node('QuantizeLinear', [x, ...scales]), ...scales])
}

export const productRules: Readonly<Record<string, Rule>> = {
  linear,
  matmul,
  gemm,
  conv2d: (c, call) => convolution(c, call, { stride: numbers(call, 3), padding: both(numbers(call, 4)) }),
  conv2d_grouped: (c, call) =>
    convolution(c, call, {
      stride: numbers(call, 3),
      padding: numbers(call, 4),
      dilation: numbers(call, 5),
      groups: call.a.args[6] as number,
    }),
  conv2d_grad_input: transposedConvolution(false),
  conv2d_grouped_grad_input: transposedConvolution(true),
  conv2d_max_pool: convAndPool,
  attention,
  quantize_input: quantizeInput,
}
