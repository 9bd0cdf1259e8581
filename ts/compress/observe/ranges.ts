/** Smallest and largest value that a layer's input ever had. */
import { NumericError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import { amax, amin } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import type { Statistic } from './statistic.js'

export interface ValueRange {
  readonly min: number
  readonly max: number
}

/** Range of one tensor; ERR_NUMERIC with the first bad index when it is not finite. */
export function rangeOf(path: string, x: Tensor): ValueRange {
  if (x.size === 0) return { min: 0, max: 0 }
  const { min, max } = scope(() => ({ min: amin(x, [], false).item(), max: amax(x, [], false).item() }))
  if (Number.isFinite(min) && Number.isFinite(max)) return { min, max }
  const values = x.read()
  let index = 0
  while (Number.isFinite(Number(values[index]))) index++
  throw new NumericError('ERR_NUMERIC', `calibration: the input of ${path} is ${values[index]} at index ${index} (${x})`, {
    details: { stage: 'calibration', tensor: path, index },
  })
}

export const valueRange: Statistic<ValueRange> = {
  key: 'range',
  observe(path) {
    let min = Infinity
    let max = -Infinity
    return {
      see(x) {
        const r = rangeOf(path, x)
        min = Math.min(min, r.min)
        max = Math.max(max, r.max)
      },
      value: () => ({ min, max }),
    }
  },
  save: (value) => ({ json: { ...value } }),
  restore: (json) => {
    const { min, max } = json as JsonObject as unknown as ValueRange
    return { min, max }
  },
}

/**
 * Moving average of the ranges of batches (Jacob et al. 2018, section 3.1; Zafrir et al. 2019, section 3): the first batch begins, then
 * r = decay r + (1 - decay) r of the batch. Depends on the order of the batches, which the recipe's seed fixes.
 */
export const movingRange = (decay: number): Statistic<ValueRange> => ({
  ...valueRange,
  key: `moving range ${decay}`,
  observe(path) {
    let range: ValueRange | undefined
    return {
      see(x) {
        if (x.size === 0) return
        const { min, max } = rangeOf(path, x)
        range = range ? { min: decay * range.min + (1 - decay) * min, max: decay * range.max + (1 - decay) * max } : { min, max }
      },
      value: () => range ?? { min: 0, max: 0 },
    }
  },
})
