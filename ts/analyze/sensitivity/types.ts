/** What is known of how much each layer loses by fewer bits: plain JSON, with a version, so that it can be kept in a file. */
import { z } from 'zod'
import { ModelFormatError } from '../../base/errors.js'

export const methods = ['trace', 'eigenvalue', 'direct'] as const
/**
 * How the cost of rounding a layer is found:
 * - `trace`: trace of its Hessian block over its size, times the squared change of the weights, over 2 (HAWQ-v2, Dong et al. 2020, equation 10)
 * - `eigenvalue`: |mean| + standard deviation of the largest eigenvalue over parts of the data (Q-BERT, Shen et al. 2020, equation 2) in place of the mean trace
 * - `direct`: the loss is measured with that layer alone rounded
 */
export type SensitivityMethod = (typeof methods)[number]

const number = z.number()
const count = z.int().nonnegative()

const choice = z.strictObject({
  bits: z.int().min(2).max(32),
  /** Of all weights of the group in a file. */
  bytes: count,
  /** ||Q(W) - W||^2. */
  perturbation: number.nonnegative(),
  /** By how much the loss rises: predicted, or measured (then it may be negative). */
  cost: number,
  /** Direct, of classifiers: accuracy with this group alone rounded. */
  accuracy: number.optional(),
})

const group = z.strictObject({
  name: z.string(),
  paths: z.array(z.string()).min(1),
  parameters: count,
  /** As it is. */
  bytes: count,
  /** omega, the trace over the size, or the measured increase over half of the squared change at the fewest bits. */
  sensitivity: number,
  /** Largest eigenvalue on each part of the data. */
  eigenvalue: z.strictObject({ mean: number, deviation: number, shards: z.array(number), converged: count }).optional(),
  /** The standard error is null for a single sample. */
  trace: z.strictObject({ value: number, standardError: number.nullable(), samples: count }).optional(),
  /** By rising bits; 32 stands for the weight as it is. */
  choices: z.array(choice).min(1),
})

export const sensitivitiesSchema = z.strictObject({
  sensitivity: z.literal(1),
  method: z.enum(methods),
  model: z.string(),
  data: z.string(),
  examples: count,
  seed: count,
  /** Mean loss of the model as it is. */
  loss: number,
  accuracy: number.optional(),
  groups: z.array(group).min(1),
})

export type SensitivityChoice = z.output<typeof choice>
export type GroupSensitivity = z.output<typeof group>
export type Sensitivities = z.output<typeof sensitivitiesSchema>

/** Checks what came from a file. ERR_MODEL_FORMAT says where it is wrong. */
export function parseSensitivities(value: unknown, where = 'sensitivities'): Sensitivities {
  const parsed = sensitivitiesSchema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]!
  const pointer = issue.path.map((p) => `/${String(p)}`).join('')
  throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${pointer || 'the whole'}: ${issue.message}`, {
    details: { format: 'sensitivities', reason: issue.code, pointer },
  })
}
