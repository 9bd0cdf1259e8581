/** Softmax over any axis: the native op works on the last one, others are brought there and back as views. */
import { permute } from '../../autograd/index.js'
import { normalizeAxis } from '../../base/shape.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { logSoftmaxLast, softmaxLast } from '../softmax.js'

function along(where: string, f: (x: Tensor) => Tensor, x: Tensor, axis: number): Tensor {
  const at = normalizeAxis(where, axis, x.rank)
  if (at === x.rank - 1) return f(x)
  const swap = x.shape.map((_, i) => (i === at ? x.rank - 1 : i === x.rank - 1 ? at : i))
  return scope(() => permute(f(permute(x, swap)), swap))
}

/** exp(x - max) / sum along `axis`. */
export function softmax(x: Tensor, axis = -1): Tensor {
  return along('softmax', softmaxLast, x, axis)
}

/** x - log sum exp along `axis`. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return along('logSoftmax', logSoftmaxLast, x, axis)
}
