/**
 * The tensors of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json lists. Indexes are read, tensors when asked
 * for. Names are canonical (names.ts).
 */
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, UnsupportedError } from '../../base/errors.js'
import { parseJson, toPlain } from '../../base/json.js'
import type { Json } from '../../base/json-types.js'
import {
  nodeIo,
  openModelTensors,
  readRegularFile,
  type BeneathOptions,
  type SafetensorsFile,
  type SafetensorsReadOptions,
  type ShardedSafetensors,
} from '../../formats/index.js'
import { limitsOf } from '../../formats/limits.js'
import type { KnownNames } from './names.js'

export type HubReadOptions = SafetensorsReadOptions & BeneathOptions

const WEIGHTS = 'model.safetensors'
const INDEX = 'model.safetensors.index.json'

export function hasFile(folder: string, name: string, options: HubReadOptions): boolean {
  try {
    return (options.io ?? nodeIo).stat(`${folder}/${name}`).isFile()
  } catch {
    return false
  }
}

/** A JSON file of the folder as plain data. */
export function readJson(folder: string, name: string, options: HubReadOptions): Json {
  const file = `${folder}/${name}`
  const { jsonBytes, jsonDepth } = limitsOf(options)
  const bytes = readRegularFile(file, { ...options, maxBytes: jsonBytes })
  return toPlain(parseJson(bytes, { where: `'${file}'`, format: 'json', maxDepth: jsonDepth }))
}

export class HubTensors {
  readonly #file: SafetensorsFile | ShardedSafetensors
  readonly #places = new Map<string, { readonly name: string; readonly shape: readonly number[] }>()
  readonly #where: string

  constructor(folder: string, known: KnownNames, options: HubReadOptions) {
    this.#where = `load '${folder}'`
    if (![WEIGHTS, INDEX].some((name) => hasFile(folder, name, options)))
      throw new UnsupportedError(
        'ERR_UNSUPPORTED',
        `${this.#where}: has no ${WEIGHTS} and no ${INDEX}; files of other formats (pytorch_model.bin) are pickles: save them once with save_pretrained(safe_serialization=True)`,
        { details: { what: 'model without safetensors' } },
      )
    this.#file = openModelTensors(folder, options)
    try {
      this.#file.requireKnown()
      for (const [name, { shape }] of this.#file.tensors) this.#place(known, name, shape)
    } catch (error) {
      this.close()
      throw error
    }
  }

  #place(known: KnownNames, name: string, shape: readonly number[]): void {
    const canonical = known.canonical(name)
    if (canonical === undefined) return
    const before = this.#places.get(canonical)
    if (before) throw this.#error(`tensors ${JSON.stringify(before.name)} and ${JSON.stringify(name)} are the same weight`, name)
    this.#places.set(canonical, { name, shape })
  }

  #error(message: string, tensor?: string): ModelFormatError {
    return new ModelFormatError('ERR_MODEL_FORMAT', `${this.#where}: ${message}`, {
      details: { format: 'huggingface', reason: 'tensors', ...(tensor === undefined ? {} : { tensor }) },
    })
  }

  names(): IterableIterator<string> {
    return this.#places.keys()
  }

  has(name: string): boolean {
    return this.#places.has(name)
  }

  /** The name in the file. */
  original(name: string): string {
    return this.#places.get(name)?.name ?? name
  }

  /** Reads a tensor; `prefix` stands for "@" in messages. */
  read(name: string, prefix: string): RawTensor {
    const place = this.#places.get(name)
    if (!place) throw this.#error(`tensor ${JSON.stringify(name.replace('@', `${prefix}.`))} is missing`, name)
    return this.#file.readTensor(place.name)
  }

  close(): void {
    this.#file.close()
  }
}
