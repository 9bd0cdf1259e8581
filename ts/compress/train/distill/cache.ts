/**
 * Teacher outputs of every sample of a task, computed once: in memory, and in a folder where one is given. A file belongs to one teacher and one set of
 * data, by a fingerprint in its name and in its head; one that is damaged or of something else is made anew. Above the budget nothing is kept.
 */
import { isTersorError } from '../../../base/errors.js'
import { readSafetensors, writeSafetensors } from '../../../formats/safetensors.js'
import { sha256Hex } from '../../../formats/safetensors-digest.js'
import { fileInFolder } from '../../../formats/workspace.js'
import type { Model } from '../../../nn/index.js'
import { modelHash } from '../../run/fingerprint.js'
import type { TrainTask } from '../task.js'
import { askAll, type KeptOutputs } from './teacher.js'

const KEY = 'tersor.teacher'
const BUDGET = 256 * 2 ** 20

export class TeacherCache {
  readonly #known = new Map<Model, Promise<KeptOutputs | undefined>>()

  constructor(
    private readonly dir: string | undefined,
    private readonly budget = BUDGET,
  ) {}

  /** The teacher's outputs for all samples of the task, or undefined where they are too many. The teacher is asked once. */
  of(task: TrainTask, teacher: Model, breathe: () => Promise<void>): Promise<KeptOutputs | undefined> {
    let found = this.#known.get(teacher)
    if (!found) {
      found = this.#make(task, teacher, breathe)
      this.#known.set(teacher, found)
      // An abort is not an answer: the next training asks again.
      found.catch(() => this.#known.delete(teacher))
    }
    return found
  }

  async #make(task: TrainTask, teacher: Model, breathe: () => Promise<void>): Promise<KeptOutputs | undefined> {
    if (!this.dir) return askAll(teacher, task.examples, task.bySample!, this.budget, breathe)
    const key = sha256Hex(
      new TextEncoder().encode(JSON.stringify([modelHash(teacher), task.kind, task.name, task.examples, task.options ?? {}, this.budget])),
    )
    const file = fileInFolder('teacher outputs', this.dir, `tersor-teacher-${key.slice(0, 16)}.safetensors`)
    const kept = read(file, key, task.examples)
    if (kept) return kept
    const made = await askAll(teacher, task.examples, task.bySample!, this.budget, breathe)
    if (made) this.#write(file, key, task.examples, made)
    return made
  }

  #write(file: string, key: string, examples: number, { values, shape }: KeptOutputs): void {
    const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    writeSafetensors(file, new Map([['outputs', { dtype: 'f32' as const, shape: [examples, ...shape], data }]]), {
      metadata: { [KEY]: key },
    })
  }
}

/** undefined where there is no such file, or it is not what it should be. */
function read(file: string, key: string, examples: number): KeptOutputs | undefined {
  try {
    const { tensors, metadata } = readSafetensors(file, { checksums: 'require' })
    const raw = tensors.get('outputs')
    if (metadata.get(KEY) !== key || raw?.dtype !== 'f32' || raw.shape[0] !== examples) return undefined
    const { data, shape } = raw
    const values = new Float32Array(data.slice().buffer)
    return { values, width: values.length / Math.max(examples, 1), shape: shape.slice(1) }
  } catch (error) {
    if (isTersorError(error)) return undefined
    throw error
  }
}
