/**
 * safetensors over several files: NAME-00001-of-00003.safetensors and NAME.safetensors.index.json, which says where each tensor is, as Hugging Face
 * writes them. Reading opens shards beneath the folder only and reads one tensor at a time; writing holds one shard in memory.
 */
import path from 'node:path'
import type { RawTensor } from '../base/dtype.js'
import { ModelFormatError, OptionError } from '../base/errors.js'
import { parseJson, type JsonValue } from '../base/json.js'
import { makeFolder, writeFileAtomic, type WriteOptions } from './atomic.js'
import type { BeneathOptions } from './beneath.js'
import { readRegularFile } from './files.js'
import { nodeIo } from './io.js'
import { formatContext, formatError, limitError, type FormatContext } from './limits.js'
import {
  openSafetensors,
  openSafetensorsBeneath,
  writeSafetensors,
  type SafetensorsFile,
  type SafetensorsReadOptions,
} from './safetensors.js'
import type { TensorEntry } from './safetensors-header.js'

const INDEX = '.safetensors.index.json'

/** Open shards as one file: indexes in memory, tensors read when asked for. Close it. */
export class ShardedSafetensors {
  /** In the order of the shards; without those of dtypes that Tersor has not (reading one is ERR_UNSUPPORTED). */
  readonly tensors: ReadonlyMap<string, TensorEntry>
  readonly #files: readonly SafetensorsFile[]
  readonly #places: ReadonlyMap<string, SafetensorsFile>
  readonly #where: string

  /** @internal Use `openSharded`. */
  constructor(where: string, files: readonly SafetensorsFile[], places: ReadonlyMap<string, SafetensorsFile>) {
    this.#where = where
    this.#files = files
    this.#places = places
    this.tensors = new Map(
      [...places].flatMap(([name, file]) => (file.tensors.has(name) ? [[name, file.tensors.get(name)!] as const] : [])),
    )
  }

