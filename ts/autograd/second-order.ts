/**
 * Hessian-vector products with the graph kept: the gradient of a function is recorded once, each product walks the recording backwards once. By
 * operation count a product costs 1 to 2 times the function with its gradient; without the recording it would cost that again on top.
 */
import { DisposedError, DTypeError, OptionError, ShapeError } from '../base/errors.js'
import { whereTensorLies } from '../native/device.js'
import { Tensor } from '../tensor/index.js'
import { Scope, withScope } from '../tensor/scope.js'
import { backward, leaves, rebuild, valueAndGrad, type TensorTree } from './grad.js'
import { Tape, tapeStack } from './primitive.js'

/**
 * H v for one function at one point, for many v. Holds the tensors of the function and of its gradient until `dispose`; what was recorded
 * must not be changed in place meanwhile.
 */
export class HvpOperator<P extends TensorTree> {
  /** Value of the function and its gradients at that point; they belong to the operator. */
  readonly value: Tensor
  readonly grads: P
  readonly #params: P
  readonly #list: readonly Tensor[]
  readonly #gradList: readonly Tensor[]
  readonly #tape: Tape
  readonly #held: ReadonlySet<{ dispose(): void }>
  #disposed = false

  /** @internal */
  constructor(fn: () => Tensor, params: P) {
    if (tapeStack.depth > 0)
      throw new OptionError('ERR_OPTION', 'hvpOperator: cannot be made inside a function that is being differentiated; use hvp there')
    const tape = new Tape()
    this.#params = params
    this.#list = leaves(params)
    for (const p of this.#list) tape.tracked.add(p)
    const own = new Scope()
    const { value, grads, held } = withScope(own, () => {
      tapeStack.push(tape)
      let found
      try {
        found = valueAndGrad(fn, params)
      } finally {
        tapeStack.pop()
      }
      const needed = prune(tape, leaves(found.grads))
      for (const t of [found.value, ...leaves(found.grads)]) needed.add(t)
      // What no product will read is freed when the scope closes, the rest leaves it.
      return { ...found, held: own.release((t) => needed.has(t as Tensor)) }
    })
    this.value = value
    this.grads = grads
    this.#gradList = leaves(grads)
    this.#tape = tape
    this.#held = held
  }

  /**
   * H v as new tensors in the structure of the parameters; `vectors` has their structure, shapes and dtypes.
   *
   * - other shapes or numbers of tensors: ERR_SHAPE; another dtype: ERR_DTYPE; after dispose: ERR_DISPOSED
   * - inside a function that is being differentiated: ERR_OPTION (the recording is a constant to that tape)
   */
  apply(vectors: P): P {
    if (this.#disposed) throw new DisposedError('ERR_DISPOSED', 'hvpOperator: was disposed')
    if (tapeStack.depth > 0)
      throw new OptionError('ERR_OPTION', 'hvpOperator: cannot be applied inside a function that is being differentiated; use hvp there')
    const v = leaves(vectors)
    if (v.length !== this.#list.length || !this.#list.every((p, i) => p.sameShape(v[i]!)))
      throw new ShapeError(
        'ERR_SHAPE',
        `hvpOperator: vectors must have the shapes of params, got [${v.map(String).join(', ')}] for [${this.#list.map(String).join(', ')}]`,
      )
    const other = this.#list.findIndex((p, i) => p.dtype !== v[i]!.dtype)
    if (other >= 0) throw new DTypeError('ERR_DTYPE', `hvpOperator: vector ${other} must be ${this.#list[other]!.dtype}, got ${v[other]!}`)
    const seeds = new Map(this.#gradList.map((g, i) => [g, v[i]!]))
    const own = new Scope()
    return whereTensorLies(this.#list[0], () =>
      withScope(own, () =>
        rebuild(
          this.#params,
          backward(this.#tape, seeds, this.#list, false, (t) => own.has(t)),
        ),
      ),
    )
  }

  /** Frees the recording. Disposing twice does nothing. */
  dispose(): void {
    this.#disposed = true
    for (const t of this.#held) t.dispose()
  }
}

/** Keeps the calls that lead to `ends` and returns the tensors that they mention. */
function prune(tape: Tape, ends: readonly Tensor[]): Set<Tensor> {
  const wanted = new Set(ends)
  const mentioned = new Set<Tensor>()
  const live = []
  for (let i = tape.nodes.length - 1; i >= 0; i--) {
    const node = tape.nodes[i]!
    if (!wanted.has(node.results[0]!)) continue
    live.push(node)
    for (const t of [...node.args, ...node.results])
      if (t instanceof Tensor) {
        mentioned.add(t)
        if (tape.tracked.has(t)) wanted.add(t)
      }
  }
  tape.nodes.splice(0, tape.nodes.length, ...live.reverse())
  return mentioned
}

/**
 * Records fn (a scalar) and its gradient at the present values of `params`, for products with its Hessian. Dispose it.
 *
 * @example
 * const w = tensor([1, 2])
 * const h = hvpOperator(() => sum(mul(mul(w, w), w)), [w])   // Hessian diag(6, 12)
 * h.apply([tensor([1, 1])])                                  // [f32[2] = [6, 12]]
 * h.dispose()
 */
export function hvpOperator<P extends TensorTree>(fn: () => Tensor, params: P): HvpOperator<P> {
  return new HvpOperator(fn, params)
}
