/**
 * The work of passes that take units out of a model: rounds of scoring, choosing, cutting (or masking) and retraining, each of which can be interrupted and
 * continued. Which units there are and what they are worth comes from the pass.
 */
import { isTersorError } from '../../../base/errors.js'
import type { RawTensor } from '../../../base/dtype.js'
import type { JsonObject } from '../../../base/json-types.js'
import { channelStructure, type ChannelGroup, type ChannelStructure, type UnitSet } from '../../../graph/index.js'
import { modelFileBytes } from '../../../models/file.js'
import type { Model, UnitKind } from '../../../nn/index.js'
import type { PassContext, PassState } from '../../pass.js'
import { owning, release } from '../../release.js'
import { retrainPlan, type Retrain } from '../../train/retrain.js'
import { trainingOf, type TrainSettings } from '../../train/settings.js'
import { packState, savedList, savedNumber, unpackState, type Snapshots, type TrainState } from '../../train/state.js'
import { retrainTask, stepsPerEpoch } from '../../train/retrain-task.js'
import type { TrainTask } from '../../train/task.js'
import { runTraining } from '../../train/training.js'
import { eligibleGroups } from './eligible.js'
import type { StructuredOptions } from './options.js'
import type { ScoredModel, UnitScores } from './scores.js'
import { selectUnits, shareFor, type Scored } from './select.js'
import { ModelSize } from './size.js'

export interface StructuredPass<O> {
  readonly name: string
  readonly unit: UnitKind
  /** The worth of every unit of the groups; units that are missing are left alone. */
  readonly score: (
    groups: readonly ChannelGroup[],
    at: ScoredModel,
    context: PassContext<O>,
    round: number,
  ) => UnitScores | Promise<UnitScores>
}

type Shapes = ReadonlyMap<string, readonly number[]>

const shapesOf = (model: Model): Shapes =>
  new Map([
    ...model.weights().map(({ path, weight }): [string, readonly number[]] => [path, [...weight.shape]]),
    ...[...model.state()].map(([path, t]): [string, readonly number[]] => [path, [...t.shape]]),
  ])

export class StructuredRun<O extends StructuredOptions> {
  readonly #source: Model
  readonly #context: PassContext<O>
  readonly #pass: StructuredPass<O>
  readonly #structure: ChannelStructure
  readonly #groups: readonly ChannelGroup[]
  readonly #size: ModelSize
  readonly #shapes: Shapes
  readonly #rounds: JsonObject[] = []
  #removed: Set<number> = new Set()
  #current: Model
  #task: TrainTask | undefined

