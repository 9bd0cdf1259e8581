/** Sums over what a layer's products see, per column of its weight, in doubles: one statistic for each term that is summed. */
import type { JsonObject } from '../../base/json-types.js'
import { moduleKind, type Module } from '../../nn/index.js'
import { abs, mul, sum } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { pieces } from './pieces.js'
import { rangeOf } from './ranges.js'
import type { Statistic } from './statistic.js'

export interface ColumnSums {
  readonly groups: number
  readonly width: number
  /** [groups, width]. */
  readonly sums: Float64Array
  /** Rows that were summed. */
  readonly count: number
}

/** The statistic for a layer; undefined where the layer does not say what its products see. */
type ColumnStatistic = (module: Module) => Statistic<ColumnSums> | undefined

/** Sums of x: means of the inputs. */
export const columnMeans = columnSums('column means', (x) => x)
/** Sums of |x|: the "activation magnitude" of AWQ. */
export const columnSizes = columnSums('column sizes', abs)
/** Sums of x^2: the norms of Wanda. */
export const columnSquares = columnSums('column squares', (x) => mul(x, x))

/** `key` stands in checkpoints: it never changes. */
function columnSums(key: string, term: (x: Tensor) => Tensor): ColumnStatistic {
  return (module) => {
    const { columns } = moduleKind(module.kind)
    if (!columns) return undefined
    return {
      key,
      observe: (path) => {
        let value: ColumnSums = { groups: 0, width: 0, sums: new Float64Array(0), count: 0 }
        const add = (x: Tensor): void => {
          const [groups, width, n] = x.shape as [number, number, number]
          const found = sum(term(x), [2], false).read()
          const sums = value.count === 0 ? new Float64Array(found.length) : value.sums
          for (let i = 0; i < found.length; i++) sums[i]! += Number(found[i])
          value = { groups, width, sums, count: value.count + n }
        }
        return {
          see: (x, as = module) => {
            rangeOf(path, x)
            pieces(x, (part) => scope(() => add(columns(as.config, part))))
          },
          value: () => value,
        }
      },
      save: ({ groups, width, sums, count }) => ({
        json: { groups, width, count },
        tensors: { sums: { dtype: 'f64', shape: [groups, width], data: new Uint8Array(sums.buffer.slice(0)) } },
      }),
      restore: (json, { sums }) => ({
        ...(json as JsonObject as { groups: number; width: number; count: number }),
        sums: new Float64Array(sums!.data.slice().buffer),
      }),
    }
  }
}
