/**
 * Ways to train on after weights were removed (Renda, Frankle, Carbin, ICLR 2020). With T the epochs of the original training, S its
 * schedule and t the epochs to train on:
 *   finetune             final weights and momentum, the last rate of S (or a given one)
 *   rewindWeights        weights, momentum and schedule go back to epoch T - t
 *   rewindLearningRate   final weights and momentum; only the schedule goes back: step s trains with S(T - t + s)
 */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import { lrAt } from '../../optim/index.js'
import type { TrainSettings } from './settings.js'
import type { Snapshots, TrainState } from './state.js'
import type { TrainStart } from './contract.js'

const epochs = z.int().positive().max(1e6)

export const retrainSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('none') }),
  z.strictObject({ kind: z.literal('finetune'), epochs, lr: z.number().nonnegative().finite().optional() }),
  z.strictObject({ kind: z.literal('rewindWeights'), epochs }),
  z.strictObject({ kind: z.literal('rewindLearningRate'), epochs }),
])
export type Retrain = z.output<typeof retrainSchema>

/** Retraining as recipes write it. */
export const retrain = {
  none: (): Retrain => ({ kind: 'none' }),
  finetune: (options: { readonly epochs: number; readonly lr?: number }): Retrain => ({ kind: 'finetune', ...options }),
  rewindWeights: (options: { readonly epochs: number }): Retrain => ({ kind: 'rewindWeights', ...options }),
  rewindLearningRate: (options: { readonly epochs: number }): Retrain => ({ kind: 'rewindLearningRate', ...options }),
}

export function retrainEpochs(how: Retrain): number {
  return how.kind === 'none' ? 0 : how.epochs
}

/** Throws what would fail later: rewinding beyond the beginning, a snapshot that is not there. */
export function checkRetrain(where: string, how: Retrain, training: TrainSettings, snapshots: Snapshots | undefined): void {
  if (how.kind === 'none' || how.kind === 'finetune') return
  const from = training.epochs - how.epochs
  if (from < 0)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: ${how.kind} by ${how.epochs} epochs is more than the ${training.epochs} epochs of the training`,
      {
        details: { pointer: '/retrain/epochs' },
      },
    )
  if (how.kind === 'rewindWeights' && !snapshots?.at(from))
    throw new OptionError(
      'ERR_OPTION',
      `${where}: rewindWeights needs the snapshot of epoch ${from}; there ${snapshots?.epochs.length ? `are those of epochs ${snapshots.epochs.join(', ')}` : 'is none'}`,
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
  },
): RetrainPlan {
  const { examples, seed, last, snapshots } = facts
  // What is pruned on is the trained model itself: nobody takes an average or the best here, and the length is that of the plan.
  const { ema: _ema, earlyStop: _stop, keepBest: _best, metric: _metric, ...training } = original
  const slots = last ? { slots: { slots: last.slots, updates: last.updates } } : {}
  const fromEpoch = training.epochs - how.epochs
  switch (how.kind) {
    case 'finetune': {
      const steps = training.epochs * Math.ceil(examples / training.batchSize)
      const lr = how.lr ?? lrAt(training.schedule, steps - 1, steps)
      return { settings: { ...training, seed, epochs: how.epochs, schedule: { kind: 'constant', lr, warmup: 0 } }, start: slots }
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
