/** Mean magnitude and smallest value of a layer's input: where learned steps begin. */
import type { JsonObject } from '../../base/json-types.js'
import { abs, sum } from '../../ops/index.js'
import { scope } from '../../tensor/index.js'
import { rangeOf } from './ranges.js'
import type { Statistic } from './statistic.js'

export interface Magnitude {
  /** Of |x|. */
  readonly mean: number
  readonly min: number
}

export const magnitudeOf: Statistic<Magnitude> = {
  key: 'magnitude',
  observe(path) {
    let total = 0
    let count = 0
    let min = Infinity
    return {
      see(x) {
        min = Math.min(min, rangeOf(path, x).min)
        total += scope(() => sum(abs(x), [], false).item())
        count += x.size
      },
      value: () => ({ mean: count === 0 ? 0 : total / count, min }),
    }
  },
  save: (value) => ({ json: { ...value } }),
  restore: (json) => {
    const { mean, min } = json as JsonObject as unknown as Magnitude
    return { mean, min }
  },
}
