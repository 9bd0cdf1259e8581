/**
 * The training loop: one for the command line, for passes that retrain and for users, for every task (task.ts) with any optimizer and schedule of
 * ts/optim.
 *
 * Contract: the model given is not changed. The same model, task, settings and starting state give the same bits, whatever the thread count
 * and however often the training was interrupted and continued. A step is all or nothing: NaN or infinity in loss or gradients is
 * ERR_NUMERIC before a weight moves, and a state that is not finite is never handed to `checkpoint`. Pruned weights stay exactly 0.
 */
import { CheckpointError, isTersorError } from '../../base/errors.js'
import { pacer } from '../../base/pace.js'
import { interruptible } from '../../native/worker-job.js'
import type { Model } from '../../nn/index.js'
import { lrAt } from '../../optim/index.js'
import { bestOf, goalOf } from './best.js'
import { Carried } from './carried.js'
import { checkTask, type TrainControl, type TrainHooks, type TrainResult, type TrainStart } from './contract.js'
import type { LossOf } from './gradients.js'
import { Meter } from './meter.js'
import type { TrainSettings } from './settings.js'
import { snapshotsOf, type BestState, type TrainState } from './state.js'
import { TrainStep } from './step.js'
import { isBetter, type BatchSource, type MetricGoal, type Prepared, type TrainTask } from './task.js'
import { throwTrouble } from './trouble.js'
import { BESIDE, WorkingCopy } from './working-copy.js'

