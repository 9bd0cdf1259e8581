/** Sum of squares of what a layer's products see, per column of its weight, in doubles: the norms of Wanda. */
import type { JsonObject } from '../../base/json-types.js'
import { moduleKind, type Module } from '../../nn/index.js'
import { mul, sum } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { pieces } from './pieces.js'
import { rangeOf } from './ranges.js'
import type { Statistic } from './statistic.js'

export interface ColumnSquares {
  readonly groups: number
  readonly width: number
  /** [groups, width]. */
  readonly sums: Float64Array
  readonly count: number
}

/** The statistic for a layer; undefined where the layer does not say what its products see. */
export function columnSquares(module: Module): Statistic<ColumnSquares> | undefined {
  const { columns } = moduleKind(module.kind)
  if (!columns) return undefined
  return {
    key: 'column squares',
    observe: (path) => {
      let found: ColumnSquares = { groups: 0, width: 0, sums: new Float64Array(0), count: 0 }
      const add = (part: Tensor): void => {
        const x = columns(module.config, part)
        const [groups, width, n] = x.shape as [number, number, number]
        const squares = sum(mul(x, x), [2], false).read()
        const sums = found.count === 0 ? new Float64Array(squares.length) : found.sums
        for (let i = 0; i < squares.length; i++) sums[i]! += Number(squares[i])
        found = { groups, width, sums, count: found.count + n }
      }
      return {
        see: (x) => {
          rangeOf(path, x)
          pieces(x, (part) => scope(() => add(part)))
        },
        value: () => found,
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
