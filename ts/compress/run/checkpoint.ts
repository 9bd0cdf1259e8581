/**
 * Checkpoints of a compression: what it takes to go on as if nothing had happened.
 *
 *   tersor-run-<generation>.safetensors     place in the recipe, outcomes, statistics, state of the pass that was running
 *   tersor-model-<generation>.safetensors   the model at the beginning of that pass, written once per pass
 *
 * Every file is written atomically and carries checksums. Two generations are kept: when the newest is damaged the one before is taken and
 * the run says so. A checkpoint of another model, recipe, data set or version is ERR_CHECKPOINT. Generations count up; clocks do not matter.
 */
import type { RawTensor } from '../../base/dtype.js'
import { CheckpointError, isTersorError } from '../../base/errors.js'
import { parseJson, toPlain } from '../../base/json.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { readSafetensors, writeSafetensors } from '../../formats/index.js'
import { Workspace } from '../../formats/workspace.js'
import { loadModel, saveModel } from '../../models/file.js'
import type { Model } from '../../nn/index.js'
import type { RunKey } from './fingerprint.js'
import { progressFault } from './progress.js'

const FORMAT = 1
const KEY = 'tersor.checkpoint'
const runFile = /^tersor-run-([0-9]{12})\.safetensors$/
const modelFile = /^tersor-model-([0-9]{12})\.safetensors$/
const KEPT = 2

const numbered = (what: 'run' | 'model', n: number): string => `tersor-${what}-${String(n).padStart(12, '0')}.safetensors`

const brief = (value: Json | undefined): string => (typeof value === 'string' && value !== '' ? value.slice(0, 16) : 'none')

/** What the runner saves. */
export interface Progress {
  readonly json: JsonObject
  readonly tensors: ReadonlyMap<string, RawTensor>
}

export interface Restored extends Progress {
  readonly generation: number
  /** The model at the beginning of the pass; undefined: the model that the run began with. */
  readonly model: Model | undefined
  /** Its file. */
  readonly modelName: string | null
  /** True when a newer generation was damaged. */
  readonly fallback: boolean
}

function bad(reason: string, message: string, cause?: unknown): CheckpointError {
  return new CheckpointError('ERR_CHECKPOINT', `checkpoint: ${message}`, { details: { reason }, cause })
}

export class CheckpointStore {
  readonly #space: Workspace
  readonly #key: RunKey
  /** Model files that each kept generation needs. */
  readonly #kept = new Map<number, string | null>()
  #generation: number

  /** Locks the directory. */
  constructor(dir: string, key: RunKey) {
    this.#space = new Workspace(dir)
    this.#key = key
    this.#generation = Math.max(0, ...this.#generations())
  }

  #generations(): number[] {
    return this.#space
      .list()
      .flatMap((name) => runFile.exec(name)?.[1] ?? modelFile.exec(name)?.[1] ?? [])
      .map(Number)
  }

  /** The newest checkpoint that is whole, or undefined when there is none at all. */
  load(): Restored | undefined {
    const found = this.#space.list().flatMap((name) => (runFile.test(name) ? [name] : []))
    const damage: unknown[] = []
    for (const name of found.sort().reverse()) {
      try {
        const restored = this.#read(name, damage.length > 0)
        this.#kept.set(restored.generation, restored.modelName)
        return restored // what is older or damaged goes with the next save
      } catch (error) {
        // Damaged files fall through to the generation before; a checkpoint that is whole but not ours does not.
        if (!isTersorError(error) || (error.code === 'ERR_CHECKPOINT' && error.details.reason !== 'damaged')) throw error
        damage.push(error)
      }
    }
    if (damage.length === 0) return undefined
    throw bad(
      'damaged',
      `no usable checkpoint in '${this.#space.dir}': ${(damage[0] as Error).message}; start again without resume`,
      damage[0],
    )
  }

  #read(name: string, fallback: boolean): Restored {
    const { tensors, metadata } = readSafetensors(this.#space.path(name), { checksums: 'require' })
    const head = toPlain(
      parseJson(metadata.get(KEY) ?? 'null', { where: 'checkpoint', maxDepth: 64, maxString: 2 ** 26 }),
    ) as JsonObject | null
    if (typeof head !== 'object' || head === null || typeof head.key !== 'object' || head.key === null)
      throw bad('damaged', `'${name}' is not a checkpoint`)
    if (head.format !== FORMAT) throw bad('version', `'${name}' has format ${JSON.stringify(head.format)}, this version reads ${FORMAT}`)
    const key = head.key as JsonObject
    for (const part of Object.keys(this.#key))
      if (key[part] !== this.#key[part])
        throw bad(
          part,
          `'${name}' belongs to another run: its ${part} is not the same (${brief(key[part])}, now ${brief(this.#key[part])})`,
        )
    const modelName = head.model ?? null
    if (modelName !== null && (typeof modelName !== 'string' || !modelFile.test(modelName)))
      throw bad('damaged', `'${name}' names no model file`)
    const fault = progressFault(head.progress, tensors)
    if (fault !== undefined) throw bad('damaged', `'${name}': ${fault}`)
    return {
      generation: Number(runFile.exec(name)![1]),
      fallback,
      json: head.progress as JsonObject,
      tensors,
      modelName,
      model: modelName === null ? undefined : loadModel(this.#space.path(modelName), { checksums: 'require' }),
    }
  }

  /** Writes the model that the next checkpoints begin from; gives its name. */
  saveModel(model: Model): string {
    const name = numbered('model', ++this.#generation)
    saveModel(model, this.#space.path(name))
    return name
  }

  /** Writes a generation and removes those before the last one. */
  save(progress: Progress, modelName: string | null): { readonly generation: number; readonly bytes: number } {
    const generation = ++this.#generation
    const head: Json = { format: FORMAT, key: this.#key, model: modelName, progress: progress.json }
    const bytes = writeSafetensors(this.#space.path(numbered('run', generation)), progress.tensors, {
      metadata: { [KEY]: JSON.stringify(head) },
    })
    this.#kept.set(generation, modelName)
    for (const old of [...this.#kept.keys()].sort((a, b) => b - a).slice(KEPT)) this.#kept.delete(old)
    this.#prune()
    return { generation, bytes }
  }

  /** Removes the files of checkpoints that are not among the kept ones, and no other file. */
  #prune(): void {
    const models = new Set(this.#kept.values())
    for (const name of this.#space.list()) {
      const run = runFile.exec(name)
      const stale = run ? !this.#kept.has(Number(run[1])) : modelFile.test(name) && !models.has(name)
      if (stale) this.#space.remove(name)
    }
  }

  clear(): void {
    this.#kept.clear()
    this.#prune()
  }

  /** Unlocks the directory. */
  close(): void {
    this.#space.close()
  }
}

/** Removes the checkpoints in a directory, when their result is safe elsewhere. ERR_BUSY when a run is using them. */
export function removeCheckpoints(dir: string): void {
  const space = new Workspace(dir)
  try {
    for (const name of space.list()) if (runFile.test(name) || modelFile.test(name)) space.remove(name)
  } finally {
    space.close()
  }
}