  /** A tensor of a dtype that Tersor has not is ERR_UNSUPPORTED. */
  requireKnown(): void {
    for (const file of this.#files) file.requireKnown()
  }

  readTensor(name: string): RawTensor {
    const file = this.#places.get(name)
    if (!file) throw new OptionError('ERR_OPTION', `${this.#where}: no tensor ${JSON.stringify(name)}`, { details: { tensor: name } })
    return file.readTensor(name)
  }

  close(): void {
    for (const file of this.#files) file.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }
}

/** weight_map as tensors by file. */
function readMap(ctx: FormatContext, json: JsonValue): Map<string, Set<string>> {
  const map = json instanceof Map ? json.get('weight_map') : undefined
  if (!(map instanceof Map)) throw formatError(ctx, 'type', 'weight_map must map tensors to files')
  const files = new Map<string, Set<string>>()
  for (const [tensor, file] of map) {
    if (typeof file !== 'string') throw formatError(ctx, 'type', 'weight_map must name a file', { tensor })
    const set = files.get(file) ?? new Set()
    files.set(file, set.add(tensor))
  }
  if (files.size > ctx.limits.shards) throw limitError(ctx.where, 'shards', files.size, ctx.limits.shards)
  return files
}

/**
 * Opens the shards that an index names. Every tensor of a shard must be in the index, and the other way round.
 *
 * - an index that does not agree with its shards: ERR_MODEL_FORMAT; shards outside the folder or behind links: ERR_PATH
 *
 * @example
 * const file = openSharded('model/model.safetensors.index.json')
 * file.readTensor('lm_head.weight')
 * file.close()
 */
export function openSharded(index: string, options: SafetensorsReadOptions & BeneathOptions = {}): ShardedSafetensors {
  const ctx = formatContext('safetensors', index, options)
  const { jsonBytes, jsonDepth } = ctx.limits
  const bytes = readRegularFile(index, { ...options, maxBytes: jsonBytes })
  const wanted = readMap(ctx, parseJson(bytes, { where: ctx.where, format: 'safetensors', maxDepth: jsonDepth }))
  const files: SafetensorsFile[] = []
  const places = new Map<string, SafetensorsFile>()
  try {
    for (const [name, tensors] of wanted) {
      const file = openSafetensorsBeneath(path.dirname(index), name, options)
      files.push(file)
      const missing = [...tensors].find((t) => !file.tensors.has(t) && !file.foreign.has(t))
      if (missing !== undefined) throw formatError(ctx, 'missing', `${name} does not hold it, the index says so`, { tensor: missing })
      const strange = [...file.tensors.keys(), ...file.foreign.keys()].find((t) => !tensors.has(t))
      if (strange !== undefined) throw formatError(ctx, 'unknown', `${name} holds it, the index does not say so`, { tensor: strange })
      for (const tensor of tensors) places.set(tensor, file)
    }
  } catch (error) {
    for (const file of files) file.close()
    throw error
  }
  return new ShardedSafetensors(ctx.where, files, places)
}

/** A tensor whose bytes are made when its shard is written. */
export interface LazyTensor extends Omit<RawTensor, 'data'> {
  readonly bytes: number
  readonly read: () => Uint8Array
}

export interface ShardOptions extends WriteOptions {
  /** Bytes of tensors in one file; a larger tensor gets a file of its own. Default 5 GB. */
  readonly maxShardBytes?: number
  /** Beginning of the file names. Default 'model'. */
  readonly name?: string
  readonly metadata?: Readonly<Record<string, string>>
  readonly checksums?: boolean
  readonly onShard?: (file: string, done: number, total: number) => void
}

/** Tensors in the order given, cut where the next one does not fit. */
function cut(tensors: Iterable<readonly [string, LazyTensor]>, max: number): (readonly [string, LazyTensor])[][] {
  const shards: (readonly [string, LazyTensor])[][] = [[]]
  let bytes = 0
  for (const entry of tensors) {
    if (bytes > 0 && bytes + entry[1].bytes > max) {
      shards.push([])
      bytes = 0
    }
    shards[shards.length - 1]!.push(entry)
    bytes += entry[1].bytes
  }
  return shards
}

/**
 * Writes tensors over as many files as they need, the index last; one file (NAME.safetensors, no index) where that is enough. Gives the names.
 * Every file is whole or the old one; a folder that is missing is made (ERR_IO where that fails).
 *
 * - maxShardBytes that is no positive integer, a folder that already holds the other form under the same name: ERR_OPTION
 */
export function writeSharded(folder: string, tensors: Iterable<readonly [string, LazyTensor]>, options: ShardOptions = {}): string[] {
  const { maxShardBytes = 5e9, name = 'model', onShard, metadata = {}, ...write } = options
  const where = `write '${folder}'`
  if (!Number.isSafeInteger(maxShardBytes) || maxShardBytes < 1)
    throw new OptionError('ERR_OPTION', `${where}: maxShardBytes must be an integer >= 1, got ${maxShardBytes}`)
  const shards = cut(tensors, maxShardBytes)
  const other = path.join(folder, shards.length > 1 ? `${name}.safetensors` : name + INDEX)
  makeFolder(folder)
  if ((options.io ?? nodeIo).readdir(folder).includes(path.basename(other)))
    throw new OptionError('ERR_OPTION', `${where}: ${path.basename(other)} is there and would be taken for the model; remove it first`)
  const pad = (n: number): string => String(n).padStart(5, '0')
  const names = shards.map((_, i) =>
    shards.length > 1 ? `${name}-${pad(i + 1)}-of-${pad(shards.length)}.safetensors` : `${name}.safetensors`,
  )
  const map: Record<string, string> = Object.create(null) as Record<string, string>
  let total = 0
  for (const [i, shard] of shards.entries()) {
    const made = shard.map(([key, { dtype, shape, read }]) => [key, { dtype, shape, data: read() }] as const)
    writeSafetensors(path.join(folder, names[i]!), made, { ...write, metadata })
    for (const [key, { bytes }] of shard) {
      map[key] = names[i]!
      total += bytes
    }
    onShard?.(names[i]!, i + 1, shards.length)
  }
  if (shards.length === 1) return names
  const index = JSON.stringify({ metadata: { total_size: total }, weight_map: map }, null, 2)
  writeFileAtomic(path.join(folder, name + INDEX), [new TextEncoder().encode(`${index}\n`)], write)
  return [...names, name + INDEX]
}

/** What a folder holds under NAME: one file or shards. */
export function openModelTensors(
  folder: string,
  options: SafetensorsReadOptions & BeneathOptions = {},
  name = 'model',
): SafetensorsFile | ShardedSafetensors {
  const files = (options.io ?? nodeIo).readdir(folder)
  if (files.includes(`${name}.safetensors`)) return openSafetensors(path.join(folder, `${name}.safetensors`), options)
  if (files.includes(name + INDEX)) return openSharded(path.join(folder, name + INDEX), options)
  throw new ModelFormatError('ERR_MODEL_FORMAT', `'${folder}': has no ${name}.safetensors and no ${name}${INDEX}`, {
    details: { format: 'safetensors', reason: 'missing', path: folder },
  })
}
