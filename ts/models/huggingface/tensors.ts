/**
 * The tensors of a Hugging Face folder: model.safetensors, or the shards that model.safetensors.index.json lists. Indexes are read, tensors when asked
 * for. Names are canonical (names.ts).
 */
import type { RawTensor } from '../../base/dtype.js'
import { ModelFormatError, UnsupportedError } from '../../base/errors.js'
import { parseJson, toPlain } from '../../base/json.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import {
  nodeIo,
  openSafetensors,
  openSafetensorsBeneath,
  readRegularFile,
  type BeneathOptions,
  type SafetensorsFile,
  type SafetensorsReadOptions,
} from '../../formats/index.js'
import { formatContext, limitError, limitsOf } from '../../formats/limits.js'
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
  readonly #files: SafetensorsFile[] = []
  readonly #places = new Map<string, { readonly file: SafetensorsFile; readonly name: string; readonly shape: readonly number[] }>()
  readonly #where: string

  constructor(folder: string, known: KnownNames, options: HubReadOptions) {
    this.#where = `load '${folder}'`
    try {
      if (hasFile(folder, WEIGHTS, options)) this.#files.push(openSafetensors(`${folder}/${WEIGHTS}`, options))
      else if (hasFile(folder, INDEX, options)) this.#openShards(folder, options)
      else
        throw new UnsupportedError(
          'ERR_UNSUPPORTED',
          `${this.#where}: has no ${WEIGHTS} and no ${INDEX}; files of other formats (pytorch_model.bin) are pickles: save them once with save_pretrained(safe_serialization=True)`,
          { details: { what: 'model without safetensors' } },
        )
      for (const file of this.#files) file.requireKnown()
      for (const file of this.#files) for (const [name, { shape }] of file.tensors) this.#place(known, file, name, shape)
    } catch (error) {
      this.close()
      throw error
    }
  }

  #openShards(folder: string, options: HubReadOptions): void {
    const index = readJson(folder, INDEX, options)
    const map = typeof index === 'object' && index !== null && !Array.isArray(index) ? (index as JsonObject).weight_map : undefined
    if (typeof map !== 'object' || map === null || Array.isArray(map)) throw this.#error(`${INDEX}: weight_map must map tensors to files`)
    const names = new Map<string, Set<string>>()
    for (const [tensor, file] of Object.entries(map)) {
      if (typeof file !== 'string') throw this.#error(`${INDEX}: weight_map: ${JSON.stringify(tensor)} must name a file`)
      names.set(file, (names.get(file) ?? new Set()).add(tensor))
    }
    const { shards } = limitsOf(options)
    if (names.size > shards) throw limitError(formatContext('huggingface', folder, options).where, 'shards', names.size, shards)
    for (const [name, tensors] of names) {
      const file = openSafetensorsBeneath(folder, name, options)
      this.#files.push(file)
      const missing = [...tensors].find((t) => !file.tensors.has(t))
      if (missing !== undefined)
        throw this.#error(`${INDEX} says that ${name} holds ${JSON.stringify(missing)}, which it does not`, missing)
    }
  }

  #place(known: KnownNames, file: SafetensorsFile, name: string, shape: readonly number[]): void {
    const canonical = known.canonical(name)
    if (canonical === undefined) return
    const before = this.#places.get(canonical)
    if (before) throw this.#error(`tensors ${JSON.stringify(before.name)} and ${JSON.stringify(name)} are the same weight`, name)
    this.#places.set(canonical, { file, name, shape })
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
    return place.file.readTensor(place.name)
  }

  close(): void {
    for (const file of this.#files) file.close()
  }
}
