/**
 * The work of a pruning pass: rounds of scoring, masking and retraining, each of which can be interrupted and continued with the same bits. Score, structure
 * and scope, schedule and retraining are independent of one another: score.ts, select.ts, schedule.ts, ../train/retrain.ts.
 */
import type { JsonObject } from '../../base/json-types.js'
import type { Model, Weight } from '../../nn/index.js'
import { maskWeight } from '../../nn/index.js'
import { scope, tensor } from '../../tensor/index.js'
import type { PassContext } from '../pass.js'
import { release } from '../release.js'
import { trainingOf, type TrainSettings } from '../train/settings.js'
import { savedList, savedNumber, unpackState, type TrainState } from '../train/state.js'
import { evaluateGoal, retrainTask, stopValue } from '../train/retrain-task.js'
import type { TrainTask } from '../train/task.js'
import { checkFinite } from '../train/working-copy.js'
import { candidate, chosenTargets, countsOf, keptOf, type Chosen } from './candidates.js'
import { deadNotes } from './dead.js'
import { formOf, type PruneOptions } from './options.js'
import { retrainRound } from './retraining.js'
import { roundsOf, type Round } from './schedule.js'
import { checkScores, type Score } from './score.js'
import { selectAbove, selectStructured, type BaseOf } from './select.js'
import { deviation } from './threshold.js'

export interface RoundFigure extends JsonObject {
  readonly round: number
  readonly density: number
  readonly steps: number
}

export class PruneRun<O extends PruneOptions> {
  readonly #chosen: Chosen
  /** Paths that are pruned: floating values that can be trained, and that the score can judge. */
  readonly #paths: readonly string[]
  /** Weights there when the pass began, by path. */
  readonly #initial: ReadonlyMap<string, number>
  readonly #figures: RoundFigure[] = []
  /** With retraining. */
  #task: TrainTask | undefined
  #current: Model

  constructor(
    private readonly name: string,
    private readonly source: Model,
    private readonly context: PassContext<O>,
    private readonly score: Score<O>,
  ) {
    this.#current = source
    const all = chosenTargets(context.targets, source.info, context.options.keepClassifier ?? false)
    const targets = all.targets.filter((t) => {
      const lack = score.lacks?.(t)
      if (lack) context.note(`left alone: ${lack}`, t.path)
      return !lack
    })
    for (const { path, why } of all.left) context.note(`left alone: ${why}`, path)
    for (const { path, leaf } of targets) checkFinite(name, 'weight', path, leaf.value)
    this.#chosen = { ...all, targets }
    this.#initial = new Map(targets.map(({ path, leaf }) => [path, keptOf(leaf)]))
    this.#paths = [...this.#initial.keys()]
  }

  async run(): Promise<Model> {
    const { options, saved } = this.context
    if (this.#paths.length === 0) return this.source
    if (options.retrain.kind !== 'none') this.#task = retrainTask(this.context, options.distill)
    const target = options.stop ? await this.#target(options.stop.share) : undefined
    const state = saved ? unpackState(saved.json.train, saved.tensors) : undefined
    if (saved) this.#figures.push(...(savedList(saved.json, 'figures', 'object') as unknown as RoundFigure[]))
    try {
      return await this.#rounds(saved ? savedNumber(saved.json, 'round') : 0, state, target)
    } catch (error) {
      this.#advance(this.source)
      throw error
    }
  }

  async #target(share: number): Promise<number> {
    const task = this.#task!
    return stopValue(task.goal!, await evaluateGoal(task, this.source, this.context.breathe), share)
  }

  /** `state`: of the first of these rounds, interrupted. */
  async #rounds(first: number, state: TrainState | undefined, target: number | undefined): Promise<Model> {
    const { options, breathe, progress, figure, note } = this.context
    const rounds = roundsOf(this.name, options, countsOf(this.source, this.#chosen))
    let last = state ?? this.#lastOfTraining()
    let resume = state
    for (const [round, amount] of rounds.entries()) {
      if (round < first) continue
      // A saved state brings its own masks.
      this.#advance(resume ? this.#masked(masksOf(resume, this.#paths)) : await this.#prune(amount, round))
      if (options.retrain.kind !== 'none') {
        const done = await retrainRound(this.#current, this.context, {
          ...{ round, rounds: rounds.length, last, resume, target, training: this.#training(), task: this.#task! },
          ...{ figures: this.#figures, paths: this.#paths, density: 'density' in amount ? amount.density : this.#density() },
          live: this.score.live,
        })
        this.#advance(done.model)
        last = done.state
      }
      resume = undefined
      this.#figures.push({ round: round + 1, density: this.#density(), steps: last?.step ?? 0 })
      progress(this.name, round + 1, rounds.length)
      await breathe()
    }
    figure('rounds', this.#figures)
    for (const { path, text } of deadNotes(this.#current, this.#paths)) note(text, path)
    return this.#current
  }

  /** Goes on with another model. What is not needed any more is freed; the source is the caller's. */
  #advance(next: Model): void {
    if (this.#current !== this.source && this.#current !== next) release(this.#current, [this.source, next])
    this.#current = next
  }

  #lastOfTraining(): TrainState | undefined {
    const { options, snapshots, warn } = this.context
    if (options.retrain.kind === 'none') return undefined
    const training = this.#training()
    const last = snapshots?.at(training.epochs)
    if (!last) warn(`${this.name}: the state at the end of the training (epoch ${training.epochs}) is not given; momentum starts at zero`)
    return last
  }

  #training(): TrainSettings {
    return this.context.options.training ?? trainingOf(this.source.info)!
  }

  async #prune(amount: Round, round: number): Promise<Model> {
    const { options } = this.context
    const { scope: by, iterative, compression, gradual } = options
    const now = new Map(this.#current.weights().map((w) => [w.path, w.weight]))
    const leaves = this.#current.leaves()
    const targets = this.#chosen.targets.map((t) => ({ ...t, weight: now.get(t.path)!, leaf: leaves.get(t.path)! }))
    const scores = checkScores(this.name, await this.score.of({ model: this.#current, targets, context: this.context, round }))
    const candidates = targets.map(({ path, leaf }) => candidate(path, leaf, scores.get(path)!))
    if ('quality' in amount) return this.#masked(selectAbove(candidates, amount.quality, (c) => deviation(leaves.get(c.path)!)))
    // An iterative share refers to the survivors at the start, a sparsity or a compression to all weights.
    const base: BaseOf = iterative && compression === undefined ? (c) => this.#initial.get(c.path)! : (c) => c.scores.length
    const how = { scope: by, structure: formOf(options), exact: compression !== undefined }
    return this.#masked(selectStructured(candidates, how, gradual ? 1 - gradual.initial : amount.density, base))
  }

  #masked(masks: ReadonlyMap<string, Uint8Array>): Model {
    const weights = new Map(this.#current.weights().map(({ path, weight }) => [path, weight]))
    return this.#current.withWeights(
      new Map<string, Weight>([...masks].map(([path, bits]) => [path, scope(() => maskWeight(weights.get(path)!, tensor(bits)))])),
    )
  }

  #density(): number {
    const leaves = this.#current.leaves()
    const all = this.#paths.reduce((n, path) => n + leaves.get(path)!.value.size, 0)
    return all === 0 ? 1 : this.#paths.reduce((n, path) => n + keptOf(leaves.get(path)!), 0) / all
  }
}

/** The masks that a saved training had. */
function masksOf(state: TrainState, paths: readonly string[]): Map<string, Uint8Array> {
  return new Map(paths.map((path) => [path, state.values.get(`${path}/mask`)!.data]))
}
