/** How to train: plain JSON, checked; it stands in the model's history so that rewinding can replay it. */
import { z } from 'zod'
import { OptionError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { augmentSchema } from '../../data/augment-settings.js'
import type { ModelInfo } from '../../nn/index.js'
import { averageSchema, groupSchema, lossScaleSchema, optimizerSchema, samSchema, scheduleSchema } from '../../optim/index.js'

export const MAX_SEED = Number.MAX_SAFE_INTEGER

export const trainSettingsSchema = z.strictObject({
  /** Length of the whole training and of its schedule. */
  epochs: z.int().positive().max(1e6),
  batchSize: z
    .int()
    .positive()
    .max(2 ** 24)
    .default(64),
  optimizer: optimizerSchema.default({ kind: 'sgd', momentum: 0.9, nesterov: false, weightDecay: 0 }),
  /** The short warm-up keeps momentum from blowing up fresh weights. */
  schedule: scheduleSchema.default({ kind: 'cosine', lr: 0.05, end: 0, warmup: 0.05 }),
  /** Order of the data and dropout. */
  seed: z.int().nonnegative().max(MAX_SEED).default(0),
  /** Share of the target that is spread over all classes. */
  labelSmoothing: z.number().min(0).lt(1).default(0),
  // What follows was added later: left out, a training is what it was, and old settings are still equal to themselves.
  /** Format of the operands of matrix products (docs/adr/0006-mixed-precision.md); weights and optimizer stay f32. Default f32. */
  precision: z.enum(['f32', 'bf16', 'f16']).optional(),
  /** Of f16; default 65,536, doubled every 2,000 steps, halved by an overflow. */
  lossScale: lossScaleSchema.optional(),
  /** Weight decay and rate of some weights; the first group that fits counts. */
  groups: z.array(groupSchema).max(1000).optional(),
  /** Largest norm over all gradients. */
  clipNorm: z.number().positive().finite().optional(),
  /** Largest magnitude of a gradient element (after clipNorm). */
  clipValue: z.number().positive().finite().optional(),
  /** Parts in which the gradient of a batch is computed, one after the other: less memory for the same step. */
  accumulate: z.int().positive().max(65_536).optional(),
  sam: samSchema.optional(),
  /** Average of the weights over the steps; it is what validation measures. */
  ema: averageSchema.optional(),
  /** The figure of validation that decides for earlyStop and keepBest; `mode` where the task does not know it. Default: that of the task. */
  metric: z.strictObject({ name: z.string().min(1).max(100), mode: z.enum(['max', 'min']).optional() }).optional(),
  /** Ends the training when `patience` evaluations in a row were not better than the best by more than `minDelta`. Needs validation. */
  earlyStop: z.strictObject({ patience: z.int().positive().max(1e6), minDelta: z.number().nonnegative().finite().default(0) }).optional(),
  /** Keeps the weights of the best evaluation: `best` of the result. Needs validation. */
  keepBest: z.boolean().optional(),
  /** Changes of the images of a batch, drawn by seed, epoch and sample; for classification. */
  augment: augmentSchema.optional(),
  // How batches are made, not what is in them: these two are no part of history and checkpoints.
  /** Threads that make batches ahead; 0: the calling thread. Default 1 with `augment`, else 0. For classification of numbers. */
  workers: z.int().min(0).max(16).optional(),
  /** Batches made ahead; default 2 + workers. */
  prefetch: z.int().min(0).max(1024).optional(),
})

/** As given: what is left out has a default. */
export type TrainSettingsInput = z.input<typeof trainSettingsSchema>
export type TrainSettings = z.output<typeof trainSettingsSchema>

/** Settings as JSON: what was left out is not there, nor what changes no bit of the result (workers, prefetch). */
export function plainSettings({ workers: _workers, prefetch: _prefetch, ...settings }: TrainSettings): JsonObject {
  return JSON.parse(JSON.stringify(settings)) as JsonObject
}

/** Checks settings and fills in the defaults; ERR_OPTION. */
export function trainSettings(input: TrainSettingsInput): TrainSettings {
  const parsed = trainSettingsSchema.safeParse(input)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]!
  const pointer = `/${issue.path.join('/')}`
  throw new OptionError('ERR_OPTION', `train: ${pointer}: ${issue.message}`, { details: { pointer } })
}

/** The settings of the last training in a model's history. */
export function trainingOf(info: ModelInfo): TrainSettings | undefined {
  for (let i = info.history.length - 1; i >= 0; i--) {
    const entry = info.history[i]!
    if (typeof entry !== 'object' || entry === null || Array.isArray(entry)) continue
    const { kind, settings } = entry as { readonly kind?: Json; readonly settings?: Json }
    if (kind !== 'train') continue
    const parsed = trainSettingsSchema.safeParse(settings)
    if (parsed.success) return parsed.data
  }
  return undefined
}
