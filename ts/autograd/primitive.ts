/**
 * Primitives: functions of tensors that the tape knows how to differentiate. `defineOp` makes one from a row of ops.def, `definePrimitive`
 * from anything else (views). A call is noted on every open tape that tracks one of its inputs; there is no global gradient mode.
 */
import type { OpName, OpTable } from '../native/ops.gen.js'
import { callDirect4, callDirect8, opPlan, type OpPlan } from '../native/call.js'
import { OptionError } from '../base/errors.js'
import { callPlan, callPlanInto, firstResult, type Tensor } from '../tensor/index.js'
import { tapeScopes } from '../tensor/scope.js'

/** What a gradient rule sees of the call it belongs to. */
export interface Call<A extends readonly unknown[] = readonly unknown[]> {
  readonly args: A
  /** First result: the one that gradients flow through. */
  readonly y: Tensor
  readonly results: readonly Tensor[]
  /** True when another tape records the rule itself (second derivatives): use differentiable ops only, no native backward. */
  readonly higher: boolean
}

/** Gradient of the loss with respect to each tensor input, lazily: only those that somebody tracks are computed. null = no gradient. */
export type Gradients<Names extends string = string> = { readonly [K in Names]: (() => Tensor) | null }

export interface PrimitiveDefinition<A extends readonly unknown[], Names extends string> {
  readonly name: string
  /** Position in the arguments of each tensor input, by name. */
  readonly inputs: { readonly [K in Names]: number }
  readonly forward: (...args: A) => readonly Tensor[]
  /**
   * Whose values the rule reads, outside of second derivatives (shapes and dtypes do not count): of no tensor of the call, of its arguments and of the results
   * behind the first, or of any (default). What is not read can be freed before the gradients are taken: see `done`.
   */
  readonly reads?: 'nothing' | 'arguments' | 'all'
  /** Vector-Jacobian product: from dy, the gradient of y, to the gradients of the inputs. null: the result is a constant (an index, a mask). */
  readonly grad: ((call: Call<A>, dy: Tensor) => Gradients<Names>) | null
  /** Multiply-adds count as two. Default: one per element of the result. */
  readonly flops?: (call: { readonly args: A; readonly results: readonly Tensor[] }) => number
}

export type AnyPrimitive = PrimitiveDefinition<readonly never[], string>

/** A call that a tape holds. */
export interface TapeNode {
  readonly primitive: PrimitiveDefinition<readonly unknown[], string>
  readonly args: readonly unknown[]
  readonly results: readonly Tensor[]
}

/** @internal A tape: what it tracks and the calls that led there, in order. */
export class Tape {
  readonly tracked = new Set<Tensor>()
  readonly nodes: TapeNode[] = []
}

const tapes: Tape[] = []
/** Where the op that is being called writes (see Op.into). */
let destination: readonly Tensor[] | undefined
const watchers: ((node: TapeNode) => void)[] = []
type General = PrimitiveDefinition<readonly unknown[], string>
/** Takes over the calls that it answers. */
export type Adapter = (definition: General, args: readonly unknown[]) => readonly Tensor[] | undefined
let adapter: Adapter | undefined

/** @internal Runs fn with `adapt` before every primitive call (undefined: none); calls made inside `adapt` see none. */
export function withAdapter<T>(adapt: Adapter | undefined, fn: () => T): T {
  const before = adapter
  adapter = adapt
  try {
    return fn()
  } finally {
    adapter = before
  }
}

/** @internal */
export const tapeStack: { push(t: Tape): void; pop(): void; readonly depth: number } = {
  push: (t) => {
    tapes.push(t)
    tapeScopes.open()
  },
  pop: () => {
    tapes.pop()
    tapeScopes.close()
  },
  get depth() {
    return tapes.length
  },
}

/** Sees every primitive call while fn runs (cost counting, tracing). */
export function watchCalls<T>(watcher: (node: TapeNode) => void, fn: () => T): T {
  watchers.push(watcher)
  try {
    return fn()
  } finally {
    watchers.splice(watchers.indexOf(watcher), 1)
  }
}

