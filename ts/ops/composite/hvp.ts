/** Hessian-vector products, exact and without the Hessian (Pearlmutter 1994). */
import { add, grad, type TensorTree } from '../../autograd/index.js'
import { ShapeError } from '../../base/errors.js'
import { scope, Tensor } from '../../tensor/index.js'
import { dot } from './elementary.js'

const leaves = (tree: TensorTree): readonly Tensor[] => (tree instanceof Tensor ? [tree] : Object.values(tree as Record<string, Tensor>))

/**
 * H v for the Hessian H of the scalar fn with respect to `params`, `vectors` having their structure and shapes: the gradient of
 * <gradient of fn, v>. Costs about four evaluations of fn.
 *
 * @example
 * hvp(() => loss(w), [w], [v])   // [H v]
 */
export function hvp<P extends TensorTree>(fn: () => Tensor, params: P, vectors: P): P {
  const v = leaves(vectors)
  const p = leaves(params)
  if (v.length !== p.length || !p.every((t, i) => t.sameShape(v[i]!)))
    throw new ShapeError(
      'ERR_SHAPE',
      `hvp: vectors must have the shapes of params, got [${v.map(String).join(', ')}] for [${p.map(String).join(', ')}]`,
    )
  return scope(() =>
    grad(
      () =>
        leaves(grad(fn, params))
          .map((g, i) => dot(g, v[i]!))
          .reduce((a, b) => add(a, b)),
      params,
    ),
  )
}
