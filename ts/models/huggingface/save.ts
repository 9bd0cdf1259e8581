/**
 * Writes a model as a Hugging Face folder that transformers' from_pretrained reads: config.json, model.safetensors (or shards), tokenizer files.
 * Weights that are not plain are written as the values that they stand for; tied weights once.
 */
import { bytesPerElement } from '../../base/dtype.js'
import { OptionError, UnsupportedError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { sizeOf } from '../../base/shape.js'
import { makeFolder, nodeIo, writeFileAtomic, writeSharded, type LazyTensor, type WriteOptions } from '../../formats/index.js'
import type { Model, Weight } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import { jsonText, unpackJson } from '../header.js'
import { TOKENIZER } from '../inputs.js'
import type { TransformerConfig } from '../transformer/body.js'
import { headOfKind, writeConfig } from './config.js'
import { families, familyOfBody } from './families.js'
import { activationName, type Family, type Layout } from './family.js'
import { orderOf, shapeInFile, toFile } from './layout.js'
import { nameOf } from './names.js'

export interface SaveHuggingFaceOptions extends WriteOptions {
  /** Floating type of the tensors. Default 'f32'. */
  readonly dtype?: 'f32' | 'f16' | 'bf16'
  /** false: only config.json and the tokenizer's files (where the weights are in another format). Default true. */
  readonly weights?: boolean
  /** Bytes of tensors in one file; more are written as shards with an index. Default 5 GB. */
  readonly maxShardBytes?: number
}

/** The file's tensors in the order of names, each made when it is read. */
function huggingFaceTensors(model: Model, family: Family, prefix: string, dtype: 'f32' | 'f16' | 'bf16'): [string, LazyTensor][] {
  const head = headOfKind[model.root.kind]!
  const parts = new Map<string, { readonly layout: Layout; readonly weight: Weight }[]>()
  for (const { path, weight } of model.weights()) {
    const { name, layout } = nameOf(family, head, path)
    // Files of a bare body have no prefix.
    const full = name.replace('@', head === 'embedding' ? '' : `${prefix}.`)
    parts.set(full, [...(parts.get(full) ?? []), { layout, weight }])
  }
  return [...parts.keys()].sort().map((name) => {
    const list = [...parts.get(name)!].sort((a, b) => orderOf(a.layout) - orderOf(b.layout))
    const shape = shapeInFile(list[0]!.layout, list[0]!.weight.shape)
    const values = (): Uint8Array =>
      scope(() =>
        toFile(
          list.map(({ layout, weight }) => ({ layout, value: weight.dense() })),
          dtype,
        ),
      ).data
    return [name, { dtype, shape, bytes: sizeOf(shape) * bytesPerElement(dtype), read: values }]
  })
}

/**
 * Writes the folder, made where it is missing; gives the bytes of model.safetensors, or of its shards. What was loaded from Hugging Face and not changed is
 * written with equal tensors.
 *
 * - a model that is no transformer with a head of Tersor, or has a body that no family knows: ERR_OPTION; an activation without a name there: ERR_UNSUPPORTED;
 *   a folder that cannot be made: ERR_IO
 *
 * @example
 * saveHuggingFace(model, 'out')   // Python: AutoModelForSequenceClassification.from_pretrained('out')
 */
export function saveHuggingFace(model: Model, folder: string, options: SaveHuggingFaceOptions = {}): number {
  const { dtype = 'f32', weights = true, maxShardBytes, ...write } = options
  const root = folder.replace(/[\\/]+$/, '') || '/'
  const where = `save '${root}'`
  const head = headOfKind[model.root.kind]
  if (!head)
    throw new OptionError('ERR_OPTION', `${where}: takes models of kind ${Object.keys(headOfKind).join(', ')}, got ${model.root.kind}`)
  if (!['f32', 'f16', 'bf16'].includes(dtype))
    throw new OptionError('ERR_OPTION', `${where}: dtype must be f32, f16 or bf16, got ${String(dtype)}`)
  const { body } = model.root.config as unknown as { body: TransformerConfig }
  if (activationName(body.activation) === undefined)
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: transformers has no activation like ${body.activation}`, {
      details: { what: body.activation },
    })
  const loaded = (model.info.huggingFace ?? {}) as JsonObject
  const type = loaded.model_type
  const family = (typeof type === 'string' ? families.find((f) => Object.hasOwn(f.types, type)) : undefined) ?? familyOfBody(where, body)
  const json = writeConfig(family, model.spec(), head, model.info.classes, loaded)
  const put = (name: string, value: Json): void =>
    writeFileAtomic(`${root}/${name}`, [new TextEncoder().encode(`${jsonText(name, value)}\n`)], write)
  makeFolder(root)
  let bytes = 0
  if (weights) {
    const tensors = huggingFaceTensors(model, family, family.types[json.model_type as string]!, dtype)
    // No checksums: transformers refuses metadata that it does not expect, and wants this key.
    const names = writeSharded(root, tensors, {
      ...write,
      ...(maxShardBytes === undefined ? {} : { maxShardBytes }),
      metadata: { format: 'pt' },
      checksums: false,
    })
    const io = options.io ?? nodeIo
    bytes = names.filter((name) => name.endsWith('.safetensors')).reduce((n, name) => n + Number(io.stat(`${root}/${name}`).size), 0)
  }
  const tokenizer = model.extras[TOKENIZER]
  if (tokenizer) {
    const files = unpackJson(`extra "${TOKENIZER}"`, tokenizer) as JsonObject
    if (files.tokenizer === 'huggingface') {
      put('tokenizer.json', files.json!)
      put('tokenizer_config.json', files.config!)
    }
  }
  put('config.json', { ...json, torch_dtype: { f32: 'float32', f16: 'float16', bf16: 'bfloat16' }[dtype] })
  return bytes
}
