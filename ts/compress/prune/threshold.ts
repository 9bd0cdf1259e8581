/** Thresholds per layer (Han, Pool, Tran, Dally 2015, section 3): quality times the standard deviation of the layer's weights that are left. */
import type { Leaf } from '../../nn/index.js'
import { valuesOf } from '../values.js'
import { maskOf } from './candidates.js'
import { bitOf } from './structure.js'

/** Standard deviation of the values that are not pruned, in doubles; 0 where none is left. */
export function deviation(leaf: Leaf): number {
  const mask = maskOf(leaf)
  let [n, mean, squares] = [0, 0, 0]
  valuesOf(leaf.value).forEach((x, i) => {
    if (mask && !bitOf(mask, i)) return
    const before = x - mean
    mean += before / ++n
    squares += before * (x - mean)
  })
  return n === 0 ? 0 : Math.sqrt(squares / n)
}
