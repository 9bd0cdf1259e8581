/** From what was seen of a layer's input to the scale and zero point of its 8-bit codes: the calibrators, their options, what each observes. */
import { z } from 'zod'
import type { InputQuantization } from '../../nn/index.js'
import { entropyRange } from '../observe/entropy.js'
import { distribution, leastErrorRange, percentileRange, type Distribution } from '../observe/histogram.js'
import { movingRange, valueRange, type ValueRange } from '../observe/ranges.js'
import type { Statistic } from '../observe/statistic.js'
import { gridOf } from './grid.js'

export const inputOptions = {
  /**
   * minmax: the whole range seen; ema: the moving average of the ranges of batches; percentile: what lies outside is clipped; entropy: the range that loses least
   * information (KL divergence); mse: the range with the smallest squared error.
   */
  calibration: z.enum(['minmax', 'ema', 'percentile', 'entropy', 'mse']).default('percentile'),
  /** Percent of the values that `percentile` keeps. */
  percentile: z.number().gt(50).max(100).default(99.99),
  /** Of `ema`: what the average keeps with every batch (32 examples, 8 texts). */
  decay: z.number().min(0).lt(1).default(0.9),
  /** affine: a zero point, all 256 codes for the range seen; symmetric: 0 in the middle, for targets that have no zero points. */
  inputs: z.enum(['affine', 'symmetric']).default('affine'),
  /** Examples to calibrate on. */
  samples: z.int().positive().max(1e7).default(512),
} as const

export type InputOptions = z.output<z.ZodObject<typeof inputOptions>>

const LEVELS = { qmin: 0, qmax: 255 }
const MIDDLE = 128

/** What a layer's input is observed for. */
export function rangeStatistic({ calibration, decay }: InputOptions): Statistic<ValueRange> | Statistic<Distribution> {
  if (calibration === 'minmax') return valueRange
  return calibration === 'ema' ? movingRange(decay) : distribution
}

/** The quantization of an input by its observed statistic (`rangeStatistic` of the same options). */
export function inputQuantization(seen: ValueRange | Distribution, o: InputOptions): InputQuantization {
  const symmetric = o.inputs === 'symmetric'
  const { min, max } = rangeBy(seen, o, symmetric)
  if (!symmetric) return gridOf(min, max, false, LEVELS)
  // Codes 1 .. 255 around 128: both signs have as many.
  return { scale: gridOf(min, max, true, { qmin: MIDDLE - LEVELS.qmax, qmax: LEVELS.qmax - MIDDLE }).scale, zero: MIDDLE }
}

function rangeBy(seen: ValueRange | Distribution, { calibration, percentile }: InputOptions, symmetric: boolean): ValueRange {
  if (!('counts' in seen)) return seen
  const steps = symmetric ? LEVELS.qmax - 1 : LEVELS.qmax
  if (calibration === 'percentile') return percentileRange(seen, percentile)
  return calibration === 'entropy' ? entropyRange(seen, steps + 1, symmetric) : leastErrorRange(seen, steps, symmetric)
}