/** @internal Training without a note in the history: what passes use. */
export async function runTraining(
  model: Model,
  task: TrainTask,
  settings: TrainSettings,
  hooks: TrainHooks,
  start: TrainStart,
  control: TrainControl,
): Promise<TrainResult> {
  checkTask(model, task, settings, start)
  const breathe = pacer('train', hooks.signal)
  await breathe()
  const prepared = await task.prepare?.(model, settings, breathe)
  const run = new Training(model, task, settings, hooks, start, control, prepared)
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
  readonly #carried: Carried | undefined
  readonly #stepper: TrainStep
  readonly #batches: BatchSource<unknown>
  readonly #stepsPerEpoch: number
  readonly #steps: number
  readonly #firstStep: number
  readonly #meter: Meter
  readonly #snapshots = new Map<number, TrainState>()
  readonly #resumed: boolean
  readonly #goal: MetricGoal | undefined
  #best: BestState | undefined
  #step: number

  constructor(
    private readonly source: Model,
    private readonly task: TrainTask,
    private readonly settings: TrainSettings,
    private readonly hooks: TrainHooks,
    start: TrainStart,
    private readonly control: TrainControl,
    prepared: Prepared = {},
  ) {
    const { resume, fromEpoch = 0 } = start
    this.#goal = goalOf(task, settings)
    const first = task.batches(source, settings, { epoch: 0, batch: 0 })
    this.#stepsPerEpoch = first.batchesPerEpoch
    this.#steps = settings.epochs * this.#stepsPerEpoch
    this.#firstStep = fromEpoch * this.#stepsPerEpoch
    this.#resumed = resume !== undefined
    this.#step = resume?.step ?? this.#firstStep
    this.#batches = this.#step === 0 ? first : this.#goOn(first)
    try {
      this.#copy = new WorkingCopy(source, prepared.beside)
      this.#average = settings.ema ? new WorkingCopy(source, prepared.beside) : undefined
      this.#carried = task.restarts ? new Carried() : undefined
      const of: LossOf = { copy: this.#copy, task, settings, carried: this.#carried, prepared: prepared.own }
      this.#stepper = new TrainStep(of, this.#average, (...where) => throwTrouble(of, ...where))
      this.#meter = new Meter(hooks.label ?? 'train', hooks.onEvent, resume)
    } catch (error) {
      this.#batches.close?.()
      throw error
    }
    try {
      this.#begin(start)
    } catch (error) {
      this.close(false)
      throw error
    }
  }

  /** The batches from the step that comes next. */
  #goOn(first: BatchSource<unknown>): BatchSource<unknown> {
    first.close?.()
    const batch = this.#step % this.#stepsPerEpoch
    return this.task.batches(this.source, this.settings, { epoch: (this.#step - batch) / this.#stepsPerEpoch, batch })
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
    if (slots) optimizer.restore(slots.slots, slots.updates, (path) => path.startsWith(BESIDE))
    if (!resume) return
    this.#copy.restore(resume.values, 'all')
    optimizer.restore(resume.slots, resume.updates)
    this.#average?.restore(resume.average ?? new Map(), 'all')
    this.#carried?.restore(resume.carried ?? new Map())
    this.#best = resume.best
    if (!lossScale) return
    if (!resume.lossScale)
      throw new CheckpointError('ERR_CHECKPOINT', 'train: the saved state has no loss scale', { details: { reason: 'lossScale' } })
    lossScale.restore(resume.lossScale)
  }

  close(finished: boolean): void {
    this.#batches.close?.()
    this.#stepper.dispose()
    this.#carried?.dispose()
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
      examples: this.task.examples,
    })
    // A state may have been saved between a step and the evaluation that belongs to it.
    let stopped = this.#resumed ? await this.#settle(breathe) : false
    if (!this.#resumed) this.#snapshot()
    while (this.#step < this.#steps && !stopped) {
      try {
        const next = this.#batches.next()
        this.#one(next instanceof Promise ? await next : next)
        this.#step++
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
    const best = this.#bestModel()
    return {
      model: this.#copy.release(),
      ...(this.#average ? { average: this.#average.release() } : {}),
      ...(best ? { best } : {}),
      skipped: this.#stepper.skipped,
      state,
      snapshots: snapshotsOf(this.#snapshots),
      epochs: state.epochs,
      stopped,
    }
  }

  /** Evaluates where it is due and closes the epoch; true when a stop rule is met. Doing it twice for the same step changes nothing. */
  async #settle(breathe: () => Promise<void>): Promise<boolean> {
    const { task } = this
    const { stop } = this.control
    const atEnd = this.#step % this.#stepsPerEpoch === 0
    const due = task.evaluate !== undefined && (atEnd || (stop !== undefined && this.#step % stop.everySteps === 0))
    if (due) this.#average?.follow(this.#copy)
    const found = due ? await interruptible(() => task.evaluate!((this.#average ?? this.#copy).model, breathe)) : undefined
    if (atEnd && this.#meter.open) {
      const record = this.#meter.close(this.#step / this.#stepsPerEpoch, this.#step, this.#lr(this.#step - 1), found)
      const best = this.#goal && bestOf(this.#meter.records, this.#goal)
      if (this.settings.keepBest && best?.epoch === record.epoch)
        this.#best = { epoch: best.epoch, value: best.value, values: (this.#average ?? this.#copy).save(this.#step) }
      this.#meter.tell(record, this.settings.epochs, best?.epoch)
      this.#snapshot()
    }
    return this.#shouldStop(found?.[this.#goal?.name ?? ''])
  }

  #shouldStop(value: number | undefined): boolean {
    const goal = this.#goal
    const { stop } = this.control
    const { earlyStop } = this.settings
    if (!goal) return false
    if (stop && value !== undefined && (value === stop.value || isBetter(goal, value, stop.value))) return true
    if (!earlyStop) return false
    return (bestOf(this.#meter.records, goal, earlyStop.minDelta)?.since ?? 0) >= earlyStop.patience
  }

  #bestModel(): TrainResult['best'] {
    if (!this.#best) return undefined
    const copy = new WorkingCopy(this.source)
    copy.restore(this.#best.values, 'all')
    return { model: copy.release(), epoch: this.#best.epoch, value: this.#best.value }
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
    task: this.task.kind,
    settings: this.settings,
    examples: this.task.examples,
    ...(this.task.options ? { options: this.task.options } : {}),
    step: this.#step,
    updates: this.#stepper.optimizer.updates,
    ...this.#meter.state(),
    values: this.#copy.save(this.#step),
    slots: this.#stepper.optimizer.save(),
    ...(this.#average ? { average: this.#average.save(this.#step) } : {}),
    ...(this.#stepper.lossScale ? { lossScale: this.#stepper.lossScale.state() } : {}),
    ...(this.#carried ? { carried: this.#carried.save() } : {}),
    ...(this.#best ? { best: this.#best } : {}),
  })

  /** One step: all or nothing. */
  #one(batch: unknown): void {
    const step = this.#step
    const lr = this.#lr(step)
    this.control.onLr?.(step, lr)
    this.control.beforeStep?.(step, this.#copy.leaves, this.#copy.model)
    const { loss, count } = this.#stepper.run(batch, step, lr)
    this.#meter.step(Math.floor(step / this.#stepsPerEpoch), step + 1, this.#steps, loss, lr, count)
  }
}
