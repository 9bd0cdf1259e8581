/** Joining lists of tensors. */
import { reshape } from '../../autograd/index.js'
import { ShapeError } from '../../base/errors.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { concat2 } from '../memory.js'

/** Tensors one after the other along an existing axis. Pairs are joined as in a tournament: each element is copied log2(n) times. */
export function concat(list: readonly Tensor[], axis = 0): Tensor {
  if (list.length === 0) throw new ShapeError('ERR_SHAPE', 'concat: the list must not be empty')
  if (list.length === 1) return reshape(list[0]!, list[0]!.shape)
  return scope(() => {
    let row = list
    while (row.length > 1) {
      const next: Tensor[] = []
      for (let i = 0; i < row.length; i += 2) next.push(i + 1 < row.length ? concat2(row[i]!, row[i + 1]!, axis) : row[i]!)
      row = next
    }
    return row[0]!
  })
}

/** Tensors of one shape side by side along a new axis. */
export function stack(list: readonly Tensor[], axis = 0): Tensor {
  const first = list[0]
  if (!first || !list.every((t) => t.sameShape(first)))
    throw new ShapeError('ERR_SHAPE', `stack: the tensors must have one shape, got ${list.map(String).join(', ') || 'none'}`)
  const at = axis < 0 ? axis + first.rank + 1 : axis
  if (!Number.isInteger(at) || at < 0 || at > first.rank)
    throw new ShapeError('ERR_SHAPE', `stack: axis must be in [${-first.rank - 1}, ${first.rank}], got ${axis}`)
  return scope(() =>
    concat(
      list.map((t) => reshape(t, [...t.shape.slice(0, at), 1, ...t.shape.slice(at)])),
      at,
    ),
  )
}
