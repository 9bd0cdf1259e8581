/**
 * The training loop: one for the command line, for passes that retrain and for users. Cross-entropy on the model's class scores, any
 * optimizer and schedule of ts/optim.
 *
 * Contract: the model given is not changed. The same model, data, settings and starting state give the same bits, whatever the thread count
 * and however often the training was interrupted and continued. A step is all or nothing: NaN or infinity in loss or gradients is
 * ERR_NUMERIC before a weight moves, and a state that is not finite is never handed to `checkpoint`. Pruned weights stay exactly 0.
 */
import { valueAndGrad } from '../../autograd/index.js'
import { isTersorError, NumericError } from '../../base/errors.js'
import { BatchIterator } from '../../data/batches.js'
import type { Dataset } from '../../data/dataset.js'
import { batchInputs } from '../../models/inputs.js'
import type { Model } from '../../nn/index.js'
import { assign, crossEntropy, maskApply } from '../../ops/index.js'
import { lrAt, Optimizer } from '../../optim/index.js'
import { scope, tensor, type Tensor } from '../../tensor/index.js'
import { accuracy } from './accuracy.js'
import { checkTask, type TrainControl, type TrainHooks, type TrainResult, type TrainStart } from './contract.js'
import { Meter } from './meter.js'
import { pacer } from '../../base/pace.js'
import type { TrainSettings } from './settings.js'
import { snapshotsOf, type TrainState } from './state.js'
import { checkFinite, WorkingCopy } from './working-copy.js'

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
  readonly #optimizer: Optimizer
  readonly #paths: readonly string[]
  readonly #values: readonly Tensor[]
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
    this.#optimizer = new Optimizer(settings.optimizer, this.#copy.leaves)
    this.#paths = [...this.#copy.leaves.keys()]
    this.#values = [...this.#copy.leaves.values()].map((leaf) => leaf.value)
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
      this.#copy.restore(values, 'values')
      for (const { value, mask } of this.#copy.leaves.values()) if (mask) scope(() => assign(value, maskApply(value, mask)))
    }
    if (slots) this.#optimizer.restore(slots.slots, slots.updates)
    if (!resume) return
    this.#copy.restore(resume.values, 'all')
    this.#optimizer.restore(resume.slots, resume.updates)
  }

  close(finished: boolean): void {
    this.#optimizer.dispose()
    if (!finished) this.#copy.dispose()
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
    return { model: this.#copy.release(), state, snapshots: snapshotsOf(this.#snapshots), epochs: state.epochs, stopped }
  }

  /** Evaluates where it is due and closes the epoch; true when the stop rule is met. Doing it twice for the same step changes nothing. */
  async #settle(breathe: () => Promise<void>): Promise<boolean> {
    const { validation } = this.hooks
    const { stop } = this.control
    const atEnd = this.#step % this.#stepsPerEpoch === 0
    const due = validation !== undefined && (atEnd || (stop !== undefined && this.#step % stop.everySteps === 0))
    const found = due ? await accuracy(this.#copy.model, validation, breathe) : undefined
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
    updates: this.#optimizer.updates,
    ...this.#meter.state(),
    values: this.#copy.save(this.#step),
    slots: this.#optimizer.save(),
  })

  /** One step: all or nothing. */
  #one(): void {
    const step = this.#step
    const { indices, epoch } = this.#batches.next()
    const lr = this.#lr(step)
    this.control.onLr?.(step, lr)
    this.control.beforeStep?.(step, this.#copy.leaves)
    const loss = scope(() => this.#compute(indices, step, lr))
    this.#meter.step(epoch, step + 1, this.#steps, loss, lr, indices.length)
  }

  #compute(indices: Uint32Array, step: number, lr: number): number {
    const { model, state } = this.#copy
    const { x, labels } = batchInputs(model, this.data, indices)
    const target = tensor(labels, [indices.length])
    const { seed, labelSmoothing } = this.settings
    const { value, grads, aux } = valueAndGrad(() => {
      const stateUpdates = new Map<string, Tensor>()
      const logits = model.forward(x, { training: true, seed, step, stateUpdates })
      return { value: crossEntropy(logits, target, { labelSmoothing }), aux: stateUpdates }
    }, this.#values)
    const loss = value.item()
    const numbers = new Map(this.#paths.map((path, i) => [path, grads[i]!]))
    if (!Number.isFinite(loss)) this.#numericError(loss, indices, step)
    for (const [path, g] of numbers) checkFinite('train', 'gradient of', path, g, step)
    for (const [path, t] of aux) checkFinite('train', 'state', path, t, step)
    this.#optimizer.step(numbers, lr)
    for (const [path, t] of aux) assign(state.get(path)!, t)
    return loss
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
    throw new NumericError(
      'ERR_NUMERIC',
      `train: the loss is ${loss} at step ${step} although data and weights are finite: lower the learning rate`,
      {
        details: { stage: 'train', tensor: 'loss', index: 0, step },
      },
    )
  }
}
