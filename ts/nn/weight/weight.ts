/**
 * A layer holds a `Weight` and never knows which kind. Kinds convert into each other (dense -> masked -> sparse, dense | masked ->
 * quantized); each kind says what it costs, what it stands for and how it multiplies. One file per kind; `weightKinds` lists them.
 */
import type { Json } from '../../base/json-types.js'
import { ModelFormatError } from '../../base/errors.js'
import type { RawTensor } from '../../base/dtype.js'
import type { Shape } from '../../base/shape.js'
import type { Conv1dOptions, Conv2dOptions, ConvTranspose2dOptions, Padding2d } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import type { ForwardContext } from '../module.js'
import type { Keep } from './cut.js'

export type Size2d = readonly [height: number, width: number]

/** Attributes of ts/ops `conv2d`, `conv1d`, `convTranspose2d`. */
export type ConvolutionUse =
  | ({ readonly op: 'conv2d'; readonly stride: Size2d; readonly padding: Padding2d } & Conv2dOptions)
  | ({ readonly op: 'conv1d' } & Conv1dOptions)
  | ({ readonly op: 'convTranspose2d' } & ConvTranspose2dOptions)

/** How a layer uses its weight. `bias` is added by the weight so that a kind can fuse it. */
export type WeightUse =
  | { readonly op: 'linear'; readonly bias: Tensor | null }
  | ({ readonly bias: Tensor | null } & ConvolutionUse)
  | { readonly op: 'lookup'; readonly paddingIndex?: number }

/** One direction of a recurrent layer: x [T, B, C], states [B, H], biases [G H]. */
export interface RecurrentUse {
  readonly cell: 'lstm' | 'gru'
  /** The input weight; the one that is asked is the recurrent one. */
  readonly input: Weight
  readonly x: Tensor
  readonly bih: Tensor | null
  readonly bhh: Tensor | null
  readonly h0: Tensor | null
  readonly c0: Tensor | null
  readonly lengths: Tensor | null
  readonly reverse: boolean
}

/** A trainable tensor. Where `mask` (a bit set, see ops.def) is 0 the value stays exactly 0 through every optimizer step. */
export interface Leaf {
  readonly value: Tensor
  readonly mask: Tensor | null
  /** Which part of the weight it is; without: "value", its values. Other parts (scales) are trained without weight decay. */
  readonly part?: string
  /** The parts of the file that hold value and mask, where these are not `part` (or "value") and "mask": those of a weight inside this one. */
  readonly stored?: { readonly value: string; readonly mask: string }
}

/** Affine quantization of a layer's input, found by calibration: x ~ scale * (q - zero), q in [0, 255]. */
export interface InputQuantization {
  readonly scale: number
  readonly zero: number
  /** Fewer codes than 256: the smallest and the largest. */
  readonly limits?: readonly [number, number] | undefined
}

export interface Weight {
  readonly kind: string
  /** Shape of the values it stands for: [out, in] linear, [O, C, kh, kw] convolution, [rows, width] table, [n] vector. */
  readonly shape: Shape
  /** One line for tables: "f32", "int4 g32", "int8 sparse 16.8 %". */
  readonly description: string
  /** Bytes in a file: values, indices, scales. */
  bytes(): number
  nonzeros(): number
  /** The values it stands for. Call inside a scope and do not dispose the result: for dense and masked kinds it is the leaf itself. */
  dense(): Tensor
  /** Where layers compute something else than with `dense()`, so that a graph of plain products would be another function: what they do. */
  readonly approximation?: string | undefined
  /** For kinds that compute a direction of a recurrent layer themselves, asked of its recurrent weight: outputs [T, B, H], then the last h (and c). */
  recurrent?(use: RecurrentUse): Tensor
  /** `context`: of the layer that runs; kinds that do something else in training need it. */
  apply(x: Tensor, use: WeightUse, context?: ForwardContext): Tensor
  /** What a file holds; with `config()` it restores the weight exactly. */
  parts(): Readonly<Record<string, RawTensor>>
  config(): Json
  trainable(): readonly Leaf[]
  /** Parts that training changes although no gradient does (averages), by name: updates stand as "<path of the weight>#<name>" in `ForwardContext.stateUpdates`. */
  state?(): Readonly<Record<string, Tensor>>
  /** The parts as the tensors that they are, where each part is one: they can go to another thread without a copy. Do not dispose them. */
  tensors?(): Readonly<Record<string, Tensor>>
  /** A copy with only these positions along each axis. Kinds without it cannot be made smaller that way. */
  cut?(keep: Keep): Weight
  /** Frees the tensors. A model whose tree shares this weight must not be used afterwards. */
  dispose(): void
}

export interface WeightKind {
  readonly kind: string
  restore(parts: Readonly<Record<string, RawTensor>>, config: Json, shape: Shape): Weight
  /** The inverse of `tensors`: takes them over. */
  adopt?(tensors: Readonly<Record<string, Tensor>>): Weight
}

const kinds = new Map<string, WeightKind>()

/** Registers a kind so that files can name it. */
export function defineWeightKind(kind: WeightKind): WeightKind {
  kinds.set(kind.kind, kind)
  return kind
}

export function weightKind(name: string): WeightKind {
  const kind = kinds.get(name)
  if (!kind)
    throw new ModelFormatError('ERR_MODEL_FORMAT', `weight: unknown kind ${JSON.stringify(name)}; known: ${[...kinds.keys()].join(', ')}`)
  return kind
}

/** The part named `name`, or ERR_MODEL_FORMAT. */
export function part(parts: Readonly<Record<string, RawTensor>>, name: string, kind: string): RawTensor {
  const found = parts[name]
  if (!found)
    throw new ModelFormatError(
      'ERR_MODEL_FORMAT',
      `weight: a ${kind} weight needs the part "${name}", the file has ${Object.keys(parts).join(', ') || 'none'}`,
    )
  return found
}
