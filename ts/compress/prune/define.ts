/** A pruning pass from a score: the shared options and its own, the plan of its rounds, and the run. */
import type { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import type { Model } from '../../nn/index.js'
import { definePass, type PassFactory, type PlanFacts } from '../pass.js'
import { checkRetrain, retrainEpochs } from '../train/retrain.js'
import { trainingOf } from '../train/settings.js'
import { chosenTargets, countsOf } from './candidates.js'
import type { pruneOptions, PruneOptions } from './options.js'
import { PruneRun } from './run.js'
import { roundsOf } from './schedule.js'
import type { Score } from './score.js'

export interface Pruning<S extends z.ZodType> {
  readonly name: string
  readonly version: number
  readonly summary: string
  readonly options: S
  /** What scores need: inputs of layers, or losses of labelled data or a task. */
  readonly data?: 'inputs' | 'losses'
  readonly score: Score<z.output<S> & PruneOptions>
}

type Schema<X extends z.ZodRawShape> = ReturnType<typeof pruneOptions<X>>

/** What a pruning is going to cost: rounds, epochs, the T (1 + k) of Renda et al. ERR_OPTION for what would fail later. */
export function planOf(where: string, model: Model, o: PruneOptions, facts: PlanFacts): JsonObject {
  const chosen = chosenTargets(facts.targets, model.info, o.keepClassifier ?? false)
  const counts = countsOf(model, chosen)
  const rounds = roundsOf(where, o, counts)
  const training = o.training ?? trainingOf(model.info)
  if (o.retrain.kind !== 'none' && !training)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: retraining repeats the training of ${model.info.name}, but its history names none; give it as the option "training"`,
    )
  if (training) checkRetrain(where, o.retrain, training, facts.snapshots)
  if (o.stop && !facts.validated) throw new OptionError('ERR_OPTION', `${where}: the stop rule needs validation data`)
  const densities = rounds.map((r) => ('density' in r ? r.density : null))
  const perRound = densities.map((d) => retrainEpochs(o.retrain, training, d ?? 1))
  const epochs = perRound.reduce((a, b) => a + b, 0)
  const perEpoch = training && facts.examples !== undefined ? Math.ceil(facts.examples / training.batchSize) : undefined
  const whole = densities.at(-1) === null ? undefined : counts.total / (counts.total - counts.prunable * (1 - densities.at(-1)!))
  return {
    rounds: rounds.length,
    ...(o.quality === undefined ? { densities: densities } : { quality: [o.quality].flat() }),
    weights: facts.targets.length,
    ...(whole === undefined || !Number.isFinite(whole) ? {} : { compression: whole }),
    retrain: o.retrain.kind,
    epochsPerRound: Math.max(0, ...perRound),
    epochs,
    ...(perEpoch === undefined ? {} : { steps: epochs * perEpoch }),
    // T(1 + k) where every round trains for the full T
    ...(training ? { originalEpochs: training.epochs, epochsInAll: training.epochs + epochs } : {}),
  }
}

export function definePruning<X extends z.ZodRawShape>(of: Pruning<Schema<X>>): PassFactory<Schema<X>> {
  const shared = (o: unknown): PruneOptions => o as PruneOptions
  return definePass({
    name: of.name,
    version: of.version,
    summary: of.summary,
    options: of.options,
    needs: (o) => ({
      training: shared(o).retrain.kind !== 'none',
      calibration: of.data === 'inputs',
      losses: of.data === 'losses',
      distill: shared(o).distill,
    }),
    roles: ['matrix', 'kernel'],
    plan: (model, o, facts) => {
      const left = facts.targets.filter((t) => of.score.lacks?.(t) !== undefined)
      return planOf(of.name, model, shared(o), left.length ? { ...facts, targets: facts.targets.filter((t) => !left.includes(t)) } : facts)
    },
    apply: (model, context) => new PruneRun(of.name, model, context as never, of.score as never).run(),
  })
}
