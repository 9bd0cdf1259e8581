/**
 * What stands behind a floating constant besides its numbers: a weight of a model that the graph was taken from, or integer codes that DequantizeLinear turns into
 * floats. Layers that are found take the weight, or the codes, as they are; everything else reads numbers and knows nothing of it.
 */
import { bitsOfCodes } from './numbers.js'
import { copy, permute, reshape } from '../ops/index.js'
import { QuantizedWeight, type InputQuantization, type Weight } from '../nn/index.js'
import { callOp, fromRaw, scope, tensor, type Tensor } from '../tensor/index.js'
import { bitsOf } from '../formats/onnx/index.js'
import type { ElementType, GraphTensor } from './graph.js'
import { HostTensor } from './host.js'

/** Signed codes with scales: value = scale (q - zero). */
export interface Codes {
  /** Of the values. */
  readonly shape: readonly number[]
  /** Codes as i8 of this shape. Call inside a scope. */
  readonly read: () => Tensor
  /** Bits that hold a code in the file. */
  readonly bits: number
  /** One scale ([]), one for each entry of `axis` ([n]), or for each block of it (the rank of the values). */
  readonly scaleShape: readonly number[]
  readonly scale: readonly number[]
  readonly zero: readonly number[] | undefined
  readonly axis: number
  /** Entries of `axis` in a block; 0: no blocks. */
  readonly block: number
  /** The constant in the file. */
  readonly name: string
}

export interface Stored {
  /** The weight whose values these are, or their transpose. */
  readonly weight?: { readonly of: Weight; readonly turned: boolean }
  readonly codes?: Codes
  /** The constant of the file that this is the transpose of. */
  readonly turnedFrom?: GraphTensor
}

const stored = new WeakMap<GraphTensor, Stored>()

export const storedBehind = (t: GraphTensor | undefined): Stored | undefined => t && stored.get(t)
export function withStored(t: GraphTensor, what: Stored): GraphTensor {
  stored.set(t, what)
  return t
}

/** The same after a swap of two dimensions. */
export function turnedStored(s: Stored): Stored {
  const { weight, codes } = s
  return {
    ...(weight ? { weight: { of: weight.of, turned: !weight.turned } } : {}),
    ...(codes ? { codes: turnedCodes(codes) } : {}),
  }
}

function turnedCodes(c: Codes): Codes {
  const swap = (values: readonly number[]): readonly number[] => {
    if (c.scaleShape.length !== 2) return values
    const [rows, cols] = c.scaleShape as [number, number]
    return Array.from({ length: values.length }, (_, i) => values[(i % rows) * cols + Math.floor(i / rows)]!)
  }
  return {
    ...c,
    shape: [...c.shape].reverse(),
    read: () => copy(permute(c.read(), [1, 0])),
    scaleShape: c.scaleShape.length === 2 ? [...c.scaleShape].reverse() : c.scaleShape,
    scale: swap(c.scale),
    zero: c.zero && swap(c.zero),
    axis: 1 - c.axis,
  }
}

const containers: Readonly<Partial<Record<ElementType, { readonly bits: number; readonly flip: number }>>> = {
  i8: { bits: 8, flip: 0 },
  u8: { bits: 8, flip: 0x80 },
  i4: { bits: 4, flip: 0x88 },
  u4: { bits: 4, flip: 0 },
  i2: { bits: 2, flip: 0xaa },
  u2: { bits: 2, flip: 0 },
}
export const isCodeType = (dtype: ElementType): boolean => Object.hasOwn(containers, dtype)
/** What unsigned codes of a type are moved by to become signed. */
export const codeShift = (dtype: ElementType): number => (dtype.startsWith('u') ? 2 ** (bitsOf(dtype) - 1) : 0)

/** Codes as i8 of a shape, unsigned ones moved down by half of their range: their top bit turned, but `unpack_bits` wants packed ones unsigned and moves them itself. */
export function signedCodes(dtype: ElementType, bytes: Uint8Array, shape: readonly number[]): Tensor {
  const { bits, flip } = containers[dtype]!
  const data = flip === 0 ? bytes : bytes.map((b) => b ^ flip)
  const size = shape.reduce((a, b) => a * b, 1)
  if (bits === 8) return fromRaw({ dtype: 'i8', shape, data })
  return reshape(callOp('unpack_bits', [fromRaw({ dtype: 'u8', shape: [data.length], data }), bits, size])[0]!, shape)
}

/** DequantizeLinear of constants: its codes, scales and zero points; undefined where they are no codes of up to 8 bits with f32 scales. */
export function codesOf(
  name: string,
  t: GraphTensor,
  scale: GraphTensor,
  zero: GraphTensor | undefined,
  axis: number,
  block: number,
): Codes | undefined {
  if (!isCodeType(t.dtype) || scale.dtype !== 'f32' || (zero && zero.dtype !== t.dtype)) return undefined
  const rank = t.shape.length
  const single = scale.shape.every((d) => d === 1) && scale.shape.length <= 1
  if (!single && (scale.shape.length !== (block > 0 ? rank : 1) || (block > 0 && rank !== 2))) return undefined
  const shift = codeShift(t.dtype)
  const zeros = zero ? new HostTensor(zero.dtype, zero.shape, zero).data.map((z) => z - shift) : shift ? [-shift] : undefined
  const scales = new HostTensor(scale.dtype, scale.shape, scale).data
  const spread = zeros?.length === 1 ? scales.map(() => zeros[0]!) : zeros
  if (spread && spread.length !== scales.length) return undefined
  return {
    name,
    shape: t.shape,
    read: () => signedCodes(t.dtype, t.read(), t.shape),
    bits: bitsOf(t.dtype),
    scaleShape: single ? [] : scale.shape,
    scale: scales,
    zero: spread?.every((z) => z === 0) ? undefined : spread,
    axis: axis < 0 ? axis + rank : axis,
    block: single ? 0 : block,
  }
}

/** How the codes become a weight whose first dimension is that of the outputs; undefined where their scales do not lie that way. */
export function quantizedFrom(c: Codes, input: InputQuantization | 'dynamic' | null): (() => Weight) | undefined {
  const [rows, ...rest] = c.shape as [number, ...number[]]
  const cols = rest.reduce((a, b) => a * b, 1)
  if (c.shape.length < 2 || rows === 0 || cols === 0 || c.scale.some((s) => !(s > 0 && s < Infinity))) return undefined
  const layout = c.scaleShape.length === 0 ? 'tensor' : c.block > 0 ? 'group' : 'channel'
  if (layout === 'channel' && (c.axis !== 0 || c.scale.length !== rows)) return undefined
  if (layout === 'group') {
    const groups = Math.ceil(cols / c.block)
    const fits = c.shape.length === 2 && c.axis === 1 && c.scaleShape[0] === rows && c.scaleShape[1] === groups
    // Groups of a weight are as equal as they can be; blocks of a file are all whole but the last.
    if (!fits || Math.ceil(cols / groups) !== c.block) return undefined
  }
  if (input && (layout === 'group' || c.zero)) return undefined
  const scaleShape = layout === 'tensor' ? [1, 1] : layout === 'channel' ? [rows, 1] : c.scaleShape
  return () =>
    scope(() => {
      const q = reshape(c.read(), [rows, cols])
      return new QuantizedWeight({
        shape: c.shape,
        q: q.contiguous ? q : copy(q),
        scale: tensor(Float32Array.from(c.scale), scaleShape),
        zero: c.zero ? tensor(Float32Array.from(c.zero), scaleShape) : null,
        bits: bitsOfCodes(q.read() as Int8Array, c.bits),
        layout,
        input,
      })
    })
}
