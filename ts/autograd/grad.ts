/**
 * Reverse-mode differentiation over a tape. `valueAndGrad(fn, params)` runs fn, then walks its calls backwards. Nested inside another
 * valueAndGrad it records its own backward pass, so second derivatives (Hessian-vector products) need nothing else.
 */
import { DTypeError, OptionError, ShapeError } from '../base/errors.js'
import type { Shape } from '../base/shape.js'
import { whereTensorLies } from '../native/device.js'
import { callOp, collectDisposables, ones, scope, Tensor, zeros } from '../tensor/index.js'
import { Scope, withScope } from '../tensor/scope.js'
import { add, permute, sumTo } from './core.js'
import { Tape, tapeStack, type TapeNode } from './primitive.js'

/** A tensor, or a list or record of tensors. */
export type TensorTree = Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>

export interface ValueAndGrad<P extends TensorTree, Aux> {
  readonly value: Tensor
  /** One gradient per parameter, of its shape and dtype, in the structure of `params`. Zero where the value does not depend on it. */
  readonly grads: P
  readonly aux: Aux
}

/** @internal The tensors of a tree in a fixed order. */
export function leaves(tree: TensorTree): Tensor[] {
  return tree instanceof Tensor
    ? [tree]
    : Array.isArray(tree)
      ? [...(tree as readonly Tensor[])]
      : Object.values(tree as Record<string, Tensor>)
}

/** @internal The structure of `tree` with other tensors. */
export function rebuild<P extends TensorTree>(tree: P, list: readonly Tensor[]): P {
  if (tree instanceof Tensor) return list[0] as unknown as P
  if (Array.isArray(tree)) return list as unknown as P
  return Object.fromEntries(Object.keys(tree).map((k, i) => [k, list[i]])) as unknown as P
}

/**
 * Value of fn and its gradients with respect to `params`, on their device (constants that fn makes lie there too). fn returns a scalar tensor, or `{ value, aux }` where aux is anything to be
 * kept (its tensors survive). Everything else that fn made is freed, saved tensors as soon as their rule has run.
 *
 * @example
 * const { value, grads } = valueAndGrad(() => sum(mul(w, w), [], false), [w])   // grads[0] = 2 w
 */
export function valueAndGrad<P extends TensorTree, Aux = undefined>(
  fn: () => Tensor | { readonly value: Tensor; readonly aux: Aux },
  params: P,
): ValueAndGrad<P, Aux> {
  const list = leaves(params)
  const higher = tapeStack.depth > 0
  const tape = new Tape()
  for (const p of list) tape.tracked.add(p)
  // The outer tape still needs what an inner one saved, so only the outermost call owns a scope.
  const own = new Scope()
  const body = (): ValueAndGrad<P, Aux> => {
    tapeStack.push(tape)
    let out: Tensor | { readonly value: Tensor; readonly aux: Aux }
    try {
      out = fn()
    } finally {
      tapeStack.pop()
    }
    const value = out instanceof Tensor ? out : (out as typeof out | undefined)?.value
    const aux = (out instanceof Tensor ? undefined : (out as typeof out | undefined)?.aux) as Aux
    if (!(value instanceof Tensor)) throw new OptionError('ERR_OPTION', 'valueAndGrad: the function must return a tensor or { value, aux }')
    if (value.size !== 1) throw new ShapeError('ERR_SHAPE', `valueAndGrad: the value must have one element, got ${value}`)
    const keep = collectDisposables(aux)
    keep.add(value)
    for (const p of list) keep.add(p)
    const found = backward(
      tape,
      new Map([[value, whereTensorLies(value, () => ones(value.shape, value.dtype))]]),
      list,
      higher,
      (t) => !higher && own.has(t) && !keep.has(t),
    )
    return { value, aux, grads: rebuild(params, found) }
  }
  return whereTensorLies(list[0], () => (higher ? body() : withScope(own, body)))
}

/** Gradients only. */
export function grad<P extends TensorTree>(fn: () => Tensor, params: P): P {
  const { value, grads } = valueAndGrad(fn, params)
  if (tapeStack.depth === 0) value.dispose()
  return grads
}

