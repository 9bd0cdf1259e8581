/**
 * Ways to train on after weights were removed (Renda, Frankle, Carbin, ICLR 2020). With T the epochs of the original training, S its
 * schedule and t the epochs to train on:
 *   finetune             final weights and momentum, the last rate of S (or a given one)
 *   rewindWeights        weights, momentum and schedule go back to epoch T - t
 *   rewindLearningRate   final weights and momentum; only the schedule goes back: step s trains with S(T - t + s)
 * and, to compare with:
 *   lowLearningRate      weights and momentum of epoch T - t, the last rate of S: what rewinding gives without its rates
 *   reinitialize         fresh weights under the mask, S from T - t on: what the mask alone is worth
 *   scratch              fresh weights, the whole of S again: over T epochs (Scratch-E), or over as many as the arithmetic of the unpruned training
 *                        pays for (Scratch-B; Liu, Sun, Zhou, Huang, Darrell, ICLR 2019), at most `maxFactor` T
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import { OptionError } from '../../base/errors.js'
import type { Model, Rng } from '../../nn/index.js'
import { lrAt } from '../../optim/index.js'
import { freshState } from './fresh.js'
import type { TrainSettings } from './settings.js'
import type { Snapshots, TrainState } from './state.js'
import type { TrainStart } from './contract.js'

const epochs = z.int().positive().max(1e6)

export const retrainSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  z.strictObject({ kind: z.literal('finetune'), epochs, lr: z.number().nonnegative().finite().optional() }),
  z.strictObject({ kind: z.literal('rewindWeights'), epochs }),
  z.strictObject({ kind: z.literal('rewindLearningRate'), epochs }),
  z.strictObject({ kind: z.literal('lowLearningRate'), epochs, lr: z.number().nonnegative().finite().optional() }),
  z.strictObject({ kind: z.literal('reinitialize'), epochs }),
  z.strictObject({
    kind: z.literal('scratch'),
    budget: z.enum(['epochs', 'compute']).default('epochs'),
    maxFactor: z.number().min(1).max(1000).default(2),
  }),
])
export type Retrain = z.output<typeof retrainSchema>

/** Retraining as recipes write it. */
export const retrain = {
  none: (): Retrain => ({ kind: 'none' }),
  finetune: (options: { readonly epochs: number; readonly lr?: number }): Retrain => ({ kind: 'finetune', ...options }),
  rewindWeights: (options: { readonly epochs: number }): Retrain => ({ kind: 'rewindWeights', ...options }),
  rewindLearningRate: (options: { readonly epochs: number }): Retrain => ({ kind: 'rewindLearningRate', ...options }),
  lowLearningRate: (options: { readonly epochs: number; readonly lr?: number }): Retrain => ({ kind: 'lowLearningRate', ...options }),
  reinitialize: (options: { readonly epochs: number }): Retrain => ({ kind: 'reinitialize', ...options }),
  scratch: ({
    budget = 'epochs',
    maxFactor = 2,
  }: { readonly budget?: 'epochs' | 'compute'; readonly maxFactor?: number } = {}): Retrain => ({
    kind: 'scratch',
    budget,
    maxFactor,
  }),
}

/** Epochs of one retraining of a net of which `share` of the arithmetic is left; `training`: how it was trained. */
export function retrainEpochs(how: Retrain, training?: TrainSettings, share = 1): number {
  if (how.kind === 'none') return 0
  if (how.kind !== 'scratch') return how.epochs
  const whole = training?.epochs ?? 0
  return how.budget === 'epochs' ? whole : Math.max(1, Math.round(whole * Math.min(how.maxFactor, 1 / Math.max(share, 1e-9))))
}

/** Throws what would fail later: rewinding beyond the beginning, a snapshot that is not there. */
export function checkRetrain(where: string, how: Retrain, training: TrainSettings, snapshots: Snapshots | undefined): void {
  if (how.kind === 'none' || how.kind === 'finetune' || how.kind === 'scratch') return
  const from = training.epochs - how.epochs
  if (from < 0)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: ${how.kind} by ${how.epochs} epochs is more than the ${training.epochs} epochs of the training`,
      {
        details: { pointer: '/retrain/epochs' },
      },
    )
  if ((how.kind === 'rewindWeights' || how.kind === 'lowLearningRate') && !snapshots?.at(from))
    throw new OptionError(
      'ERR_OPTION',
      `${where}: ${how.kind} needs the snapshot of epoch ${from}; there ${snapshots?.epochs.length ? `are those of epochs ${snapshots.epochs.join(', ')}` : 'is none'}`,
      {
        details: { pointer: '/retrain', epoch: from },
      },
    )
}

export interface RetrainPlan {
  readonly settings: TrainSettings
  readonly start: TrainStart
}

/** Settings and starting point of one retraining. `last`: the state at the end of the training before (the original or a round). */
export function retrainPlan(
  how: Exclude<Retrain, { kind: 'none' }>,
  original: TrainSettings,
  facts: {
    readonly examples: number
    readonly seed: number
    readonly last: TrainState | undefined
    readonly snapshots: Snapshots | undefined
    /** Of fresh values: what is trained, and a generator for them. */
    readonly model?: Model
    readonly rng?: () => Rng
    /** Share of the arithmetic that is left. */
    readonly compute?: () => number
  },
): RetrainPlan {
  const { examples, seed, last, snapshots } = facts
  const fresh = (): Map<string, RawTensor> => freshState(facts.model!, facts.rng!())
  // What is pruned on is the trained model itself: nobody takes an average or the best here, and the length is that of the plan.
  const { ema: _ema, earlyStop: _stop, keepBest: _best, metric: _metric, ...training } = original
  const slots = last ? { slots: { slots: last.slots, updates: last.updates } } : {}
  const fromEpoch = how.kind === 'scratch' ? 0 : training.epochs - how.epochs
  const constant = (epochs: number, given: number | undefined): TrainSettings => {
    const steps = training.epochs * Math.ceil(examples / training.batchSize)
    const lr = given ?? lrAt(training.schedule, steps - 1, steps)
    return { ...training, seed, epochs, schedule: { kind: 'constant', lr, warmup: 0 } }
  }
  switch (how.kind) {
    case 'finetune':
      return { settings: constant(how.epochs, how.lr), start: slots }
    case 'lowLearningRate': {
      const back = snapshots!.at(fromEpoch)!
      const start = { values: back.values, slots: { slots: back.slots, updates: back.updates } }
      return { settings: constant(how.epochs, how.lr), start }
    }
    case 'reinitialize':
      return { settings: { ...training, seed }, start: { fromEpoch, values: fresh() } }
    case 'scratch': {
      const share = how.budget === 'compute' ? facts.compute!() : 1
      return { settings: { ...training, seed, epochs: retrainEpochs(how, training, share) }, start: { values: fresh() } }
    }
    case 'rewindLearningRate':
      return { settings: { ...training, seed }, start: { fromEpoch, ...slots } }
    case 'rewindWeights': {
      const back = snapshots!.at(fromEpoch)!
      return {
        settings: { ...training, seed },
        start: { fromEpoch, values: back.values, slots: { slots: back.slots, updates: back.updates } },
      }
    }
  }
}