  constructor(model: Model, context: PassContext<O>, pass: StructuredPass<O>) {
    this.#source = model
    this.#current = model
    this.#context = context
    this.#pass = pass
    this.#structure = channelStructure(model)
    const { groups, left } = eligibleGroups(this.#structure, pass.unit, context.targets, context.options.roundTo)
    this.#groups = groups
    for (const { path, reason } of left) context.note(`left alone: ${reason}`, path)
    this.#size = new ModelSize(model, this.#structure)
    this.#shapes = shapesOf(model)
  }

  async run(): Promise<Model> {
    const { saved, warn } = this.#context
    if (this.#groups.length === 0) {
      warn(`${this.#pass.name}: ${this.#source.info.name} has no ${this.#pass.unit}s that can go`)
      return this.#source
    }
    try {
      return await this.#all(saved)
    } catch (error) {
      this.#advance(this.#source)
      throw error
    }
  }

  async #all(saved: PassState | undefined): Promise<Model> {
    const { options, breathe, progress } = this.#context
    let resume = saved ? unpackState(saved.json.train, saved.tensors) : undefined
    let last = this.#lastOfTraining()
    if (saved) {
      this.#rounds.push(...savedList(saved.json, 'rounds', 'object'))
      this.#removed = new Set(savedList(saved.json, 'removed', 'number'))
      this.#advance(this.#without(this.#source, this.#removed, new Set()))
    }
    for (let round = saved ? savedNumber(saved.json, 'round') : 0; round < options.rounds; round++) {
      if (!resume) last = await this.#remove(round, last)
      if (options.retrain.kind !== 'none') {
        const done = await this.#retrain(options.retrain, round, last, resume)
        this.#advance(done.model)
        last = done.state
      }
      resume = undefined
      this.#rounds.push({ round: round + 1, parameters: this.#size.parametersAfter(this.#removed), steps: last?.step ?? 0 })
      progress(this.#pass.name, round + 1, options.rounds)
      await breathe()
    }
    this.#tell()
    return this.#current
  }

  /** One round of scoring and taking away; gives the state of the last training as it fits what is left. */
  async #remove(round: number, last: TrainState | undefined): Promise<TrainState | undefined> {
    const cuts = this.#context.options.how === 'cut'
    const before = this.#removed
    const at: ScoredModel = { model: this.#current, structure: this.#structure, before: cuts ? before : new Set() }
    const scores = await this.#pass.score(this.#groups, at, this.#context, round)
    const removed = new Set([...before, ...this.#choose(scores, round)])
    const shapes = shapesOf(this.#current)
    this.#removed = removed
    this.#advance(this.#without(this.#current, removed, before))
    return cuts && last ? this.#cutState(last, shapes, removed, before) : last
  }

  #choose(scores: UnitScores, round: number): Set<number> {
    const { options } = this.#context
    const { ratio, size, macs, rounds } = options
    const missing = this.#groups.filter((g) => g.units.some((u) => !scores.has(u)))
    for (const g of missing) this.#context.note('left alone: there is nothing to score it by', g.name)
    const groups: Scored[] = this.#groups
      .filter((g) => !missing.includes(g))
      .map((g) => {
        const units = g.units.filter((u) => !this.#removed.has(u))
        return { name: g.name, initial: g.units.length, units, scores: units.map((u) => scores.get(u)!) }
      })
    const select = (share: number): Set<number> => selectUnits(groups, share, options)
    // The same factor in each round.
    const step = (round + 1) / rounds
    if (ratio !== undefined) return select(1 - (1 - ratio) ** step)
    const all = (removed: UnitSet): UnitSet => new Set([...this.#removed, ...removed])
    const { name } = this.#pass
    if (size !== undefined) {
      const { parameters } = this.#size
      return select(shareFor(name, 'size', size ** step, select, (removed) => this.#size.parametersAfter(all(removed)) / parameters))
    }
    const total = this.#size.macs!
    return select(shareFor(name, 'macs', macs! ** step, select, (removed) => this.#size.macsAfter(all(removed))! / total))
  }

  #without(model: Model, removed: UnitSet, before: UnitSet): Model {
    return this.#context.options.how === 'cut' ? this.#structure.cut(model, removed, before) : this.#structure.mask(model, removed)
  }

  #cutState(state: TrainState, shapes: Shapes, removed: UnitSet, before: UnitSet): TrainState {
    const { average: _average, best: _best, ...rest } = state
    const cut = (tensors: ReadonlyMap<string, RawTensor>): Map<string, RawTensor> =>
      this.#structure.cutTensors(tensors, shapes, removed, before)
    return { ...rest, values: cut(state.values), slots: cut(state.slots) }
  }

  /** Goes on with another model. What is not needed any more is freed; the source is the caller's. */
  #advance(next: Model): void {
    if (this.#current !== this.#source && this.#current !== next) release(this.#current, [this.#source, next])
    this.#current = next
  }

  #training(): TrainSettings {
    return this.#context.options.training ?? trainingOf(this.#source.info)!
  }

  #lastOfTraining(): TrainState | undefined {
    const { options, snapshots, warn } = this.#context
    if (options.retrain.kind === 'none') return undefined
    const { epochs } = this.#training()
    const last = snapshots?.at(epochs)
    if (!last) warn(`${this.#pass.name}: the state at the end of the training (epoch ${epochs}) is not given; momentum starts at zero`)
    return last
  }

  /** States of the original training, as they would be of the model that is left. */
  #snapshots(): Snapshots | undefined {
    const { snapshots, options } = this.#context
    if (!snapshots || options.how === 'mask') return snapshots
    const removed = this.#removed
    return {
      epochs: snapshots.epochs,
      at: (epoch) => {
        const state = snapshots.at(epoch)
        return state && this.#cutState(state, this.#shapes, removed, new Set())
      },
    }
  }

  async #retrain(
    how: Exclude<Retrain, { kind: 'none' }>,
    round: number,
    last: TrainState | undefined,
    resume: TrainState | undefined,
  ): Promise<{ readonly model: Model; readonly state: TrainState }> {
    const { options, signal, emit, rng, checkpoint } = this.#context
    const task = (this.#task ??= retrainTask(this.#context, options.distill))
    const seed = rng('round', round).uint32()
    const training = this.#training()
    // As many as make the task's own number of steps: an epoch of text has no examples to count.
    const examples = stepsPerEpoch(task, this.#current, training) * training.batchSize
    const plan = retrainPlan(how, training, {
      ...{ examples, seed, last, snapshots: this.#snapshots(), model: this.#current },
      rng: () => rng('fresh', round),
      compute: () => this.#size.macsShare(this.#pass.name, this.#removed),
    })
    const pack = (state: TrainState): PassState => {
      const { json, tensors } = packState(state)
      return { json: { round, removed: [...this.#removed], rounds: [...this.#rounds], train: json }, tensors }
    }
    const hooks = {
      label: options.rounds === 1 ? 'retraining' : `round ${round + 1} of ${options.rounds}`,
      onEvent: emit,
      checkpoint: (state: () => TrainState, now: boolean) => checkpoint(() => pack(state()), now),
      ...(signal ? { signal } : {}),
    }
    const result = await runTraining(this.#current, task, plan.settings, hooks, resume ? { resume } : plan.start, {})
    owning(result.model, this.#current, () => checkpoint(() => pack(result.state), true))
    return result
  }

  /** Figures for the report. */
  #tell(): void {
    const { figure } = this.#context
    const size = this.#size
    figure('rounds', this.#rounds)
    figure(
      'groups',
      this.#groups.map((g) => ({
        name: g.name,
        unit: g.unit,
        before: g.units.length,
        after: g.units.filter((u) => !this.#removed.has(u)).length,
      })),
    )
    figure('parameters', { before: size.parameters, after: size.parametersAfter(this.#removed) })
    if (size.macs !== undefined) figure('macs', { before: size.macs, after: size.macsAfter(this.#removed)! })
    figure('fileBytes', { before: fileBytes(this.#source), after: fileBytes(this.#current) })
  }
}

/** 0 where the model cannot be written as a file. */
function fileBytes(model: Model): number {
  try {
    return modelFileBytes(model)
  } catch (error) {
    if (isTersorError(error)) return 0
    throw error
  }
}
