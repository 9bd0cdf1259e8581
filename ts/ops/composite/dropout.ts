/** Dropout (Srivastava et al. 2014), inverted: survivors are scaled by 1 / (1 - p). */
import { reshape } from '../../autograd/index.js'
import { OptionError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { mul, scaleShift } from '../arithmetic.js'
import { inDType } from '../memory.js'
import { step } from '../piecewise.js'
import { randomUniform, type RandomOptions } from '../random.js'

/** Zeroes each element with probability p in [0, 1). The pattern depends on seed, stream and position only. */
export function dropout(x: Tensor, p: number, random: RandomOptions): Tensor {
  if (!(p >= 0 && p < 1)) throw new OptionError('ERR_OPTION', `dropout: p must be in [0, 1), got ${p} (x: ${x})`)
  if (p === 0) return reshape(x, x.shape)
  return scope(() => {
    // 1 - u is in (0, 1]: it exceeds p with probability 1 - p.
    const kept = step(scaleShift(randomUniform(x.shape, random), -1, 1 - p))
    return mul(x, scaleShift(inDType(kept, x.dtype), 1 / (1 - p)))
  })
}
