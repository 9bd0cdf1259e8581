/** The work of prune/magnitude: rounds of masking and retraining, each of which can be interrupted and continued. */
import type { JsonObject } from '../../base/json-types.js'
import type { Leaf, Model, Weight } from '../../nn/index.js'
import { maskWeight } from '../../nn/index.js'
import { assign, maskApply } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import type { PassContext, PassState } from '../pass.js'
import { release } from '../release.js'
import { retrainPlan, type Retrain, type RetrainPlan } from '../train/retrain.js'
import { trainingOf, type TrainSettings } from '../train/settings.js'
import { packState, unpackState, type TrainState } from '../train/state.js'
import type { TrainControl } from '../train/contract.js'
import type { TrainTask } from '../train/task.js'
import { evaluateGoal, retrainTask, stepsPerEpoch, stopValue } from '../train/retrain-task.js'
import { runTraining } from '../train/training.js'
import { checkFinite } from '../train/working-copy.js'
import { valuesOf } from '../values.js'
import { cubicOf, cubicSparsity, densities } from './amount.js'
import type { MagnitudeOptions } from './magnitude.js'
import { countBits, selectMasks, type BaseOf, type Candidate } from './select.js'

const NAME = 'prune/magnitude'

interface RoundFigure extends JsonObject {
  readonly round: number
  readonly density: number
  readonly steps: number
}

interface RoundFacts {
  readonly round: number
  readonly rounds: number
  readonly density: number
  /** State at the end of the training before. */
  readonly last: TrainState | undefined
  /** Of this round, interrupted. */
  readonly resume: TrainState | undefined
  /** Accuracy that ends the round early. */
  readonly target: number | undefined
}

export class MagnitudeRun {
  readonly #source: Model
  readonly #context: PassContext<MagnitudeOptions>
  /** Paths that can be pruned: floating values that can be trained. */
  readonly #paths: readonly string[]
  /** Weights there when the pass began, by path. */
  readonly #initial: ReadonlyMap<string, number>
  readonly #figures: RoundFigure[] = []
  /** With retraining. */
  #task: TrainTask | undefined
  #current: Model

  constructor(model: Model, context: PassContext<MagnitudeOptions>) {
    this.#source = model
    this.#current = model
    this.#context = context
    const initial = new Map<string, number>()
    for (const { path, weight } of context.targets) {
      const leaf = prunable(weight)
      if (!leaf) {
        context.note(`left alone: ${weight.description} has no values that can be set to 0`, path)
        continue
      }
      checkFinite(NAME, 'weight', path, leaf.value)
      initial.set(path, leaf.mask ? countBits(leaf.mask.read() as Uint8Array) : leaf.value.size)
    }
    this.#initial = initial
    this.#paths = [...initial.keys()]
  }

  async run(): Promise<Model> {
    const { options, saved } = this.#context
    if (this.#paths.length === 0) return this.#source
    if (options.retrain.kind !== 'none') this.#task = retrainTask(this.#context, options.distill)
    const target = options.stop ? await this.#target(options.stop.share) : undefined
    const state = saved ? unpackState(saved.json.train as JsonObject, saved.tensors) : undefined
    if (saved) this.#figures.push(...(saved.json.figures as unknown as RoundFigure[]))
    try {
      return await this.#rounds(saved ? (saved.json.round as number) : 0, state, target)
    } catch (error) {
      this.#advance(this.#source)
      throw error
    }
  }

  /** `state`: of the first of these rounds, interrupted. */
  async #rounds(first: number, state: TrainState | undefined, target: number | undefined): Promise<Model> {
    const { options, breathe, progress, figure } = this.#context
    const steps = densities(options)
    // An iterative share refers to the survivors at the start, a sparsity to all weights.
    const base: BaseOf = options.iterative ? (c) => this.#initial.get(c.path)! : (c) => c.scores.length
    let last = state ?? this.#lastOfTraining()
    let resume = state
    for (let round = first; round < steps.length; round++) {
      const density = steps[round]!
      const now = options.gradual ? 1 - options.gradual.initial : density
      // A saved state brings its own masks.
      this.#advance(resume ? this.#masked(this.#current, masksOf(resume, this.#paths)) : this.#prune(this.#current, now, base))
      if (options.retrain.kind !== 'none') {
        const done = await this.#retrain(this.#current, options.retrain, { round, rounds: steps.length, density, last, resume, target })
        this.#advance(done.model)
        last = done.state
      }
      resume = undefined
      this.#figures.push({ round: round + 1, density: this.#density(this.#current), steps: last?.step ?? 0 })
      progress(NAME, round + 1, steps.length)
      await breathe()
    }
    figure('rounds', this.#figures)
    return this.#current
  }

  /** Goes on with another model. What is not needed any more is freed; the source is the caller's. */
  #advance(next: Model): void {
    if (this.#current !== this.#source && this.#current !== next) release(this.#current, [this.#source, next])
    this.#current = next
  }

  #lastOfTraining(): TrainState | undefined {
    const { options, snapshots, warn } = this.#context
    if (options.retrain.kind === 'none') return undefined
    const training = this.#training()
    const last = snapshots?.at(training.epochs)
    if (!last) warn(`${NAME}: the state at the end of the training (epoch ${training.epochs}) is not given; momentum starts at zero`)
    return last
  }

