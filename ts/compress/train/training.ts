/**
 * The training loop: one for the command line, for passes that retrain and for users. Cross-entropy on the model's class scores, any
 * optimizer and schedule of ts/optim.
 *
 * Contract: the model given is not changed. The same model, data, settings and starting state give the same bits, whatever the thread count
 * and however often the training was interrupted and continued. A step is all or nothing: NaN or infinity in loss or gradients is
 * ERR_NUMERIC before a weight moves, and a state that is not finite is never handed to `checkpoint`. Pruned weights stay exactly 0.
 */
import { CheckpointError, isTersorError, NumericError } from '../../base/errors.js'
import { BatchIterator } from '../../data/batches.js'
import type { Dataset } from '../../data/dataset.js'
import type { Model } from '../../nn/index.js'
import { lrAt } from '../../optim/index.js'
import { accuracy } from './accuracy.js'
import { checkTask, type TrainControl, type TrainHooks, type TrainResult, type TrainStart } from './contract.js'
import { Meter } from './meter.js'
import { pacer } from '../../base/pace.js'
import type { TrainSettings } from './settings.js'
import { snapshotsOf, type TrainState } from './state.js'
import { TrainStep } from './step.js'
import { WorkingCopy } from './working-copy.js'

/** @internal Training without a note in the history: what passes use. */
export async function runTraining(
  model: Model,
  data: Dataset,
  settings: TrainSettings,
  hooks: TrainHooks,
  start: TrainStart,
  control: TrainControl,
): Promise<TrainResult> {
  checkTask(model, data, settings, start)
  const breathe = pacer('train', hooks.signal)
  await breathe()
  const run = new Training(model, data, settings, hooks, start, control)
  let finished = false
  try {
    const result = await run.run(breathe)
    finished = true
    return result
  } finally {
    run.close(finished)
  }
}

class Training {
  readonly #copy: WorkingCopy
  /** The averaged weights, with `ema`. */
  readonly #average: WorkingCopy | undefined
  readonly #stepper: TrainStep
  readonly #batches: BatchIterator
  readonly #stepsPerEpoch: number
  readonly #steps: number
  readonly #firstStep: number
  readonly #meter: Meter
  readonly #snapshots = new Map<number, TrainState>()
  readonly #resumed: boolean
  #step: number

