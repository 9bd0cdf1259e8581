/** The work of prune/movement: one training of weights with scores, which can be interrupted and continued with the same bits. */
import type { RawTensor } from '../../base/dtype.js'
import { MaskedWeight, placesOf, ScoredWeight, type Model, type Weight } from '../../nn/index.js'
import { maskApply } from '../../ops/index.js'
import { fromRaw, scope, tensor, toRaw, zeros } from '../../tensor/index.js'
import type { PassContext, PassState } from '../pass.js'
import { owning, release } from '../release.js'
import type { TrainStart } from '../train/contract.js'
import { retrainTask, stepsPerEpoch } from '../train/retrain-task.js'
import { retrainPlan, type Retrain, type RetrainPlan } from '../train/retrain.js'
import { trainingOf } from '../train/settings.js'
import { packState, unpackState, type TrainState } from '../train/state.js'
import { runTraining } from '../train/training.js'
import { checkFinite } from '../train/working-copy.js'
import { valuesOf } from '../values.js'
import { cubicAt } from './amount.js'
import { chosenTargets, maskOf, type Chosen } from './candidates.js'
import { computeShare } from './compute.js'
import { deadNotes } from './dead.js'
import type { MovementOptions } from './movement.js'
import { selectMasks } from './select.js'

export class MovementRun {
  readonly #chosen: Chosen
  /** What was pruned before stays so. */
  readonly #before: ReadonlyMap<string, Uint8Array | null>

  constructor(
    private readonly name: string,
    private readonly source: Model,
    private readonly context: PassContext<MovementOptions>,
  ) {
    this.#chosen = chosenTargets(context.targets, source.info, context.options.keepClassifier)
    for (const { path, why } of this.#chosen.left) context.note(`left alone: ${why}`, path)
    for (const { path, leaf } of this.#chosen.targets) checkFinite(name, 'weight', path, leaf.value)
    this.#before = new Map(this.#chosen.targets.map(({ path, leaf }) => [path, maskOf(leaf)]))
  }

  async run(): Promise<Model> {
    const { options, saved, snapshots, data, signal, emit, rng, checkpoint, figure, note } = this.context
    const { targets } = this.#chosen
    if (targets.length === 0) return this.source
    const state = saved ? unpackState(saved.json.train, saved.tensors) : undefined
    const task = retrainTask(this.context, options.distill)
    const training = options.training ?? trainingOf(this.source.info)!
    const perEpoch = stepsPerEpoch(task, this.source, training)
    const { settings, start } = this.#withScores(
      retrainPlan(options.retrain as Exclude<Retrain, { kind: 'none' }>, training, {
        ...{ examples: perEpoch * training.batchSize, seed: rng('training').uint32(), last: snapshots?.at(training.epochs), snapshots },
        ...{ model: this.source, rng: () => rng('fresh'), compute: () => computeShare(this.source, data) * (1 - options.sparsity) },
      }),
    )
    const first = (start.fromEpoch ?? 0) * perEpoch
    const steps = settings.epochs * perEpoch - first
    const sparsityAt = (step: number): number => {
      const { begin, end, initial, sparsity } = options
      return cubicAt({ initial, final: sparsity }, ((step - first) / steps - begin) / (end - begin))
    }
    const pack = (s: TrainState): PassState => {
      const { json, tensors } = packState(s)
      return { json: { train: json }, tensors }
    }
    const scored = this.#scored(state)
    try {
      const hooks = {
        ...{ label: 'movement', onEvent: emit, ...(signal ? { signal } : {}) },
        checkpoint: (take: () => TrainState, now: boolean) => checkpoint(() => pack(take()), now),
      }
      const control = {
        beforeStep: (step: number, _leaves: unknown, model: Model): void => {
          for (const [path, bits] of this.#masks(model, 1 - sparsityAt(step))) this.#weight(model, path).mask.write(bits)
        },
      }
      const result = await runTraining(scored, task, settings, hooks, state ? { resume: state } : start, control)
      const done = owning(result.model, this.source, () => {
        checkpoint(() => pack(result.state), true)
        return this.#hardened(result.model)
      })
      release(result.model, [done, this.source])
      figure('steps', result.state.step - first)
      for (const { path, text } of deadNotes(
        done,
        targets.map((t) => t.path),
      ))
        note(text, path)
      return done
    } finally {
      release(scored, [this.source])
    }
  }

  #weight(model: Model, path: string): ScoredWeight {
    return model.weights().find((w) => w.path === path)!.weight as ScoredWeight
  }

  /** Bits of the largest scores; exact to one weight, ties by position. */
  #masks(model: Model, density: number): Map<string, Uint8Array> {
    const leaves = model.leaves()
    const candidates = this.#chosen.targets.map(({ path }) => ({
      path,
      scores: valuesOf(leaves.get(`${path}#1`)!.value),
      mask: this.#before.get(path)!,
    }))
    return selectMasks(candidates, this.context.options.scope, density, (c) => c.scores.length)
  }

  /** The model with scores beside its weights: 0, or those of an interrupted training with its masks. */
  #scored(state: TrainState | undefined): Model {
    const changed = new Map<string, Weight>()
    for (const { path, leaf } of this.#chosen.targets) {
      const { value } = leaf
      const mask = state?.values.get(`${path}/mask`)?.data ?? new Uint8Array(Math.ceil(value.size / 8)).fill(255)
      changed.set(
        path,
        scope(() => new ScoredWeight(fromRaw(toRaw(value)), zeros(value.shape, value.dtype), tensor(Uint8Array.from(mask)))),
      )
    }
    return this.source.withWeights(changed)
  }

  /** The masks that the scores have at the end, for good. */
  #hardened(model: Model): Model {
    const changed = new Map<string, Weight>()
    for (const [path, bits] of this.#masks(model, 1 - this.context.options.sparsity)) {
      const { value } = this.#weight(model, path)
      changed.set(
        path,
        scope(() => {
          const mask = tensor(bits)
          return new MaskedWeight(maskApply(value, mask), mask)
        }),
      )
    }
    return model.withWeights(changed)
  }

  /** A plan of the model without scores: those begin at 0, without decay, momentum or a part in rewinding. */
  #withScores({ settings, start }: RetrainPlan): RetrainPlan {
    // A training knows what layers share by the first of them.
    const places = placesOf(this.source)
    const paths = this.#chosen.targets.map((t) => places.get(t.weight)![0]!)
    const groups = [...paths.map((path) => ({ match: `${path}#1`, weightDecay: 0 })), ...(settings.groups ?? [])]
    const empty = (raw: RawTensor): RawTensor => ({ ...raw, data: new Uint8Array(raw.data.byteLength) })
    const values = start.values && new Map(start.values)
    for (const path of paths) if (values?.has(`${path}/value`)) values.set(`${path}/scores`, empty(values.get(`${path}/value`)!))
    const slots = start.slots && new Map(start.slots.slots)
    for (const [name, raw] of start.slots?.slots ?? []) {
      const path = paths.find((p) => name.startsWith(`${p}/`))
      if (path) slots!.set(`${path}#1${name.slice(path.length)}`, empty(raw))
    }
    const more: TrainStart = {
      ...start,
      ...(values ? { values } : {}),
      ...(slots ? { slots: { slots, updates: start.slots.updates } } : {}),
    }
    return { settings: { ...settings, groups }, start: more }
  }
}
