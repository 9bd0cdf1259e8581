/** Which type each tensor of a GGUF file gets, and its bytes. */
import { blockTypes, type BlockType, type GgufSource, type GgufType } from '../../formats/index.js'
import { OptionError } from '../../base/errors.js'
import { onProcessor } from '../../nn/weight/parts.js'
import { cast } from '../../ops/index.js'
import { scope, toRaw, type Tensor } from '../../tensor/index.js'

/** Types that values can be written in. */
export const writableTypes = ['f32', 'f16', 'bf16', ...blockTypes] as const
export type WritableType = (typeof writableTypes)[number]

export function checkWritable(where: string, type: unknown): asserts type is WritableType {
  if (!(writableTypes as readonly unknown[]).includes(type))
    throw new OptionError('ERR_OPTION', `${where}: the type must be one of ${writableTypes.join(', ')}, got ${JSON.stringify(type)}`)
}

const isBlock = (type: WritableType): type is BlockType => (blockTypes as readonly string[]).includes(type)

/**
 * The type for a tensor of this shape: vectors stay f32; rows that are no whole number of blocks of 256 get q8_0, or of 32 f16. What llama.cpp's own
 * conversion does, and what its products need.
 */
export function typeFor(type: WritableType, shape: readonly number[]): WritableType {
  if (shape.length < 2) return 'f32'
  const row = shape[shape.length - 1]!
  if ((type === 'q4_k' || type === 'q6_k') && row % 256 !== 0) return typeFor('q8_0', shape)
  return isBlock(type) && row % 32 !== 0 ? 'f16' : type
}

/** Bytes of a tensor in a type; the tensor is f32. */
export function bytesAs(type: WritableType, x: Tensor): Uint8Array {
  return scope(() => toRaw(isBlock(type) ? onProcessor('block_encode', [x, type]) : type === x.dtype ? x : cast(x, type)).data)
}

/** A tensor to write whose bytes are made when their turn comes. */
export function sourceOf(wanted: WritableType, shape: readonly number[], value: () => Tensor): GgufSource {
  const type = typeFor(wanted, shape)
  return { type: type satisfies GgufType, shape, data: () => scope(() => bytesAs(type, value())) }
}
