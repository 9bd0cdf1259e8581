/** How a loss of each example becomes one number. */
import { OptionError } from '../../base/errors.js'
import type { Tensor } from '../../tensor/index.js'
import { sum } from '../reduce.js'
import { mean } from './moments.js'

export type Reduction = 'mean' | 'sum' | 'none'
const reductions: readonly Reduction[] = ['mean', 'sum', 'none']

/** @internal ERR_OPTION unless it is one of the three. */
export function checkReduction(where: string, reduction: Reduction): void {
  if (!reductions.includes(reduction))
    throw new OptionError('ERR_OPTION', `${where}: reduction must be one of ${reductions.join(', ')}, got ${String(reduction)}`)
}

/** @internal */
export function reduce(loss: Tensor, reduction: Reduction): Tensor {
  return reduction === 'none' ? loss : reduction === 'sum' ? sum(loss) : mean(loss)
}
