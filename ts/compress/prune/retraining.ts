/** One retraining of a pruning: what the plug-in of ../train/retrain.ts says, with gradual masks, stop rule, rescaled dropout, and its checkpoints. */
import type { JsonObject } from '../../base/json-types.js'
import type { Leaf, Model } from '../../nn/index.js'
import { assign, maskApply } from '../../ops/index.js'
import { scope } from '../../tensor/index.js'
import type { PassContext, PassState } from '../pass.js'
import type { TrainControl } from '../train/contract.js'
import { retrainPlan, type Retrain, type RetrainPlan } from '../train/retrain.js'
import type { TrainSettings } from '../train/settings.js'
import { packState, type TrainState } from '../train/state.js'
import { stepsPerEpoch } from '../train/retrain-task.js'
import type { TrainTask } from '../train/task.js'
import { runTraining } from '../train/training.js'
import { owning } from '../release.js'
import { cubicOf, cubicSparsity } from './amount.js'
import { candidate } from './candidates.js'
import { computeShare } from './compute.js'
import { dropoutRates, rescaledDropout, withDropout } from './dropout.js'
import { formOf, type Gradual, type PruneOptions } from './options.js'
import { selectStructured } from './select.js'

export interface RoundFacts {
  readonly round: number
  readonly rounds: number
  readonly density: number
  /** State at the end of the training before. */
  readonly last: TrainState | undefined
  /** Of this round, interrupted. */
  readonly resume: TrainState | undefined
  /** Accuracy that ends the round early. */
  readonly target: number | undefined
  readonly training: TrainSettings
  readonly task: TrainTask
  readonly paths: readonly string[]
  /** Of the rounds before. */
  readonly figures: readonly JsonObject[]
  /** Of `gradual` pruning: the score from the values alone. */
  readonly live: ((leaf: Leaf) => Float32Array) | undefined
}

/** Trains one round; the result has its own values and masks. */
export async function retrainRound<O extends PruneOptions>(
  model: Model,
  context: PassContext<O>,
  facts: RoundFacts,
): Promise<{ model: Model; state: TrainState }> {
  const { options, data, snapshots, signal, emit, rng, checkpoint } = context
  const { round, rounds, last, resume, target, training, task, figures } = facts
  // As many as make the task's own number of steps: an epoch of text has no examples to count.
  const examples = stepsPerEpoch(task, model, training) * training.batchSize
  const plan = retrainPlan(options.retrain as Exclude<Retrain, { kind: 'none' }>, training, {
    ...{ examples, seed: rng('round', round).uint32(), last, snapshots, model },
    rng: () => rng('fresh', round),
    compute: () => computeShare(model, data),
  })
  const pack = (state: TrainState): PassState => {
    const { json, tensors } = packState(state)
    return { json: { round, train: json, figures: [...figures] }, tensors }
  }
  const hooks = {
    label: rounds === 1 ? 'retraining' : `round ${round + 1} of ${rounds}`,
    onEvent: emit,
    checkpoint: (state: () => TrainState, now: boolean) => checkpoint(() => pack(state()), now),
    ...(signal ? { signal } : {}),
  }
  const control: TrainControl = {
    ...(target === undefined ? {} : { stop: { value: target, everySteps: options.stop!.everySteps } }),
    ...(options.gradual ? { beforeStep: gradually(options.gradual, options, plan, facts, examples) } : {}),
  }
  const rates = options.rescaleDropout ? rescaledDropout(model) : undefined
  const result = await runTraining(
    rates ? withDropout(model, rates) : model,
    task,
    plan.settings,
    hooks,
    resume ? { resume } : plan.start,
    control,
  )
  owning(result.model, model, () => checkpoint(() => pack(result.state), true))
  return { model: rates ? withDropout(result.model, dropoutRates(model)) : result.model, state: result.state }
}

/** Prunes further while training, in place, at the events of the cubic schedule. */
function gradually(
  gradual: Gradual,
  options: PruneOptions,
  { settings, start: { fromEpoch = 0 } }: RetrainPlan,
  { density, paths, live }: RoundFacts,
  examples: number,
): NonNullable<TrainControl['beforeStep']> {
  const perEpoch = Math.ceil(examples / settings.batchSize)
  const cubic = cubicOf(gradual, 1 - density, (settings.epochs - fromEpoch) * perEpoch)
  const how = { scope: options.scope, structure: formOf(options) }
  return (step, _distinct, model) => {
    const sparsity = cubicSparsity(cubic, step - fromEpoch * perEpoch)
    if (sparsity === undefined) return
    const leaves = model.leaves()
    const masks = selectStructured(
      paths.map((path) => candidate(path, leaves.get(path)!, live!(leaves.get(path)!))),
      how,
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