/** Makes a differentiable function from its forward and its gradient rule. */
export function definePrimitive<A extends readonly unknown[], Names extends string>(
  definition: PrimitiveDefinition<A, Names>,
): (...args: A) => readonly Tensor[] {
  const inputs = Object.values<number>(definition.inputs)
  const general = definition as unknown as General
  return (...args) => {
    const adapted = adapter && !destination && adapter(general, args)
    if (adapted) return adapted
    const results = definition.forward(...args)
    if (tapes.length === 0 && watchers.length === 0) return results
    const node: TapeNode = { primitive: general, args, results }
    for (const watch of watchers) watch(node)
    if (definition.grad)
      for (const tape of tapes)
        if (inputs.some((i) => tape.tracked.has(args[i] as Tensor))) {
          tape.tracked.add(results[0]!)
          tape.nodes.push(node)
        }
    return results
  }
}

/**
 * The caller, who made t, will not use it again: frees it at once if a tape records and no rule on it will read t. Without a tape, or with several (second
 * derivatives read more), t stays until its scope ends.
 */
export function done(t: Tensor): void {
  const tape = tapes[0]
  if (!tape || tapes.length > 1 || watchers.length > 0) return
  for (let i = tape.nodes.length - 1; i >= 0; i--) {
    const { primitive, args, results } = tape.nodes[i]!
    const reads = primitive.reads ?? 'all'
    const made = results.indexOf(t)
    if (reads !== 'nothing' && args.includes(t)) return
    if (made < 0) continue
    if (reads === 'all' || (reads === 'arguments' && made > 0)) return
    return t.dispose()
  }
}

type OpArgs<N extends OpName> = OpTable<Tensor>[N]['args']
type OpResult<N extends OpName> = OpTable<Tensor>[N]['result']
type OpTensors<N extends OpName> = OpTable<Tensor>[N]['tensors']

/** Function of an op: rules that call their own op need the annotation `const f: Op<'name'> = defineOp('name', ...)`. */
export interface Op<N extends OpName> {
  (...args: OpArgs<N>): OpResult<N>
  /**
   * Computes into `out` and returns it: no allocation. `out` must have the result's dtype and shape exactly, be contiguous and overlap no
   * input (ERR_SHAPE, ERR_OPTION); after an error its content is undefined. Not differentiable: ERR_OPTION when a tape tracks an input or out.
   */
  readonly into: (out: OpResult<N>, ...args: OpArgs<N>) => OpResult<N>
}

/** Tensors for the laws: random values away from kinks, in the dtype that the law asks for. */
export interface Sampler {
  /** Standard normal. */
  normal(...shape: number[]): Tensor
  /** In [lo, hi). */
  uniform(shape: readonly number[], lo: number, hi: number): Tensor
  /** Magnitudes in [0.1, 1.1) with random signs: no value near 0. */
  away(...shape: number[]): Tensor
  /** All values distinct with gaps of at least 0.01, shuffled: for max, top-k and pooling. */
  distinct(...shape: number[]): Tensor
  /** Integers in [0, below). */
  index(shape: readonly number[], below: number): Tensor
}

export interface OpDefinition<N extends OpName> {
  readonly grad: ((call: Call<OpArgs<N>>, dy: Tensor) => Gradients<OpTensors<N>>) | null
  readonly reads?: 'nothing' | 'arguments' | 'all'
  readonly flops?: (call: { readonly args: OpArgs<N>; readonly results: readonly Tensor[] }) => number
  /** Argument lists on which the laws run (finite differences of first and second order, dtypes, views, sync = async). */
  readonly samples: (s: Sampler) => readonly OpArgs<N>[]
}

/** @internal A definition and the function that came of it. */
export interface DefinedOp extends OpDefinition<OpName> {
  readonly call: (...args: readonly unknown[]) => Tensor | readonly Tensor[]
}

