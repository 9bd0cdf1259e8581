/**
 * Dynamic loss scaling for f16 gradients (Micikevicius et al. 2018): the loss is multiplied by `scale`, gradients are divided by it. A step whose
 * gradients are not finite is left out and the scale falls; after `interval` good steps in a row it rises. The state is plain data.
 */
import { z } from 'zod'
import { NumericError, OptionError } from '../base/errors.js'

export const lossScaleSchema = z.strictObject({
  initial: z.number().positive().finite().default(65_536),
  /** Good steps in a row before the scale rises. */
  interval: z.int().positive().default(2000),
  /** Factors, powers of 2: they change no digit of a gradient. */
  growth: z.number().gt(1).finite().default(2),
  backoff: z.number().gt(0).lt(1).default(0.5),
})
export type LossScaleInput = z.input<typeof lossScaleSchema>
export type LossScaleSpec = z.output<typeof lossScaleSchema>

export interface LossScaleState {
  readonly scale: number
  /** Good steps since the scale last changed. */
  readonly good: number
}

/** Below, no scale helps: the gradients themselves are not finite. */
const SMALLEST = 2 ** -24
const LARGEST = 2 ** 24

/**
 * @example
 * const s = new LossScale()
 * s.bad()      // an overflow: 65536 -> 32768
 * s.state()    // { scale: 32768, good: 0 }
 */
export class LossScale {
  readonly #spec: LossScaleSpec
  #scale: number
  #good = 0

  constructor(spec: LossScaleInput = {}) {
    const parsed = lossScaleSchema.safeParse(spec)
    if (!parsed.success) {
      const issue = parsed.error.issues[0]!
      throw new OptionError('ERR_OPTION', `loss scale: ${issue.path.join('.')}: ${issue.message}`)
    }
    this.#spec = parsed.data
    this.#scale = parsed.data.initial
  }

  get scale(): number {
    return this.#scale
  }

  /** A step was taken. */
  good(): void {
    if (++this.#good < this.#spec.interval) return
    this.#scale = Math.min(LARGEST, this.#scale * this.#spec.growth)
    this.#good = 0
  }

  /** A step was left out. ERR_NUMERIC when the scale is so small that it is not the scale's fault. */
  bad(): void {
    this.#scale *= this.#spec.backoff
    this.#good = 0
    if (this.#scale < SMALLEST)
      throw new NumericError('ERR_NUMERIC', `loss scale: the gradients are not finite at any scale down to ${SMALLEST}`, {
        details: { stage: 'train', scale: this.#scale },
      })
  }

  state(): LossScaleState {
    return { scale: this.#scale, good: this.#good }
  }

  restore(state: LossScaleState): void {
    this.#scale = state.scale
    this.#good = state.good
  }
}
