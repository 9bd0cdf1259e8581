/**
 * Movement pruning (Sanh, Wolf, Rush, NeurIPS 2020, "Movement pruning: adaptive sparsity by fine-tuning"): a score per weight is trained with the weights, S <- S - lr dL/dW' * W, and
 * those with the largest scores stay: weights that move away from zero, not those that are far from it. The sparsity rises by the cubic schedule between `begin` and `end` of the
 * training; before every step the mask is what the scores say, so a weight may come back until the end.
 */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import { definePass } from '../pass.js'
import { distillOption } from '../train/retrain-task.js'
import { checkRetrain, retrainEpochs, retrainSchema } from '../train/retrain.js'
import { trainingOf, trainSettingsSchema } from '../train/settings.js'
import { MovementRun } from './movement-run.js'

const NAME = 'prune/movement'

const options = z
  .strictObject({
    /** Share of zeros at the end. */
    sparsity: z.number().min(0).lt(1),
    /** The same share of each weight, or over all of them. */
    scope: z.enum(['local', 'global']).default('local'),
    /** Sparsity before `begin`. */
    initial: z.number().min(0).lt(1).default(0),
    /** Shares of the training between which the sparsity rises. */
    begin: z.number().min(0).lt(1).default(0.1),
    end: z.number().gt(0).max(1).default(0.7),
    /** Leaves the last layer as it is. */
    keepClassifier: z.boolean().default(false),
    /** The training in which it happens. */
    retrain: retrainSchema,
    /** How the model was trained, where its history does not say. */
    training: trainSettingsSchema.optional(),
    /** Learn from a teacher on the way; without one given: from the model as it was. */
    distill: distillOption,
  })
  .refine((o) => o.begin < o.end, { message: 'begin must be before end', path: ['end'] })
  .refine((o) => o.retrain.kind !== 'none', { message: 'scores are learned in a training: give one', path: ['retrain'] })

export type MovementOptions = z.output<typeof options>

export const movement = definePass({
  name: NAME,
  version: 1,
  summary: 'learns while training which weights to set to 0: those that move towards it',
  options,
  needs: (o) => ({ training: true, distill: o.distill }),
  roles: ['matrix', 'kernel'],
  plan: (model, o, facts) => {
    const training = o.training ?? trainingOf(model.info)
    if (!training)
      throw new OptionError(
        'ERR_OPTION',
        `${NAME}: it repeats the training of ${model.info.name}, but its history names none; give it as the option "training"`,
      )
    checkRetrain(NAME, o.retrain, training, facts.snapshots)
    const epochs = retrainEpochs(o.retrain, training, 1 - o.sparsity)
    return {
      ...{ rounds: 1, densities: [1 - o.sparsity], weights: facts.targets.length, retrain: o.retrain.kind, epochs },
      ...{ originalEpochs: training.epochs, epochsInAll: training.epochs + epochs },
    }
  },
  apply: (model, context) => new MovementRun(NAME, model, context).run(),
})
