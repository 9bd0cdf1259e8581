/**
 * What a layer's products see, as the fit of a twin needs it: second moments (memory of K^2 numbers, whatever the number of examples) and some rows as they were,
 * to tune thresholds on. For recurrent layers a row is [x, h before the step]; it is found by running the layer.
 */
import { NumericError } from '../../base/errors.js'
import type { Module } from '../../nn/index.js'
import { add, concat, matmul, permute, reshape, slice } from '../../ops/index.js'
import { gruDirection, lstmDirection } from '../../ops/recurrent.js'
import { scope, type Tensor } from '../../tensor/index.js'

export interface Moments {
  readonly width: number
  /** [width, width]: sums of products. */
  readonly products: Float32Array
  count: number
  /** Every `stride`-th row, at most 2 ROWS. */
  rows: Float32Array[]
  stride: number
}

/** Rows that are kept, up to twice as many while collecting. */
const ROWS = 256

export function emptyMoments(width: number): Moments {
  return { width, products: new Float32Array(width * width), count: 0, rows: [], stride: 1 }
}

/** Adds rows u [n, width]. ERR_NUMERIC when they are not finite. Call in a scope. */
export function addRows(m: Moments, u: Tensor, path: string): void {
  const n = u.shape[0]!
  if (n === 0) return
  const products = matmul(u, u, true, false).read() as Float32Array
  for (let i = 0; i < products.length; i++) m.products[i]! += products[i]!
  for (let i = 0; i < m.width; i++)
    if (!Number.isFinite(products[i * m.width + i]!))
      throw new NumericError('ERR_NUMERIC', `dual/build: the input of '${path}' is not finite`)
  const values = u.read() as Float32Array
  for (let i = 0; i < n; i++) {
    if ((m.count + i) % m.stride !== 0) continue
    m.rows.push(values.slice(i * m.width, (i + 1) * m.width))
    if (m.rows.length < 2 * ROWS) continue
    m.rows = m.rows.filter((_, k) => k % 2 === 0)
    m.stride *= 2
  }
  m.count += n
}

/** The direction's suffix of a recurrent weight ("weight_hh_l0_reverse": "_l0_reverse"), by layer and direction. */
export function directionsOf({ config }: Module): { readonly suffix: string; readonly reverse: boolean }[][] {
  const both = config.bidirectional === true ? [false, true] : [false]
  return Array.from({ length: config.layers as number }, (_, l) =>
    both.map((reverse) => ({ suffix: `_l${l}${reverse ? '_reverse' : ''}`, reverse })),
  )
}

/** Calls `see` with the rows [x, h] of each direction of an LSTM or GRU that gets `input` [B, T, C], from zero states. Call in a scope. */
export function recurrentRows(module: Module, input: Tensor, see: (suffix: string, rows: Tensor) => void): void {
  let x = permute(input, [1, 0, 2])
  for (const layer of directionsOf(module)) {
    const outs = layer.map(({ suffix, reverse }) => {
      const of = (name: string): Tensor | null => module.weights[`${name}${suffix}`]?.dense() ?? null
      const [wih, whh, bih, bhh] = [of('weight_ih')!, of('weight_hh')!, of('bias_ih'), of('bias_hh')]
      const [states, , , previous] =
        module.kind === 'lstm'
          ? lstmDirection(x, wih, whh, bih && bhh ? add(bih, bhh) : null, null, null, null, reverse)
          : gruDirection(x, wih, whh, bih, bhh, null, null, reverse)
      const [steps, batch, width] = x.shape as [number, number, number]
      const units = whh.shape[1]!
      scope(() => see(suffix, concat([reshape(x, [steps * batch, width]), reshape(previous, [steps * batch, units])], 1)))
      return slice(states, [0, 0, 0], [steps, batch, units])
    })
    x = outs.length === 1 ? outs[0]! : concat(outs, 2)
  }
}