/** @internal Every defined op, for the laws: an op without samples cannot exist. */
export const definedOps = new Map<OpName, DefinedOp>()

/**
 * A differentiable function from a row of ops.def. The result is one tensor, or the list of them when the row has several.
 */
export function defineOp<N extends OpName>(name: N, definition: OpDefinition<N>): Op<N> {
  const plan = opPlan(name)
  const inputs: Record<string, number> = {}
  plan.params.forEach(([kind, param], i) => {
    if (kind === 'T' || kind === 'O') inputs[param] = i
  })
  const run = definePrimitive<OpArgs<N>, OpTensors<N>>({
    name,
    inputs: inputs as { [K in OpTensors<N>]: number },
    forward: (...args) => {
      if (!destination) return callPlan(plan, args)
      callPlanInto(plan, args, destination)
      return destination
    },
    grad: definition.grad,
    ...(definition.reads ? { reads: definition.reads } : {}),
    ...(definition.flops ? { flops: definition.flops } : {}),
  })
  const single = plan.results === 1
  const into = (out: OpResult<N>, ...args: OpArgs<N>): OpResult<N> => {
    if (tapes.length === 0 && watchers.length === 0) {
      callPlanInto(plan, args, out as Tensor | readonly Tensor[])
      return out
    }
    const outs = (single ? [out] : out) as readonly Tensor[]
    if (tapes.length > 0) {
      const involved = [...outs, ...Object.values<number>(inputs).map((i) => args[i] as Tensor)]
      if (tapes.some((tape) => involved.some((t) => tape.tracked.has(t))))
        throw new OptionError(
          'ERR_OPTION',
          `${name}.into: a gradient needs its tensors as they were; what is overwritten cannot be differentiated`,
        )
    }
    destination = outs
    try {
      run(...args)
    } finally {
      destination = undefined
    }
    return out
  }
  const call = Object.assign(single ? (...args: OpArgs<N>) => run(...args)[0] : run, { into })
  const quick = single ? direct(plan, call as unknown as Slow) : call
  definedOps.set(name, { ...definition, call: quick } as unknown as DefinedOp)
  return quick as unknown as Op<N>
}

interface Slow {
  (...args: readonly unknown[]): Tensor
  into(out: Tensor, ...args: readonly unknown[]): Tensor
}

/** While nobody records, an op with few arguments is called without a list of them: such a call makes no garbage. */
function direct(plan: OpPlan, general: Slow): Slow {
  const n = plan.params.length
  const idle = (): boolean => tapes.length === 0 && watchers.length === 0 && !adapter
  if (n <= 4) {
    const call = (a?: unknown, b?: unknown, c?: unknown, d?: unknown): Tensor =>
      idle() && callDirect4(plan, undefined, a, b, c, d) ? firstResult() : general(...[a, b, c, d].slice(0, n))
    const into = (out: Tensor, a?: unknown, b?: unknown, c?: unknown, d?: unknown): Tensor =>
      idle() && callDirect4(plan, out, a, b, c, d) ? out : general.into(out, ...[a, b, c, d].slice(0, n))
    return Object.assign(call, { into })
  }
  if (n > 8) return general
  type Any = unknown
  const call = (a?: Any, b?: Any, c?: Any, d?: Any, e?: Any, f?: Any, g?: Any, h?: Any): Tensor =>
    idle() && callDirect8(plan, undefined, a, b, c, d, e, f, g, h) ? firstResult() : general(...[a, b, c, d, e, f, g, h].slice(0, n))
  const into = (out: Tensor, a?: Any, b?: Any, c?: Any, d?: Any, e?: Any, f?: Any, g?: Any, h?: Any): Tensor =>
    idle() && callDirect8(plan, out, a, b, c, d, e, f, g, h) ? out : general.into(out, ...[a, b, c, d, e, f, g, h].slice(0, n))
  return Object.assign(call, { into })
}
