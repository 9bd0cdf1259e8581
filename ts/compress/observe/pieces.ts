/** Large inputs a few examples at a time: what is made of them (patches of convolutions) is larger still. */
import { slice } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'

/** Elements that are taken at once. */
const PIECE = 2 ** 20

/** Calls `use` for parts of x along its first axis, in order. */
export function pieces(x: Tensor, use: (part: Tensor) => void): void {
  if (x.size === 0) return
  if (x.rank < 2 || x.size <= PIECE) return use(x)
  const first = x.shape[0]!
  const rest = x.shape.slice(1)
  const step = Math.max(1, Math.floor((PIECE * first) / x.size))
  for (let from = 0; from < first; from += step)
    scope(() => use(slice(x, [from, ...rest.map(() => 0)], [Math.min(step, first - from), ...rest])))
}
