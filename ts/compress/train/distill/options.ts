/**
 * Options of distillation, as they stand in recipes under "distill" of any pass that trains: plain JSON, checked. The loss of a batch becomes
 *
 *   hard * (loss on the labels) + soft * (logits term) + sum of weight_i * (term i of `match`)
 *
 * with hard = 1 - alpha and soft = alpha unless both are given. How the logits term is reduced differs between the published codes; `convention` has theirs.
 */
import { z } from 'zod'

/** One published way to write the logits term, with T and alpha as its code has them. */
export interface Convention {
  /** 'kl' to the teacher's distribution at T, or the cross-entropy with it: the same gradient, another value. */
  readonly divergence: 'kl' | 'ce'
  /** What the sum is divided by: rows (examples, tokens), or rows times classes. */
  readonly per: 'row' | 'element'
  /** Multiplied by T^2, which keeps the gradient's scale (Hinton et al. 2015, section 2.1). */
  readonly squared: boolean
  readonly temperature: number
  readonly alpha: number
}

export const conventions = {
  /** KLDiv 'batchmean' T^2; 5 : 2 against the labels (Sanh et al. 2019). */
  distilbert: { divergence: 'kl', per: 'row', squared: true, temperature: 2, alpha: 5 / 7 },
  /** KLDiv 'mean' T^2: smaller by the number of classes (Sun et al. 2019). */
  pkd: { divergence: 'kl', per: 'element', squared: true, temperature: 10, alpha: 0.95 },
  /** Soft cross-entropy, mean over all elements (Jiao et al. 2020; SPD). */
  tinybert: { divergence: 'ce', per: 'element', squared: false, temperature: 1, alpha: 1 },
  /** Cross-entropy summed over classes, no T^2 (Yang et al. 2020). */
  textbrewer: { divergence: 'ce', per: 'row', squared: false, temperature: 4, alpha: 1 },
  /** KLDiv 'batchmean' T^2 with equal weights (Zmora et al. 2019). */
  distiller: { divergence: 'kl', per: 'row', squared: true, temperature: 1, alpha: 0.5 },
} as const satisfies Readonly<Record<string, Convention>>
export type ConventionName = keyof typeof conventions

const weight = z.number().nonnegative().finite()
const path = z.string().max(1024)
const layers = z.union([
  z.enum(['uniform', 'last']),
  z
    .array(z.tuple([path, path]))
    .min(1)
    .max(1000),
])
const common = {
  weight: weight.default(1),
  /** Number of the teacher that it looks at. */
  teacher: z.int().nonnegative().default(0),
  /**
   * Which layers of student and teacher belong together: student layer m of M to teacher layer m N / M ('uniform'), to the last M ('last'), or pairs of
   * paths [student, teacher].
   */
  layers: layers.default('uniform'),
}
/** The student's features through a learned linear map: where the widths differ ('auto'), always, or never. It is no part of the model. */
const projection = z.enum(['auto', 'learned', 'none']).default('auto')

/** One term of the loss about what happens inside the models. */
export const matchSchema = z.discriminatedUnion('loss', [
  /** Mean squared difference of hidden states (Romero et al. 2015; TinyBERT eq. 8). */
  z.strictObject({ loss: z.literal('hidden'), ...common, projection }),
  /** 1 - cosine of hidden states (DistilBERT). */
  z.strictObject({ loss: z.literal('cosine'), ...common, projection }),
  /** Squared difference of the first token's states, each of length 1, of all student layers but the last (PKD eq. 7). */
  z.strictObject({ loss: z.literal('pkd'), ...common, projection }),
  /** Squared difference of F^T F / length: which channels go together. */
  z.strictObject({ loss: z.literal('gram'), ...common, projection }),
  /** Squared difference of F1^T F2 / length for each pair of layers and the next one: the flow between them (Yim et al. 2017, eq. 1-2). */
  z.strictObject({ loss: z.literal('fsp'), ...common, projection }),
  /** Squared difference of F F^T / width: which places are alike (Huang and Wang 2017). */
  z.strictObject({ loss: z.literal('places'), ...common }),
  /** Attention: squared difference of the scores before softmax (TinyBERT eq. 7), or KL of the weights (MiniLM eq. 3). */
  z.strictObject({ loss: z.literal('attention'), ...common, of: z.enum(['scores', 'weights']).default('scores') }),
  /** KL of the value relations softmax(V V^T / sqrt(d)) of the last layer (MiniLM eq. 5-6); widths may differ. */
  z.strictObject({ loss: z.literal('values'), ...common, layers: layers.default('last') }),
])
export type MatchTerm = z.output<typeof matchSchema>

export const distillSchema = z
  .strictObject({
    convention: z.enum(Object.keys(conventions) as [ConventionName, ...ConventionName[]]).default('distilbert'),
    /** Default: that of the convention. */
    temperature: z.number().positive().finite().optional(),
    /** Share of the logits term, 1 - alpha that of the labels. Default: that of the convention. */
    alpha: z.number().min(0).max(1).optional(),
    /** Weights of labels and logits term instead of alpha. */
    hard: weight.optional(),
    soft: weight.optional(),
    /**
     * The logits term: distributions at T, squared error of the logits (Bucila et al. 2006; that is what regression and embeddings always use), or
     * cross-entropy with the teacher's top class.
     */
    logits: z.enum(['soft', 'mse', 'top']).default('soft'),
    match: z.array(matchSchema).max(100).default([]),
    /** Weights of several teachers in the mean of their distributions; default: all alike. */
    teachers: z.array(weight).min(1).max(100).optional(),
    /** Teacher outputs computed once and kept, where nothing but logits is asked for and they fit: 'auto', or not at all. */
    cache: z.enum(['auto', 'none']).default('auto'),
  })
  .refine((o) => (o.hard === undefined) === (o.soft === undefined), { error: 'hard and soft go together', path: ['hard'] })
  .refine((o) => o.alpha === undefined || o.hard === undefined, { error: 'give either alpha or hard and soft', path: ['alpha'] })
  .refine((o) => o.teachers === undefined || o.teachers.some((w) => w > 0), { error: 'one weight must be above 0', path: ['teachers'] })

export type DistillInput = z.input<typeof distillSchema>
export type Distill = z.output<typeof distillSchema>

export interface Weights {
  readonly hard: number
  readonly soft: number
}

export function weightsOf({ alpha, hard, soft, convention }: Distill): Weights {
  if (hard !== undefined) return { hard, soft: soft! }
  const share = alpha ?? conventions[convention].alpha
  return { hard: 1 - share, soft: share }
}

/** True where the terms change nothing: the loss is then that of the task, bit for bit. */
export function idle(o: Distill): boolean {
  const { hard, soft } = weightsOf(o)
  return hard === 1 && soft === 0 && o.match.every((term) => term.weight === 0)
}
