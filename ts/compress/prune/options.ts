/** The options that pruning passes share: how much (amount), what together and compared with what (structure, scope), what follows (retraining). */
import { z } from 'zod'
import { distillOption } from '../train/retrain-task.js'
import { retrainSchema } from '../train/retrain.js'
import { trainSettingsSchema } from '../train/settings.js'
import { scopes, type Scope } from './select.js'
import { structureOf, type Structure } from './structure.js'

const sparsity = z.number().min(0).lt(1)

const shared = {
  /** Share of zeros at the end, or one after another. */
  sparsity: z.union([sparsity, z.array(sparsity).min(1).max(1000)]).optional(),
  /** Instead of `sparsity`: remove `fraction` of the survivors, `rounds` times, or until `compression` is reached. */
  iterative: z.strictObject({ fraction: z.number().gt(0).lt(1).default(0.2), rounds: z.int().positive().max(1000).optional() }).optional(),
  /** Instead of `sparsity`: so many times fewer weights in the whole model, biases and everything else that is not pruned counted in. */
  compression: z.number().gt(1).max(1e6).optional(),
  /** Learn from a teacher while retraining (SparseBERT); without one given: from the model as it was. */
  distill: distillOption,
  // What follows was added later: left out, a recipe is what it was.
  /** What goes together: 'weight' (default), '2:4' (two of each four neighbours stay), '4x4' (blocks of four rows and four columns). */
  structure: z
    .string()
    .max(9)
    .refine((s) => structureOf(s) !== undefined, { message: "must be 'weight', n:m as '2:4' (n < m <= 64), or rows x columns as '4x4'" })
    .optional(),
  /** Leaves the last layer as it is: few weights, each of which counts. Default false. */
  keepClassifier: z.boolean().optional(),
  retrain: retrainSchema.default({ kind: 'none' }),
  /** How the model was trained, where its history does not say. */
  training: trainSettingsSchema.optional(),
  /** End a retraining as soon as the accuracy on the validation data is this share of that before pruning. */
  stop: z.strictObject({ share: z.number().gt(0).default(0.995), everySteps: z.int().positive().default(100) }).optional(),
  /** Retrain with dropout rescaled to what is left of the layer that reads it, p sqrt(C_r / C_o) (Han et al. 2015). Default false. */
  rescaleDropout: z.boolean().optional(),
}

/** Reach `sparsity` during the retraining, by the cubic schedule (Zhu, Gupta 2017), between two shares of it. */
export const gradual = z
  .strictObject({
    initial: sparsity.default(0),
    begin: z.number().min(0).lt(1).default(0),
    end: z.number().gt(0).max(1).default(0.75),
    everySteps: z.int().positive().default(100),
  })
  .refine((g) => g.begin < g.end, { message: 'begin must be before end', path: ['end'] })
export type Gradual = z.output<typeof gradual>

/** Instead of `sparsity`: weights below so many standard deviations of their layer go, once or again and again (Han et al. 2015). */
const positive = z.number().gt(0).max(100)
export const quality = z.union([positive, z.array(positive).min(1).max(1000)])

export type PruneOptions = z.output<z.ZodObject<typeof shared, z.core.$strict>> & {
  readonly scope: Scope
  readonly gradual?: Gradual | undefined
  readonly quality?: number | readonly number[] | undefined
}

function check(o: PruneOptions, ctx: z.core.$RefinementCtx): void {
  const refuse = (message: string, ...path: string[]): void => void ctx.addIssue({ code: 'custom', message, path, input: o })
  const { n, m } = { n: 0, m: 0, ...structureIn(o) }
  const ways = [o.sparsity !== undefined, o.iterative !== undefined || o.compression !== undefined, o.quality !== undefined].filter(Boolean)
  if (m > 0 && ways.length > 0)
    refuse(`structure '${n}:${m}' says how many weights stay: give no sparsity, iterative, compression or quality`, 'structure')
  else if (m === 0 && ways.length !== 1)
    refuse("give one of sparsity, iterative or compression (prune/magnitude: or quality), or a structure as '2:4'", 'sparsity')
  if (o.iterative && (o.iterative.rounds === undefined) === (o.compression === undefined))
    refuse('give either rounds or, beside iterative, compression', 'iterative', 'rounds')
  if (Array.isArray(o.sparsity) && o.sparsity.some((s, i, all) => i > 0 && s <= all[i - 1]!)) refuse('levels must rise', 'sparsity')
  if (o.gradual && (typeof o.sparsity !== 'number' || o.retrain.kind === 'none'))
    refuse('gradual pruning needs one sparsity and a retraining to happen in', 'gradual')
  if (o.distill && o.retrain.kind === 'none') refuse('distillation needs a retraining', 'distill')
  if (o.stop && o.retrain.kind === 'none') refuse('a stop rule needs a retraining to stop', 'stop')
  if (o.stop && o.gradual) refuse('a stop rule would end the training before the sparsity is reached', 'stop')
  if (o.rescaleDropout && o.retrain.kind === 'none') refuse('dropout acts in a retraining only', 'rescaleDropout')
  if (o.rescaleDropout && o.gradual)
    refuse('dropout is rescaled to a mask that stays, not to one that changes while it trains', 'rescaleDropout')
  if (o.quality !== undefined && formOf(o).kind !== 'weight') refuse('thresholds are for single weights', 'quality')
}

/** The structure that the options name. */
export const formOf = ({ structure = 'weight' }: Pick<PruneOptions, 'structure'>): Structure => structureOf(structure) ?? { kind: 'weight' }

const structureIn = (o: PruneOptions): Partial<Extract<Structure, { kind: 'nm' }>> => {
  const s = formOf(o)
  return s.kind === 'nm' ? s : {}
}

/** The schema of a pruning pass: the shared options and its own. */
export function pruneOptions<X extends z.ZodRawShape>(scope: Scope, own: X) {
  return z
    .strictObject({
      ...shared,
      /** 'local' prunes each weight by the same share, 'row' each row of it, 'global' compares all of them. */
      scope: z.enum(scopes).default(scope),
      ...own,
    })
    .superRefine((o, ctx) => check(o as unknown as PruneOptions, ctx))
}
