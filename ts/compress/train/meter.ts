/** Running figures of a training and the events made of them. The sums are part of the training state: a resumed epoch reports the same mean. */
import type { TrainEvent, TrainStart } from '../events.js'
import type { EpochRecord } from '../outcome.js'
import type { TrainState } from './state.js'
import type { Metrics } from './task.js'

const EVENT_MS = 100

type MeterState = Pick<TrainState, 'lossSum' | 'seen' | 'epochs'>

export class Meter {
  readonly records: EpochRecord[]
  readonly #label: string
  readonly #emit: ((event: TrainEvent) => void) | undefined
  readonly #began = performance.now()
  #lossSum: number
  #seen: number
  #epochBegan = performance.now()
  // since the last step event
  #recentLoss = 0
  #recentSeen = 0
  #recentBegan = performance.now()

  constructor(label: string, emit: ((event: TrainEvent) => void) | undefined, from?: MeterState) {
    this.#label = label
    this.#emit = emit
    this.#lossSum = from?.lossSum ?? 0
    this.#seen = from?.seen ?? 0
    this.records = [...(from?.epochs ?? [])]
  }

  start(facts: Omit<TrainStart, 'type' | 'label' | 'at'>): void {
    this.#emit?.({ type: 'train-start', label: this.#label, ...facts })
  }

  /** `step` steps are done. */
  step(epoch: number, step: number, steps: number, loss: number, lr: number, examples: number): void {
    this.#lossSum += loss * examples
    this.#seen += examples
    this.#recentLoss += loss * examples
    this.#recentSeen += examples
    const now = performance.now()
    if (!this.#emit || now - this.#recentBegan < EVENT_MS || this.#recentSeen === 0) return
    const examplesPerSecond = (1000 * this.#recentSeen) / (now - this.#recentBegan)
    this.#emit({
      type: 'train-step',
      label: this.#label,
      epoch,
      step,
      steps,
      loss: this.#recentLoss / this.#recentSeen,
      lr,
      examplesPerSecond,
    })
    this.#recentLoss = 0
    this.#recentSeen = 0
    this.#recentBegan = now
  }

  /** The epoch is over. `tell` sends its event, with the best epoch so far. */
  close(epoch: number, step: number, lr: number, metrics: Metrics | undefined): EpochRecord {
    const record = {
      label: this.#label,
      epoch,
      step,
      loss: this.#lossSum / this.#seen,
      lr,
      ...(metrics?.accuracy === undefined ? {} : { accuracy: metrics.accuracy }),
      ...(metrics ? { metrics } : {}),
    }
    this.records.push(record)
    this.#lossSum = 0
    this.#seen = 0
    return record
  }

  tell(record: EpochRecord, epochs: number, best: number | undefined): void {
    const now = performance.now()
    const seconds = (now - this.#epochBegan) / 1000
    this.#emit?.({ type: 'train-epoch', ...record, epochs, seconds, ...(best === undefined ? {} : { best }) })
    this.#epochBegan = now
  }

  end(step: number): void {
    this.#emit?.({ type: 'train-end', label: this.#label, step, seconds: (performance.now() - this.#began) / 1000 })
  }

  /** True while the epoch is not closed. */
  get open(): boolean {
    return this.#seen > 0
  }

  state(): MeterState {
    return { lossSum: this.#lossSum, seen: this.#seen, epochs: [...this.records] }
  }
}