/** @internal Walks the tape backwards from `seeds`, the gradients of some of its tensors, to those of `params`. */
export function backward(
  tape: Tape,
  seeds: ReadonlyMap<Tensor, Tensor>,
  params: readonly Tensor[],
  higher: boolean,
  mayFree: (t: Tensor) => boolean,
): Tensor[] {
  const grads = new Map<Tensor, Tensor>(seeds)
  // A gradient may serve several tensors (addition passes dy on): it is freed when the last one is done.
  const uses = new Map<Tensor, number>([...seeds.values()].map((seed) => [seed, 1]))
  const use = (g: Tensor): void => void uses.set(g, (uses.get(g) ?? 0) + 1)
  const drop = (g: Tensor): void => {
    const left = uses.get(g)! - 1
    uses.set(g, left)
    if (left === 0 && !higher && !g.disposed && mayFree(g)) g.dispose()
  }
  // The walk alone holds it, and no other tensor shows its memory.
  const isOwn = (g: Tensor): boolean => !higher && uses.get(g) === 1 && !g.viewed && mayFree(g)
  const isParam = new Set(params)
  for (let i = tape.nodes.length - 1; i >= 0; i--) {
    const node = tape.nodes[i]!
    const y = node.results[0]!
    const dy = grads.get(y)
    if (dy) {
      for (const [x, g] of higher ? inputGradients(node, dy, tape, true) : scope(() => inputGradients(node, dy, tape, false))) {
        const old = grads.get(x)
        const total = !old ? g : isOwn(old) && old.dtype === g.dtype && !isHalf(old) ? accumulated(old, g) : plus(old, g, higher)
        use(total)
        grads.set(x, total)
        if (old) {
          use(g)
          drop(g)
          drop(old)
        }
      }
      if (!isParam.has(y)) {
        grads.delete(y)
        drop(dy)
      }
    }
    // No later rule (they come from earlier calls) can need this call's results.
    for (const r of node.results) if (!isParam.has(r) && mayFree(r)) r.dispose()
  }
  return params.map((p) => {
    const g = grads.get(p)
    if (!g) return whereTensorLies(p, () => zeros(p.shape, p.dtype))
    if (g.dtype !== p.dtype) return callOp('cast', [g, p.dtype])[0]!
    // Two parameters must not share one gradient tensor: each is disposed on its own. The view is recorded, for outer tapes.
    return uses.get(g)! > 1
      ? permute(
          g,
          g.shape.map((_, i) => i),
        )
      : g
  })
}

/** old + g, in old's memory. */
function accumulated(old: Tensor, g: Tensor): Tensor {
  callOp('axpby', [old, g, 1, 1])
  return old
}

/** Runs the rule for the inputs that the tape tracks: unbroadcasts once and checks shape and dtype of what the rule gave. */
function inputGradients(node: TapeNode, dy: Tensor, tape: Tape, higher: boolean): [Tensor, Tensor][] {
  const { primitive, args, results } = node
  const rules = primitive.grad!({ args, y: results[0]!, results, higher }, dy)
  const out: [Tensor, Tensor][] = []
  for (const [name, index] of Object.entries(primitive.inputs)) {
    const x = args[index] as Tensor | null
    const rule = rules[name]
    if (!x || !rule || !tape.tracked.has(x)) continue
    const misfit = (g: Tensor): string => `${primitive.name}: its gradient rule gave ${g} for ${name} ${x}`
    const compute = (): Tensor => {
      const g = rule()
      if (!covers(g.shape, x.shape)) throw new ShapeError('ERR_SHAPE', misfit(g))
      return sumTo(g, x.shape)
    }
    // Temporaries of a rule are freed at once unless an outer tape saved them.
    const g = higher ? compute() : scope(compute)
    if (g.dtype !== x.dtype && !(isHalf(x) && g.dtype === 'f32')) throw new DTypeError('ERR_DTYPE', misfit(g))
    out.push([x, g])
  }
  return out
}

/** Gradients of 16-bit tensors are of their dtype or f32. */
const isHalf = (x: Tensor): boolean => x.dtype === 'bf16' || x.dtype === 'f16'

/** The sum of two gradients of one tensor, in f32 if it has 16 bits. */
function plus(a: Tensor, b: Tensor, higher: boolean): Tensor {
  if (higher || !(isHalf(a) || isHalf(b))) return add(a, b)
  const wide = (g: Tensor): Tensor => (isHalf(g) ? callOp('cast', [g, 'f32'])[0]! : g)
  return scope(() => add(wide(a), wide(b)))
}

/** True when `shape` is `small` or a stretched form of it, so that summing the stretched dimensions gives `small`. */
function covers(shape: Shape, small: Shape): boolean {
  const lead = shape.length - small.length
  return lead >= 0 && small.every((d, i) => d === shape[lead + i] || d === 1)
}
