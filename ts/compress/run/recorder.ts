/** Collects what a pass tells into its outcome. What is collected so far goes into checkpoints, so a resumed run reports the whole. */
import type { Json, JsonObject } from '../../base/json-types.js'
import type { CompressEvent } from '../events.js'
import type { EpochRecord, PassOutcome } from '../outcome.js'

type Note = PassOutcome['notes'][number]

export class Recorder {
  readonly #notes: Note[] = []
  readonly #epochs: EpochRecord[] = []
  readonly #figures: { [name: string]: Json } = {}
  /** Seconds spent before the run was interrupted. */
  readonly #earlier: number
  readonly #began = performance.now()

  constructor(saved?: JsonObject) {
    this.#earlier = saved ? (saved.seconds as number) : 0
    if (!saved) return
    this.#notes.push(...(saved.notes as unknown as Note[]))
    this.#epochs.push(...(saved.epochs as unknown as EpochRecord[]))
    Object.assign(this.#figures, saved.figures)
  }

  note(text: string, path?: string): void {
    // A resumed pass begins again and says the same again.
    if (!this.#notes.some((n) => n.text === text && n.path === path)) this.#notes.push(path === undefined ? { text } : { path, text })
  }

  figure(name: string, value: Json): void {
    this.#figures[name] = value
  }

  see(event: CompressEvent): void {
    if (event.type !== 'train-epoch') return
    const { label, epoch, step, loss, lr, accuracy, metrics } = event
    this.#epochs.push({ label, epoch, step, loss, lr, ...(accuracy === undefined ? {} : { accuracy }), ...(metrics ? { metrics } : {}) })
  }

  get seconds(): number {
    return this.#earlier + (performance.now() - this.#began) / 1000
  }

  save(): JsonObject {
    return {
      seconds: this.seconds,
      notes: this.#notes.map((n) => ({ ...n })),
      epochs: this.#epochs.map((e) => ({ ...e })),
      figures: { ...this.#figures },
    }
  }

  outcome(): Pick<PassOutcome, 'seconds' | 'notes' | 'epochs' | 'figures'> {
    return { seconds: this.seconds, notes: [...this.#notes], epochs: [...this.#epochs], figures: { ...this.#figures } }
  }
}
