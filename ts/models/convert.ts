/**
 * Tensors from one format to another, one at a time: safetensors (one file or shards), GGUF, npz. Nothing is guessed about the network: names stay, and
 * metadata of GGUF stay with GGUF. Whole models go through loadModel and saveOnnx, saveModel, saveGguf or saveHuggingFace.
 */
import { bytesPerElement, isDType, type DType, type RawTensor } from '../base/dtype.js'
import { OptionError, UnsupportedError } from '../base/errors.js'
import { sizeOf } from '../base/shape.js'
import {
  detectFormat,
  isBlockType,
  openGguf,
  openModelTensors,
  openSafetensors,
  readTensors,
  writeGguf,
  writeNpz,
  writeSafetensors,
  writeSharded,
  type GgufSource,
  type GgufValue,
  type LazyTensor,
} from '../formats/index.js'
import { cast } from '../ops/index.js'
import { fromRaw, scope, toRaw, type Tensor } from '../tensor/index.js'
import { readGgufTensor } from './gguf/load.js'
import { sourceOf, type WritableType } from './gguf/quantize.js'

export type HalfOrSingle = 'f32' | 'f16' | 'bf16'
export type TensorFormat = 'safetensors' | 'gguf' | 'npz'

export interface TensorOfSet {
  readonly dtype: DType
  readonly shape: readonly number[]
  readonly read: () => RawTensor
  /** As GGUF stores it. */
  readonly stored?: GgufSource
}

/** The tensors of a file, by whatever format, read one at a time where the format allows. */
export interface TensorSet {
  readonly format: string
  readonly tensors: ReadonlyMap<string, TensorOfSet>
  readonly metadata: ReadonlyMap<string, GgufValue>
  close(): void
}

/** Opens a file, or a folder with model.safetensors or its shards. */
export function openTensorSet(input: string, folder: boolean): TensorSet {
  const format = folder ? 'safetensors' : detectFormat(input)
  const none = new Map<string, GgufValue>()
  if (format === 'safetensors') {
    const file = folder ? openModelTensors(input) : openSafetensors(input)
    const tensors = new Map(
      [...file.tensors].map(([name, { dtype, shape }]) => [name, { dtype, shape, read: () => file.readTensor(name) }]),
    )
    return { format, tensors, metadata: none, close: () => file.close() }
  }
  if (format === 'gguf') {
    const file = openGguf(input)
    const tensors = new Map(
      [...file.tensors].map(([name, { type, shape }]) => {
        const block = isBlockType(type)
        const dtype = isDType(type) ? type : 'f32'
        const stored = { type, shape, data: () => file.readStored(name).data }
        return [
          name,
          { dtype, shape, read: () => (block ? scope(() => toRaw(readGgufTensor(file, name))) : file.readTensor(name)), stored },
        ]
      }),
    )
    return { format, tensors, metadata: file.metadata, close: () => file.close() }
  }
  if (format !== 'npz' && format !== 'npy' && format !== 'tfjs' && format !== 'onnx')
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      `convert '${input}': ${format} files cannot be converted (safetensors, gguf, npz, npy, tfjs, onnx can)`,
      {
        details: { what: format },
      },
    )
  const { tensors } = readTensors(input)
  return {
    format,
    tensors: new Map([...tensors].map(([name, t]) => [name, { dtype: t.dtype, shape: t.shape, read: () => t }])),
    metadata: none,
    close: () => undefined,
  }
}

export interface ConvertOptions {
  /** Floating tensors become this type; others stay. */
  readonly dtype?: HalfOrSingle
  /** Only to GGUF: the matrices' type. */
  readonly quantize?: WritableType
  /** Only to a folder of safetensors. */
  readonly maxShardBytes?: number
  readonly onTensor?: (done: number, total: number, name: string) => void
}

const floats: ReadonlySet<DType> = new Set(['f64', 'f32', 'f16', 'bf16'])
const asType = (raw: RawTensor, dtype: DType): RawTensor => (raw.dtype === dtype ? raw : scope(() => toRaw(cast(fromRaw(raw), dtype))))

/**
 * Writes the tensors of a set as `format` to `output` (a folder where `shards` says so). Gives the names of the files.
 *
 * - quantize without GGUF, a dtype that the format has not: ERR_OPTION
 */
export function convertTensors(
  set: TensorSet,
  output: string,
  format: TensorFormat,
  shards: boolean,
  options: ConvertOptions = {},
): string[] {
  const { dtype, quantize, maxShardBytes, onTensor } = options
  if (quantize !== undefined && format !== 'gguf')
    throw new OptionError(
      'ERR_OPTION',
      `convert: quantize is for GGUF, the output is ${format}; use tersor compress for quantized safetensors`,
    )
  if (maxShardBytes !== undefined && !shards) throw new OptionError('ERR_OPTION', 'convert: shards are for a folder of safetensors')
  const total = set.tensors.size
  const typeOf = (own: DType): DType => (dtype && floats.has(own) ? dtype : own)
  let done = 0
  const noted = (name: string): void => onTensor?.(++done, total, name)
  const made = (name: string): RawTensor => {
    const { dtype: own, read } = set.tensors.get(name)!
    const raw = asType(read(), typeOf(own))
    noted(name)
    return raw
  }
  if (format === 'gguf') {
    const tensors = [...set.tensors].map(([name, { dtype: own, shape, read, stored }]): readonly [string, GgufSource] => {
      if (floats.has(own) && quantize) return [name, sourceOf(quantize, shape, () => fromFloat(read()))]
      if (stored && !(dtype && floats.has(own))) return [name, stored]
      const type = typeOf(own)
      if (type === 'u8' || type === 'u16' || type === 'bool')
        throw new OptionError('ERR_OPTION', `convert: tensor ${JSON.stringify(name)} has dtype ${type}, which GGUF has not`, {
          details: { tensor: name },
        })
      return [name, { type, shape, data: () => asType(read(), type).data }]
    })
    const metadata: ReadonlyMap<string, GgufValue> = set.metadata.size
      ? set.metadata
      : new Map([['general.architecture', { type: 'string', value: 'unknown' }]])
    writeGguf(output, tensors, { metadata, onTensor: noted })
    return [output]
  }
  const entries = [...set.tensors.keys()]
  if (format === 'npz') {
    writeNpz(
      output,
      entries.map((name) => [name, made(name)] as const),
    )
    return [output]
  }
  if (!shards) {
    writeSafetensors(
      output,
      entries.map((name) => [name, made(name)] as const),
    )
    return [output]
  }
  const lazy = [...set.tensors].map(([name, { dtype: own, shape }]): readonly [string, LazyTensor] => {
    const type = typeOf(own)
    return [name, { dtype: type, shape, bytes: sizeOf(shape) * bytesPerElement(type), read: () => made(name).data }]
  })
  return writeSharded(output, lazy, maxShardBytes === undefined ? {} : { maxShardBytes })
}

const fromFloat = (raw: RawTensor): Tensor => (raw.dtype === 'f32' ? fromRaw(raw) : cast(fromRaw(raw), 'f32'))
