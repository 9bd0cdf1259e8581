/**
 * Magnitude pruning: the weights with the smallest |w| become 0 and stay 0.
 *
 * One-shot, level by level (Li et al., ICML 2020), a share of the survivors per round (Renda, Frankle, Carbin, ICLR 2020), or little by
 * little while training (Zhu, Gupta 2017); each with or without training afterwards. The mask only grows; the number of weights that stay is
 * exact, ties go to the lower index; masked weights are exactly 0 after every optimizer step.
 */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import { definePass } from '../pass.js'
import { distillOption } from '../train/retrain-task.js'
import { checkRetrain, retrainEpochs, retrainSchema } from '../train/retrain.js'
import { trainSettingsSchema, trainingOf } from '../train/settings.js'
import { densities } from './amount.js'
import { MagnitudeRun } from './magnitude-run.js'

const sparsity = z.number().min(0).lt(1)

const options = z
  .strictObject({
    /** Share of zeros at the end, or one after another. */
    sparsity: z.union([sparsity, z.array(sparsity).min(1).max(1000)]).optional(),
    /** Instead of `sparsity`: remove `fraction` of the survivors, `rounds` times. */
    iterative: z.strictObject({ fraction: z.number().gt(0).lt(1).default(0.2), rounds: z.int().positive().max(1000) }).optional(),
    /** Reach `sparsity` during the retraining, by the cubic schedule, between two shares of it. */
    gradual: z
      .strictObject({
        initial: sparsity.default(0),
        begin: z.number().min(0).lt(1).default(0),
        end: z.number().gt(0).max(1).default(0.75),
        everySteps: z.int().positive().default(100),
      })
      .refine((g) => g.begin < g.end, { message: 'begin must be before end', path: ['end'] })
      .optional(),
    /** 'local' prunes each weight by the same share, 'global' compares all of them. */
    scope: z.enum(['local', 'global']).default('local'),
    retrain: retrainSchema.default({ kind: 'none' }),
    /** How the model was trained, where its history does not say. */
    training: trainSettingsSchema.optional(),
    /** End a retraining as soon as the accuracy on the validation data is this share of that before pruning. */
    stop: z.strictObject({ share: z.number().gt(0).default(0.995), everySteps: z.int().positive().default(100) }).optional(),
    /** Learn from a teacher while retraining (SparseBERT); without one given: from the model as it was. */
    distill: distillOption,
  })
  .refine((o) => (o.sparsity === undefined) !== (o.iterative === undefined), {
    message: 'give either sparsity or iterative',
    path: ['sparsity'],
  })
  .refine((o) => !Array.isArray(o.sparsity) || o.sparsity.every((s, i, all) => i === 0 || s > all[i - 1]!), {
    message: 'levels must rise',
    path: ['sparsity'],
  })
  .refine((o) => !o.gradual || (typeof o.sparsity === 'number' && o.retrain.kind !== 'none'), {
    message: 'gradual pruning needs one sparsity and a retraining to happen in',
    path: ['gradual'],
  })
  .refine((o) => !o.distill || o.retrain.kind !== 'none', { message: 'distillation needs a retraining', path: ['distill'] })
  .refine((o) => !o.stop || o.retrain.kind !== 'none', { message: 'a stop rule needs a retraining to stop', path: ['stop'] })

export type MagnitudeOptions = z.output<typeof options>

export const magnitude = definePass({
  name: 'prune/magnitude',
  version: 1,
  summary: 'sets the weights with the smallest magnitude to 0, with or without retraining',
  options,
  needs: (o) => ({ training: o.retrain.kind !== 'none', distill: o.distill }),
  roles: ['matrix', 'kernel'],
  plan: (model, o, facts): JsonObject => {
    const steps = densities(o)
    const training = o.training ?? trainingOf(model.info)
    if (o.retrain.kind !== 'none' && !training)
      throw new OptionError(
        'ERR_OPTION',
        `prune/magnitude: retraining repeats the training of ${model.info.name}, but its history names none; give it as the option "training"`,
      )
    if (training) checkRetrain('prune/magnitude', o.retrain, training, facts.snapshots)
    if (o.stop && !facts.validated) throw new OptionError('ERR_OPTION', 'prune/magnitude: the stop rule needs validation data')
    const epochsPerRound = retrainEpochs(o.retrain)
    return {
      rounds: steps.length,
      densities: steps,
      weights: facts.targets.length,
      retrain: o.retrain.kind,
      epochsPerRound,
      epochs: epochsPerRound * steps.length,
      // T(1 + k) where every round trains for the full T
      ...(training ? { originalEpochs: training.epochs, epochsInAll: training.epochs + epochsPerRound * steps.length } : {}),
    }
  },
  apply: async (model, context) => new MagnitudeRun(model, context).run(),
})
