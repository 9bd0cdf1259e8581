/** What augmentation does, as plain JSON. Apart from augment.ts: workers get checked settings and need no schema library. */
import { z } from 'zod'
import { OptionError } from '../base/errors.js'

const probability = z.number().min(0).max(1)
const within = (low: number, high: number): z.ZodNumber => z.number().min(low).max(high)
const alpha = z.strictObject({
  /** Of Beta(alpha, alpha), from which the share is drawn. */
  alpha: z.number().positive().max(1000).default(1),
  /** Share of batches that are mixed. */
  probability: probability.default(1),
})

export const augmentSchema = z.strictObject({
  /** Pads by so many pixels of `fill` on each side and crops the old size at a random place. */
  crop: z.strictObject({ padding: z.int().positive().max(1024) }).optional(),
  /** Probability of a horizontal flip. */
  flip: probability.optional(),
  /** Turn by up to `rotate` degrees, scale by a factor in [1 - scale, 1 + scale], shear by up to `shear` degrees, move by up to `translate` of the size; bilinear. */
  affine: z
    .strictObject({
      rotate: z.number().min(0).max(180).default(0),
      scale: z.number().min(0).max(0.9).default(0),
      shear: z.number().min(0).max(60).default(0),
      translate: z.number().min(0).max(1).default(0),
    })
    .optional(),
  /** Factor in [1 - b, 1 + b]. */
  brightness: probability.optional(),
  /** Factor in [1 - c, 1 + c] about the mean grey. */
  contrast: probability.optional(),
  /** Random erasing: with `probability` a box of `area` (share) and `aspect` (height / width) becomes `fill`. Defaults as in the paper. */
  erase: z
    .strictObject({
      probability: probability.default(0.5),
      area: z.tuple([within(0, 1), within(0, 1)]).default([0.02, 0.4]),
      aspect: z.tuple([within(0.01, 100), within(0.01, 100)]).default([0.3, 1 / 0.3]),
    })
    .optional(),
  /** Cutout (DeVries and Taylor 2017, arXiv 1708.04552): a square of `size` pixels around a point anywhere in the image becomes `fill`. */
  cutout: z.strictObject({ size: z.int().positive().max(4096), count: z.int().positive().max(64).default(1) }).optional(),
  /** Value of pixels that come from outside or are erased. Default 0. */
  fill: z.number().optional(),
  /** x = s x + (1 - s) x' with another sample of the batch (Zhang et al. 2018, arXiv 1710.09412). */
  mixup: alpha.optional(),
  /** A box of another sample of the batch (Yun et al. 2019, arXiv 1905.04899); with `mixup` too, each batch takes one of them. */
  cutmix: alpha.optional(),
  /** (x - mean) / std, per channel or one for all. Leave it out where the model normalizes. */
  normalize: z.strictObject({ mean: z.array(z.number()).min(1), std: z.array(z.number().positive()).min(1) }).optional(),
})

export type AugmentInput = z.input<typeof augmentSchema>
export type Augment = z.output<typeof augmentSchema>

/** Checks settings and fills in the defaults; ERR_OPTION with the JSON pointer. */
export function augmentSettings(input: AugmentInput): Augment {
  const parsed = augmentSchema.safeParse(input)
  if (parsed.success) {
    for (const [name, pair] of Object.entries({ area: parsed.data.erase?.area, aspect: parsed.data.erase?.aspect }))
      if (pair && pair[0] > pair[1]) throw new OptionError('ERR_OPTION', `augment: /erase/${name}: must rise, got [${pair.join(', ')}]`)
    return parsed.data
  }
  const issue = parsed.error.issues[0]!
  const pointer = `/${issue.path.join('/')}`
  throw new OptionError('ERR_OPTION', `augment: ${pointer}: ${issue.message}`, { details: { pointer } })
}
