/**
 * Checkpoints of a training in a directory of their own: `tersor-train-<generation>.safetensors`, each the whole state (with `keepBest` the best weights
 * too). Every file is written atomically and carries checksums; the last two generations are kept. A generation that is half written, damaged or no
 * checkpoint at all falls back to the one before, and says so; one that is whole but of another model, task, data, settings or version is
 * ERR_CHECKPOINT and nothing is taken instead; one that cannot be read for the moment (ERR_IO, ERR_MEMORY_BUDGET) ends the attempt. Generations count up; clocks do not matter.
 */
import { CheckpointError, isTersorError } from '../../base/errors.js'
import { parseJson, toPlain } from '../../base/json.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { VERSION } from '../../base/version.js'
import { readSafetensors, writeSafetensors } from '../../formats/index.js'
import { Workspace } from '../../formats/workspace.js'
import type { Model } from '../../nn/index.js'
import { modelHash } from '../run/fingerprint.js'
import { plainSettings, type TrainSettings } from './settings.js'
import { packState, unpackState, type TrainState } from './state.js'
import type { TrainTask } from './task.js'

const FORMAT = 2
const KEY = 'tersor.training'
const FILE = /^tersor-train-([0-9]{12})\.safetensors$/
const KEPT = 2
/** Failures that say nothing of the file: it may be read later. */
const PASSING: ReadonlySet<string> = new Set(['ERR_IO', 'ERR_MEMORY_BUDGET', 'ERR_ABORTED'])

const nameOf = (generation: number): string => `tersor-train-${String(generation).padStart(12, '0')}.safetensors`
const generationOf = (name: string): number => Number(FILE.exec(name)![1])

/** Everything that must be the same for a training to go on. */
export interface TrainKey extends JsonObject {
  readonly version: string
  readonly model: string
  readonly task: string
  readonly data: string
  readonly examples: number
  readonly options: JsonObject
  readonly settings: JsonObject
}

export function trainKey(model: Model, task: TrainTask, settings: TrainSettings): TrainKey {
  const { kind, name, examples, options = {} } = task
  return { version: VERSION, model: modelHash(model), task: kind, data: name, examples, options, settings: plainSettings(settings) }
}

export interface RestoredTraining {
  readonly state: TrainState
  readonly generation: number
  /** The newer generation that could not be used, and why. */
  readonly fallback?: { readonly generation: number; readonly reason: string }
}

function bad(reason: string, message: string, cause?: unknown): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT', `checkpoint: ${message}`, { details: { reason }, cause })
}

const brief = (value: Json | undefined): string => {
  const text = typeof value === 'string' ? value : JSON.stringify(value ?? null)
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}

export class TrainCheckpoints {
  readonly #space: Workspace
  readonly #key: TrainKey
  /** Generations on disk that are known to be whole, ascending. */
  #kept: number[] = []
  #generation: number

  /** Locks the directory (made if missing); another run that uses it is ERR_BUSY. */
  constructor(dir: string, key: TrainKey) {
    this.#space = new Workspace(dir)
    this.#key = key
    this.#generation = Math.max(0, ...this.#files().map(generationOf))
  }

  #files(): string[] {
    return this.#space
      .list()
      .filter((name) => FILE.test(name))
      .sort()
  }

  /** The newest checkpoint that is whole, or undefined when there is none at all. */
  load(): RestoredTraining | undefined {
    let newest: { readonly generation: number; readonly error: Error } | undefined
    for (const name of this.#files().reverse()) {
      const generation = generationOf(name)
      try {
        const state = this.#read(name)
        this.#kept = [generation]
        return { state, generation, ...(newest ? { fallback: { generation: newest.generation, reason: newest.error.message } } : {}) }
      } catch (error) {
        // What is damaged falls through to the generation before; a checkpoint that is whole but not ours, or cannot be read now, does not.
        if (!isTersorError(error) || error.details.foreign === true || PASSING.has(error.code)) throw error
        newest ??= { generation, error }
      }
    }
    if (!newest) return undefined
    throw bad('damaged', `no usable checkpoint in '${this.#space.dir}': ${newest.error.message}; start again without resume`, newest.error)
  }

  #read(name: string): TrainState {
    const { tensors, metadata } = readSafetensors(this.#space.path(name), { checksums: 'require' })
    const head = toPlain(parseJson(metadata.get(KEY) ?? 'null', { where: 'checkpoint', maxDepth: 64, maxString: 2 ** 26 }))
    if (typeof head !== 'object' || head === null || Array.isArray(head)) throw bad('damaged', `'${name}' is no checkpoint of a training`)
    const { format, key, state } = head as JsonObject
    if (typeof key !== 'object' || key === null || typeof state !== 'object' || state === null)
      throw bad('damaged', `'${name}' holds no state`)
    const other = (part: string, message: string): CheckpointError =>
      new CheckpointError('ERR_CHECKPOINT', `checkpoint: '${name}' ${message}`, { details: { reason: part, foreign: true } })
    if (format !== FORMAT) throw other('version', `has format ${brief(format)}, this version reads ${FORMAT}`)
    for (const [part, now] of Object.entries(this.#key)) {
      const then = (key as JsonObject)[part]
      if (JSON.stringify(then) !== JSON.stringify(now))
        throw other(
          part,
          `belongs to another training: its ${part} ${part === 'settings' || part === 'options' ? 'are' : 'is'} ${difference(then, now)}`,
        )
    }
    return unpackState(state, tensors)
  }

  /** Writes a generation and removes those before the last one. */
  save(state: TrainState): { readonly generation: number; readonly bytes: number } {
    const generation = ++this.#generation
    const { json, tensors } = packState(state)
    const head: Json = { format: FORMAT, key: this.#key, state: json }
    const bytes = writeSafetensors(this.#space.path(nameOf(generation)), tensors, { metadata: { [KEY]: JSON.stringify(head) } })
    this.#kept = [...this.#kept, generation].slice(-KEPT)
    this.#prune()
    return { generation, bytes }
  }

  #prune(): void {
    for (const name of this.#files()) if (!this.#kept.includes(generationOf(name))) this.#space.remove(name)
  }

  /** Removes all generations. */
  clear(): void {
    this.#kept = []
    this.#prune()
  }

  /** Unlocks the directory. */
  close(): void {
    this.#space.close()
  }
}

/** What differs, down to the setting. */
function difference(then: Json | undefined, now: Json | undefined): string {
  if (typeof then === 'object' && typeof now === 'object' && then && now && !Array.isArray(then) && !Array.isArray(now)) {
    const [a, b] = [then as JsonObject, now as JsonObject]
    const name = Object.keys({ ...a, ...b }).find((k) => JSON.stringify(a[k]) !== JSON.stringify(b[k]))
    if (name !== undefined) return `not the same: ${name} ${brief(a[name])}, now ${brief(b[name])}`
  }
  return `${brief(then)}, now ${brief(now)}`
}

/** Removes the checkpoints of a training when its result is safe elsewhere. ERR_BUSY when a training is using them. */
export function removeTrainCheckpoints(dir: string): void {
  const space = new Workspace(dir)
  try {
    for (const name of space.list()) if (FILE.test(name)) space.remove(name)
  } finally {
    space.close()
  }
}