  constructor(
    model: Model,
    private readonly data: Dataset,
    private readonly settings: TrainSettings,
    private readonly hooks: TrainHooks,
    start: TrainStart,
    private readonly control: TrainControl,
  ) {
    const { batchSize, seed, epochs } = settings
    const order = { batchSize, seed }
    const { batchesPerEpoch } = new BatchIterator(data.size, order)
    const { resume, fromEpoch = 0 } = start
    this.#stepsPerEpoch = batchesPerEpoch
    this.#steps = epochs * batchesPerEpoch
    this.#firstStep = fromEpoch * batchesPerEpoch
    this.#resumed = resume !== undefined
    this.#step = resume?.step ?? this.#firstStep
    const epoch = Math.floor(this.#step / batchesPerEpoch)
    const position = { size: data.size, order: 'shuffled', dropLast: false, epoch, batch: this.#step % batchesPerEpoch, ...order }
    this.#batches = new BatchIterator(data.size, order, position)
    this.#copy = new WorkingCopy(model)
    this.#average = settings.ema ? new WorkingCopy(model) : undefined
    this.#stepper = new TrainStep(this.#copy, this.#average, data, settings, (...where) => this.#numericError(...where))
    this.#meter = new Meter(hooks.label ?? 'train', hooks.onEvent, resume)
    try {
      this.#begin(start)
    } catch (error) {
      this.close(false)
      throw error
    }
  }

  #begin({ resume, values, slots }: TrainStart): void {
    if (values) {
      for (const copy of [this.#copy, this.#average])
        if (copy) {
          copy.restore(values, 'values')
          copy.applyMasks()
        }
    }
    const { optimizer, lossScale } = this.#stepper
    if (slots) optimizer.restore(slots.slots, slots.updates)
    if (!resume) return
    this.#copy.restore(resume.values, 'all')
    optimizer.restore(resume.slots, resume.updates)
    this.#average?.restore(resume.average ?? new Map(), 'all')
    if (!lossScale) return
    if (!resume.lossScale)
      throw new CheckpointError('ERR_CHECKPOINT', 'train: the saved state has no loss scale', { details: { reason: 'lossScale' } })
    lossScale.restore(resume.lossScale)
  }

  close(finished: boolean): void {
    this.#stepper.dispose()
    if (finished) return
    this.#copy.dispose()
    this.#average?.dispose()
  }

  async run(breathe: () => Promise<void>): Promise<TrainResult> {
    const { hooks } = this
    const { epochs } = this.settings
    this.#meter.start({
      firstStep: this.#firstStep,
      step: this.#step,
      steps: this.#steps,
      epochs,
      stepsPerEpoch: this.#stepsPerEpoch,
      examples: this.data.size,
    })
    // A state may have been saved between a step and the evaluation that belongs to it.
    let stopped = this.#resumed ? await this.#settle(breathe) : false
    if (!this.#resumed) this.#snapshot()
    while (this.#step < this.#steps && !stopped) {
      this.#one()
      this.#step++
      try {
        stopped = await this.#settle(breathe)
        if (!stopped) hooks.checkpoint?.(this.#state, false)
        await breathe()
      } catch (error) {
        if (isTersorError(error) && error.code === 'ERR_ABORTED') hooks.checkpoint?.(this.#state, true)
        throw error
      }
    }
    const state = this.#state()
    this.#meter.end(this.#step)
    this.#average?.follow(this.#copy)
    return {
      model: this.#copy.release(),
      ...(this.#average ? { average: this.#average.release() } : {}),
      skipped: this.#stepper.skipped,
      state,
      snapshots: snapshotsOf(this.#snapshots),
      epochs: state.epochs,
      stopped,
    }
  }

  /** Evaluates where it is due and closes the epoch; true when the stop rule is met. Doing it twice for the same step changes nothing. */
  async #settle(breathe: () => Promise<void>): Promise<boolean> {
    const { validation } = this.hooks
    const { stop } = this.control
    const atEnd = this.#step % this.#stepsPerEpoch === 0
    const due = validation !== undefined && (atEnd || (stop !== undefined && this.#step % stop.everySteps === 0))
    if (due) this.#average?.follow(this.#copy)
    const found = due ? await accuracy((this.#average ?? this.#copy).model, validation, breathe) : undefined
    if (atEnd && this.#meter.open) {
      this.#meter.epoch(this.#step / this.#stepsPerEpoch, this.settings.epochs, this.#step, this.#lr(this.#step - 1), found)
      this.#snapshot()
    }
    return stop !== undefined && found !== undefined && found >= stop.accuracy
  }

  #lr(step: number): number {
    return lrAt(this.settings.schedule, step, this.#steps)
  }

  #snapshot(): void {
    const epoch = this.#step / this.#stepsPerEpoch
    if (!Number.isInteger(epoch) || !this.hooks.snapshotEpochs?.includes(epoch)) return
    const state = this.#state()
    this.#snapshots.set(epoch, state)
    this.hooks.onSnapshot?.(epoch, state)
  }

  readonly #state = (): TrainState => ({
    settings: this.settings,
    examples: this.data.size,
    step: this.#step,
    updates: this.#stepper.optimizer.updates,
    ...this.#meter.state(),
    values: this.#copy.save(this.#step),
    slots: this.#stepper.optimizer.save(),
    ...(this.#average ? { average: this.#average.save(this.#step) } : {}),
    ...(this.#stepper.lossScale ? { lossScale: this.#stepper.lossScale.state() } : {}),
  })

  /** One step: all or nothing. */
  #one(): void {
    const step = this.#step
    const { indices, epoch } = this.#batches.next()
    const lr = this.#lr(step)
    this.control.onLr?.(step, lr)
    this.control.beforeStep?.(step, this.#copy.leaves)
    const loss = this.#stepper.run(indices, step, lr)
    this.#meter.step(epoch, step + 1, this.#steps, loss, lr, indices.length)
  }

  /** Looks for the place where the trouble came from: the data, a weight, or the sum of it all. */
  #numericError(loss: number, indices: Uint32Array, step: number): never {
    if (this.data.input === 'numbers') {
      const { x } = this.data.batch(indices)
      const bad = x.findIndex((v) => !Number.isFinite(v))
      const row = Math.floor(bad / (x.length / indices.length))
      if (bad >= 0)
        throw new NumericError('ERR_NUMERIC', `train: sample ${indices[row]} of ${this.data.name} holds ${x[bad]} (step ${step})`, {
          details: { stage: 'train', tensor: this.data.name, index: indices[row], step },
        })
    }
    this.#copy.checkFinite(step)
    const { precision } = this.settings
    throw new NumericError(
      'ERR_NUMERIC',
      `train: the loss is ${loss} at step ${step} although data and weights are finite: lower the learning rate${precision === 'f16' ? ', or activations pass 65504 (f16)' : ''}`,
      {
        details: { stage: 'train', tensor: 'loss', index: 0, step },
      },
    )
  }
}
