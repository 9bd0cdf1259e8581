/** Options that all passes with physically smaller results share. */
import { z } from 'zod'
import type { PassNeeds } from '../../pass.js'
import { distillOption } from '../../train/retrain-task.js'
import { retrainSchema } from '../../train/retrain.js'
import { trainSettingsSchema } from '../../train/settings.js'

/** Fields of a strict object. */
export const structuredFields = {
  /** Share of the units to take away: of each group ('local') or of all together ('global'). */
  ratio: z.number().min(0).lt(1).optional(),
  /** Instead: share of the model's parameters that may stay. */
  size: z.number().gt(0).lt(1).optional(),
  /** Instead: share of the multiply-adds that may stay. */
  macs: z.number().gt(0).lt(1).optional(),
  /** 'cut' makes tensors and configurations smaller; 'mask' leaves zeros of the same effect. */
  how: z.enum(['cut', 'mask']).default('cut'),
  /** What stays of a group is a multiple of this (whole vectors of the machine). A group with fewer units is left alone. */
  roundTo: z
    .int()
    .positive()
    .max(2 ** 16)
    .default(1),
  /** Most of one group that a global choice, or one for a size, may take. */
  limit: z.number().gt(0).lt(1).default(0.9),
  /** Over the slices that make a unit. */
  reduce: z.enum(['mean', 'sum', 'max']).default('mean'),
  /** Steps to the goal, each with its retraining. */
  rounds: z.int().positive().max(1000).default(1),
  /** Examples and batch that scores with data are taken from. */
  samples: z.int().positive().max(1e9).default(256),
  batchSize: z.int().positive().max(65_536).default(32),
  retrain: retrainSchema.default({ kind: 'none' }),
  /** How the model was trained, where its history does not say. */
  training: trainSettingsSchema.optional(),
  /** Learn from a teacher while retraining. */
  distill: distillOption,
}

/** How scores of different groups become comparable: divided by their mean, their largest, their length, or not at all. */
export const normalizers = ['none', 'mean', 'max', 'l2'] as const
export type Normalizer = (typeof normalizers)[number]

export interface StructuredOptions {
  readonly ratio?: number | undefined
  readonly size?: number | undefined
  readonly macs?: number | undefined
  readonly how: 'cut' | 'mask'
  readonly roundTo: number
  readonly limit: number
  readonly scope: 'local' | 'global'
  readonly normalize: Normalizer
  readonly reduce: 'mean' | 'sum' | 'max'
  readonly rounds: number
  readonly samples: number
  readonly batchSize: number
  readonly retrain: z.output<typeof retrainSchema>
  readonly training?: z.output<typeof trainSettingsSchema> | undefined
  readonly distill?: z.output<typeof distillOption>
}

/** Exactly one goal. */
export const oneGoal = (o: {
  readonly ratio?: number | undefined
  readonly size?: number | undefined
  readonly macs?: number | undefined
}): boolean => [o.ratio, o.size, o.macs].filter((v) => v !== undefined).length === 1
/** What the runner must provide: `scored`, data for the scores. */
export const structuredNeeds = (o: Pick<StructuredOptions, 'retrain' | 'distill'>, scored: boolean): PassNeeds => ({
  training: o.retrain.kind !== 'none',
  calibration: scored,
  ...(o.distill ? { distill: o.distill } : {}),
})
export const unlessOne = { message: 'give one of ratio, size and macs', path: ['ratio'] }
