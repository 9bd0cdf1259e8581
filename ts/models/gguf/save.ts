/** Writes a language model (GPT-2, Llama, Qwen2; hand-written, trained, loaded, compressed) as a GGUF file that llama.cpp and what is built on it load. */
import { UnsupportedError } from '../../base/errors.js'
import { writeGguf, type GgufSource, type GgufValue, type GgufWriteOptions } from '../../formats/index.js'
import type { Model } from '../../nn/index.js'
import { concat2 } from '../../ops/index.js'
import type { Tensor } from '../../tensor/index.js'
import { unpackJson } from '../header.js'
import { TOKENIZER } from '../inputs.js'
import type { HubTokenizerFiles } from '../tokenizer/hub.js'
import type { TransformerConfig } from '../transformer/body.js'
import { architectureOf } from './architectures.js'
import { toNeighbours } from './llama.js'
import { checkWritable, sourceOf, type WritableType } from './quantize.js'
import { tokenizerMetadata } from './tokenizer.js'

export interface SaveGgufOptions extends GgufWriteOptions {
  /**
   * Type of the matrices: 'f32' (default), 'f16', 'bf16', 'q8_0', 'q4_0', 'q4_1', 'q4_k', 'q6_k'. Vectors and the table of positions stay f32; rows that
   * are no multiple of 256 (32) become q8_0 (f16) instead.
   */
  readonly type?: WritableType
}

/** Numbers of general.file_type by type, as llama.cpp counts them. */
const fileTypes: Readonly<Record<WritableType, number>> = { f32: 0, f16: 1, q4_0: 2, q4_1: 3, q8_0: 7, q4_k: 14, q6_k: 18, bf16: 32 }

/**
 * Writes the file, crash-safe; gives its bytes. Weights that are not plain (quantized, sparse, ...) are written as the values that they stand for.
 *
 * - a model that is no causal language model, or computes what llama.cpp's architectures do not: ERR_UNSUPPORTED; an unknown type: ERR_OPTION
 *
 * @example
 * saveGguf(model, 'model.gguf', { type: 'q8_0' })
 */
export function saveGguf(model: Model, file: string, options: SaveGgufOptions = {}): number {
  const { type = 'f32', metadata = {}, ...write } = options
  const where = `save '${file}'`
  checkWritable(where, type)
  if (model.root.kind !== 'causalLanguage')
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: takes causal language models (GPT-2, Llama), got ${model.root.kind}`, {
      details: { what: model.root.kind },
    })
  const { body } = model.root.config as unknown as { body: TransformerConfig }
  const architecture = architectureOf(body)
  architecture.check(where, body)
  const values = new Map<string, { readonly shape: readonly number[]; readonly value: () => Tensor }[]>()
  for (const { path, weight } of model.weights()) {
    const found = architecture.nameOf(path, body)
    if (!found)
      throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: ${architecture.label} has no weight ${path}`, { details: { what: path } })
    const { pairedHeads } = found
    const list = values.get(found.name) ?? []
    const value = (): Tensor => (pairedHeads === undefined ? weight.dense() : toNeighbours(weight.dense(), pairedHeads))
    list[found.third ?? 0] = { shape: weight.shape, value }
    values.set(found.name, list)
  }
  const tensors = [...values].map(([name, list]): readonly [string, GgufSource] => {
    const [first] = list
    const shape = [first!.shape[0]! * list.length, ...first!.shape.slice(1)]
    const joined = (): Tensor => list.map(({ value }) => value()).reduce((a, b) => concat2(a, b, 0))
    return [name, sourceOf(name.startsWith('position_embd') ? 'f32' : type, shape, joined)]
  })
  tensors.push(...(architecture.more?.(body) ?? []))
  const tokenizer = model.extras[TOKENIZER]
  const files = tokenizer ? (unpackJson(`extra "${TOKENIZER}"`, tokenizer) as unknown as HubTokenizerFiles) : undefined
  const own: Record<string, GgufValue> = {
    'general.architecture': { type: 'string', value: architecture.name },
    'general.name': { type: 'string', value: model.info.name },
    'general.file_type': { type: 'u32', value: fileTypes[type] },
    'general.quantization_version': { type: 'u32', value: 2 },
    ...architecture.metadata(body),
    ...tokenizerMetadata(where, files?.tokenizer === 'huggingface' ? files : undefined, body.vocabulary),
  }
  const given = metadata instanceof Map ? [...(metadata as Map<string, GgufValue>)] : Object.entries(metadata)
  return writeGguf(file, tensors, { ...write, metadata: new Map([...Object.entries(own), ...given]) })
}