  #training(): TrainSettings {
    return this.#context.options.training ?? trainingOf(this.#source.info)!
  }

  async #target(share: number): Promise<number> {
    const task = this.#task!
    return stopValue(task.goal!, await evaluateGoal(task, this.#source, this.#context.breathe), share)
  }

  /** Trains one round; the result has its own values and masks. */
  async #retrain(model: Model, how: Exclude<Retrain, { kind: 'none' }>, facts: RoundFacts): Promise<{ model: Model; state: TrainState }> {
    const { options, snapshots, signal, emit, rng, checkpoint } = this.#context
    const task = this.#task!
    const { round, rounds, density, last, resume, target } = facts
    const seed = rng('round', round).uint32()
    const training = this.#training()
    // As many as make the task's own number of steps: an epoch of text has no examples to count.
    const examples = stepsPerEpoch(task, model, training) * training.batchSize
    const plan = retrainPlan(how, training, { examples, seed, last, snapshots })
    const pack = (state: TrainState): PassState => {
      const { json, tensors } = packState(state)
      return { json: { round, train: json, figures: [...this.#figures] }, tensors }
    }
    const hooks = {
      label: rounds === 1 ? 'retraining' : `round ${round + 1} of ${rounds}`,
      onEvent: emit,
      checkpoint: (state: () => TrainState, now: boolean) => checkpoint(() => pack(state()), now),
      ...(signal ? { signal } : {}),
    }
    const control: TrainControl = {
      ...(target === undefined ? {} : { stop: { value: target, everySteps: options.stop!.everySteps } }),
      ...(options.gradual ? { beforeStep: this.#gradual(options.gradual, plan, density, examples) } : {}),
    }
    const result = await runTraining(model, task, plan.settings, hooks, resume ? { resume } : plan.start, control)
    checkpoint(() => pack(result.state), true)
    return result
  }

  /** Prunes further while training, in place, at the events of the cubic schedule. */
  #gradual(
    gradual: NonNullable<MagnitudeOptions['gradual']>,
    plan: RetrainPlan,
    density: number,
    examples: number,
  ): NonNullable<TrainControl['beforeStep']> {
    const {
      settings,
      start: { fromEpoch = 0 },
    } = plan
    const by = this.#context.options.scope
    const perEpoch = Math.ceil(examples / settings.batchSize)
    const cubic = cubicOf(gradual, 1 - density, (settings.epochs - fromEpoch) * perEpoch)
    return (step, leaves) => {
      const sparsity = cubicSparsity(cubic, step - fromEpoch * perEpoch)
      if (sparsity === undefined) return
      const masks = selectMasks(
        this.#paths.map((path) => candidate(path, leaves.get(path)!)),
        by,
        1 - sparsity,
        (c) => c.scores.length,
      )
      for (const [path, bits] of masks) {
        const { value, mask } = leaves.get(path)!
        mask!.write(bits)
        scope(() => assign(value, maskApply(value, mask!)))
      }
    }
  }

  #prune(model: Model, density: number, base: BaseOf): Model {
    const leaves = model.leaves()
    const candidates = this.#paths.map((path) => candidate(path, leaves.get(path)!))
    return this.#masked(model, selectMasks(candidates, this.#context.options.scope, density, base))
  }

  #masked(model: Model, masks: ReadonlyMap<string, Uint8Array>): Model {
    const weights = new Map(model.weights().map(({ path, weight }) => [path, weight]))
    return model.withWeights(
      new Map<string, Weight>([...masks].map(([path, bits]) => [path, scope(() => maskWeight(weights.get(path)!, tensor(bits)))])),
    )
  }

  #density(model: Model): number {
    const leaves = model.leaves()
    let kept = 0
    let all = 0
    for (const path of this.#paths) {
      const { value, mask } = leaves.get(path)!
      kept += mask ? countBits(mask.read() as Uint8Array) : value.size
      all += value.size
    }
    return all === 0 ? 1 : kept / all
  }
}

/** The one leaf that holds the weight's values, or undefined. */
function prunable(w: Weight): Leaf | undefined {
  const leaves = w.trainable()
  return leaves.length === 1 && leaves[0]!.value.size > 0 && leaves[0]!.value.shape.length >= 2 ? leaves[0] : undefined
}

function candidate(path: string, { value, mask }: Leaf): Candidate {
  const scores = valuesOf(value).map(Math.abs)
  return { path, scores, mask: mask ? (mask.read() as Uint8Array) : null }
}

/** The masks that a saved training had. */
function masksOf(state: TrainState, paths: readonly string[]): Map<string, Uint8Array> {
  return new Map(paths.map((path) => [path, state.values.get(`${path}/mask`)!.data]))
}
