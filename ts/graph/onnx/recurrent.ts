/**
 * LSTM, GRU and RNN with all attributes of ONNX. What Tersor's own LSTM and GRU compute (default activations, no clip, no peepholes; a GRU that resets behind the
 * product) runs on them, gates reordered; everything else step by step from differentiable ops.
 */
import {
  add,
  cast,
  clip,
  concat,
  elu,
  gate,
  leakyRelu,
  matmul,
  mul,
  permute,
  relu,
  reshape,
  scaleShift,
  sigmoid,
  slice,
  softplus,
  softsign,
  stack,
  sub,
  tanh,
  greater,
  where,
} from '../../ops/index.js'
import { gruDirection, lstmDirection } from '../../ops/recurrent.js'
import { full, zeros, type Tensor } from '../../tensor/index.js'
import {
  defineOnnxOp,
  floatAttribute,
  floatsAttribute,
  hasAttribute,
  intAttribute,
  stringAttribute,
  type InferContext,
  type OnnxOp,
  type RunContext,
  type Value,
  type ValueType,
} from '../define.js'
import type { Dim, GraphNode } from '../graph.js'
import { valueType } from '../infer.js'

type F = (x: Tensor) => Tensor

/** Activations by ONNX's names, with their default alpha and beta. */
const activations: Readonly<
  Record<string, { readonly alpha?: number; readonly beta?: number; readonly f: (x: Tensor, alpha: number, beta: number) => Tensor }>
> = {
  relu: { f: relu },
  tanh: { f: tanh },
  sigmoid: { f: sigmoid },
  softsign: { f: softsign },
  softplus: { f: (x) => softplus(x) },
  affine: { alpha: 1, beta: 0, f: (x, a, b) => scaleShift(x, a, b) },
  leakyrelu: { alpha: 0.01, f: (x, a) => leakyRelu(x, a) },
  thresholdedrelu: { alpha: 1, f: (x, a) => gate(x, scaleShift(x, 1, -a)) },
  scaledtanh: { alpha: 1, beta: 1, f: (x, a, b) => scaleShift(tanh(scaleShift(x, b)), a) },
  hardsigmoid: { alpha: 0.2, beta: 0.5, f: (x, a, b) => clip(scaleShift(x, a, b), 0, 1) },
  elu: { alpha: 1, f: (x, a) => elu(x, a) },
}

/** The functions of all directions, `each` per direction; undefined where they are the default ones. */
function functions(ctx: RunContext, node: GraphNode, defaults: readonly string[], directions: number): F[] | undefined {
  if (!hasAttribute(node, 'activations')) return undefined
  const attribute = node.attributes.activations!
  const names =
    attribute.type === 'strings' ? attribute.value.map((n) => n.toLowerCase()) : ctx.fail('ERR_MODEL_FORMAT', 'activations must be strings')
  const expected = defaults.length * directions
  if (names.length !== expected) ctx.fail('ERR_MODEL_FORMAT', `${expected} activations are needed, got ${names.length}`)
  const [alphas, betas] = [[...floatsAttribute(node, 'activation_alpha', [])], [...floatsAttribute(node, 'activation_beta', [])]]
  const same = names.every((n, i) => n === defaults[i % defaults.length])
  const made = names.map((name): F => {
    const a =
      activations[name] ?? ctx.fail('ERR_UNSUPPORTED', `activation ${JSON.stringify(name)}; known: ${Object.keys(activations).join(', ')}`)
    // The lists hold the parameters of those activations that take one, in order.
    const alpha = a.alpha === undefined ? 0 : (alphas.shift() ?? a.alpha)
    const beta = a.beta === undefined ? 0 : (betas.shift() ?? a.beta)
    return (x) => a.f(x, alpha, beta)
  })
  return same ? undefined : made
}

interface Layer {
  /** [T, B, C] */
  readonly x: Tensor
  readonly directions: number
  readonly hidden: number
  readonly lengths: Tensor | null
  readonly clip: number
  readonly layout: number
}

interface DirectionWeights {
  /** [G H, C], [G H, H] and their biases [G H]. */
  readonly w: Tensor
  readonly r: Tensor
  readonly wb: Tensor | null
  readonly rb: Tensor | null
  readonly p: Tensor | null
  readonly h0: Tensor | null
  readonly c0: Tensor | null
  readonly reverse: boolean
  readonly f: readonly F[] | undefined
}
/** y [T, B, H], and the last states [B, H]. */
interface DirectionResult {
  readonly y: Tensor
  readonly h: Tensor
  readonly c?: Tensor
}

/** Entry `i` along the first axis, without it. */
function at(t: Tensor, i: number): Tensor {
  const rest = t.shape.slice(1)
  return reshape(slice(t, [i, ...rest.map(() => 0)], [1, ...rest]), rest)
}
const rows = (t: Tensor, from: number, count: number): Tensor =>
  slice(t, [from, ...t.shape.slice(1).map(() => 0)], [count, ...t.shape.slice(1)])

/** Gates in another order: blocks of `hidden` rows. */
function reordered(t: Tensor, order: readonly number[], hidden: number): Tensor {
  return concat(order.map((g) => rows(t, g * hidden, hidden)))
}

/** Steps of one direction; `step` takes Wx + b of one time step and gives the next states, the first of which is the output. */
function unroll(
  l: Layer,
  d: DirectionWeights,
  initial: readonly Tensor[],
  gates: Tensor,
  step: (gates: Tensor, states: readonly Tensor[]) => Tensor[],
): { y: Tensor; states: readonly Tensor[] } {
  const [steps, batch] = [l.x.shape[0]!, l.x.shape[1]!]
  const outputs: Tensor[] = []
  let states = initial
  const lengths = l.lengths && reshape(cast(l.lengths, l.x.dtype), [batch, 1])
  for (let k = 0; k < steps; k++) {
    const t = d.reverse ? steps - 1 - k : k
    const next = step(at(gates, t), states)
    const inside = lengths && greater(lengths, full([], t, l.x.dtype))
    states = inside ? next.map((s, i) => where(inside, s, states[i]!)) : next
    outputs[t] = inside ? where(inside, next[0]!, full([], 0, l.x.dtype)) : next[0]!
  }
  const y = steps === 0 ? zeros([0, batch, l.hidden], l.x.dtype) : stack(outputs)
  return { y, states }
}

const bounded = (l: Layer, x: Tensor): Tensor => (l.clip < Infinity ? clip(x, -l.clip, l.clip) : x)
const startOf = (l: Layer, given: Tensor | null): Tensor => given ?? zeros([l.x.shape[1]!, l.hidden], l.x.dtype)
const product = (x: Tensor, w: Tensor): Tensor => matmul(x, w, false, true)
const plus = (x: Tensor, b: Tensor | null): Tensor => (b ? add(x, b) : x)
/** Gate g of [B, G H]. */
const gateOf = (l: Layer, t: Tensor, g: number, count = 1): Tensor => slice(t, [0, g * l.hidden], [t.shape[0]!, count * l.hidden])

function lstm(ctx: RunContext, node: GraphNode, l: Layer, d: DirectionWeights): DirectionResult {
  const coupled = intAttribute(node, 'input_forget', 0) !== 0
  const steps = l.x.shape[0]!
  if (!d.f && !d.p && !coupled && l.clip === Infinity) {
    // i o f c to i f g o
    const order = [0, 2, 3, 1]
    const bias = d.wb && reordered(add(d.wb, d.rb!), order, l.hidden)
    const [states] = lstmDirection(
      l.x,
      reordered(d.w, order, l.hidden),
      reordered(d.r, order, l.hidden),
      bias,
      d.h0,
      d.c0,
      l.lengths,
      d.reverse,
    )
    return { y: rows(states, 0, steps), h: at(states, steps), c: at(states, steps + 1) }
  }
  const [f, g, h] = d.f ?? [sigmoid, tanh, tanh]
  const peep = (k: number): Tensor => slice(d.p!, [k * l.hidden], [l.hidden])
  const gates = plus(product(l.x, d.w), d.wb && add(d.wb, d.rb!))
  const { y, states } = unroll(l, d, [startOf(l, d.h0), startOf(l, d.c0)], gates, (wx, [state, cell]) => {
    const all = add(wx, product(state!, d.r))
    const seen = (k: number, p: number, c: Tensor): Tensor => bounded(l, d.p ? add(gateOf(l, all, k), mul(peep(p), c)) : gateOf(l, all, k))
    const i = f!(seen(0, 0, cell!))
    const forget = coupled ? scaleShift(i, -1, 1) : f!(seen(2, 2, cell!))
    const next = add(mul(forget, cell!), mul(i, g!(bounded(l, gateOf(l, all, 3)))))
    return [mul(f!(seen(1, 1, next)), h!(next)), next]
  })
  return { y, h: states[0]!, c: states[1]! }
}

function gru(ctx: RunContext, node: GraphNode, l: Layer, d: DirectionWeights): DirectionResult {
  const behind = intAttribute(node, 'linear_before_reset', 0) !== 0
  const steps = l.x.shape[0]!
  if (!d.f && behind && l.clip === Infinity) {
    // z r h to r z n
    const order = [1, 0, 2]
    const as = (t: Tensor | null): Tensor | null => t && reordered(t, order, l.hidden)
    const [states] = gruDirection(l.x, as(d.w)!, as(d.r)!, as(d.wb), as(d.rb), d.h0, l.lengths, d.reverse)
    return { y: rows(states, 0, steps), h: at(states, steps) }
  }
  const [f, g] = d.f ?? [sigmoid, tanh]
  const [rGates, rState] = [rows(d.r, 0, 2 * l.hidden), rows(d.r, 2 * l.hidden, l.hidden)]
  const parts = d.rb && [rows(d.rb, 0, 2 * l.hidden), rows(d.rb, 2 * l.hidden, l.hidden)]
  const { y, states } = unroll(l, d, [startOf(l, d.h0)], plus(product(l.x, d.w), d.wb), (wx, [state]) => {
    const zr = f!(bounded(l, add(gateOf(l, wx, 0, 2), plus(product(state!, rGates), parts ? parts[0]! : null))))
    const [z, r] = [gateOf(l, zr, 0), gateOf(l, zr, 1)]
    const b = parts ? parts[1]! : null
    const recurrent = behind ? mul(r, plus(product(state!, rState), b)) : plus(product(mul(r, state!), rState), b)
    const n = g!(bounded(l, add(gateOf(l, wx, 2), recurrent)))
    return [add(n, mul(z, sub(state!, n)))]
  })
  return { y, h: states[0]! }
}

function rnn(_ctx: RunContext, _node: GraphNode, l: Layer, d: DirectionWeights): DirectionResult {
  const f = d.f?.[0] ?? tanh
  const gates = plus(product(l.x, d.w), d.wb && add(d.wb, d.rb!))
  const { y, states } = unroll(l, d, [startOf(l, d.h0)], gates, (wx, [state]) => [f(bounded(l, add(wx, product(state!, d.r))))])
  return { y, h: states[0]! }
}

const directionsOf = (ctx: InferContext | RunContext, node: GraphNode): number => {
  const name = stringAttribute(node, 'direction', 'forward')
  const found = { forward: 1, reverse: 1, bidirectional: 2 }[name]
  return found ?? ctx.fail('ERR_MODEL_FORMAT', `direction must be forward, reverse or bidirectional, got ${JSON.stringify(name)}`)
}

function recurrent(
  name: string,
  since: readonly number[],
  gates: number,
  defaults: readonly string[],
  run: (ctx: RunContext, node: GraphNode, l: Layer, d: DirectionWeights) => DirectionResult,
): void {
  const cells = gates === 4
  defineOnnxOp(name, {
    since,
    inputs: [3, cells ? 8 : 6],
    infer: (ctx, [x, w, r], node): ValueType[] => {
      const hidden: Dim = hasAttribute(node, 'hidden_size') ? intAttribute(node, 'hidden_size') : (r?.shape?.[2] ?? null)
      const [d, flipped] = [directionsOf(ctx, node), intAttribute(node, 'layout', 0) !== 0]
      const [a, b] = [x?.shape?.[0] ?? null, x?.shape?.[1] ?? null]
      const dtype = x?.dtype ?? w?.dtype
      const state = valueType(dtype, flipped ? [a, d, hidden] : [d, b, hidden])
      return [valueType(dtype, flipped ? [a, b, d, hidden] : [a, d, b, hidden]), state, ...(cells ? [state] : [])]
    },
    run: runLayer(gates, defaults, run),
  })
}

function runLayer(
  gates: number,
  defaults: readonly string[],
  run: (ctx: RunContext, node: GraphNode, l: Layer, d: DirectionWeights) => DirectionResult,
): OnnxOp['run'] {
  return (ctx, inputs, node) => {
    const [x, w, r] = inputs.slice(0, 3).map((v) => ctx.tensor(v)) as [Tensor, Tensor, Tensor]
    const given = (v: Value | undefined): Tensor | null => (v === undefined ? null : ctx.tensor(v))
    const bias = given(inputs[3])
    const directions = directionsOf(ctx, node)
    const layout = intAttribute(node, 'layout', 0)
    const hidden = r.shape[2] ?? 0
    const fits = (t: Tensor | null, shape: readonly number[], what: string): void => {
      if (t && (t.rank !== shape.length || shape.some((s, i) => t.shape[i] !== s)))
        ctx.fail('ERR_SHAPE', `${what} must be [${shape.join(',')}], got ${t}`)
    }
    if (x.rank !== 3) ctx.fail('ERR_SHAPE', `x must have three dimensions, got ${x}`)
    const ordered = layout === 0 ? x : permute(x, [1, 0, 2])
    const batch = ordered.shape[1]!
    const stateShape = layout === 0 ? [directions, batch, hidden] : [batch, directions, hidden]
    const [h0, c0] = [given(inputs[5]), given(inputs[6])]
    fits(w, [directions, gates * hidden, x.shape[2]!], 'W')
    fits(r, [directions, gates * hidden, hidden], 'R')
    fits(bias, [directions, 2 * gates * hidden], 'B')
    fits(h0, stateShape, 'initial_h')
    fits(c0, stateShape, 'initial_c')
    const p = given(inputs[7])
    fits(p, [directions, 3 * hidden], 'P')
    const lengths = given(inputs[4])
    fits(lengths, [batch], 'sequence_lens')
    const f = functions(ctx, node, defaults, directions)
    const layer: Layer = {
      x: ordered,
      directions,
      hidden,
      lengths: lengths && (lengths.dtype === 'i32' ? lengths : cast(lengths, 'i32')),
      clip: hasAttribute(node, 'clip') ? floatAttribute(node, 'clip') : Infinity,
      layout,
    }
    const stateOf = (s: Tensor | null, d: number): Tensor | null => s && at(layout === 0 ? s : permute(s, [1, 0, 2]), d)
    const results = Array.from({ length: directions }, (_, d) =>
      run(ctx, node, layer, {
        w: at(w, d),
        r: at(r, d),
        wb: bias && slice(at(bias, d), [0], [gates * hidden]),
        rb: bias && slice(at(bias, d), [gates * hidden], [gates * hidden]),
        p: p && at(p, d),
        h0: stateOf(h0, d),
        c0: stateOf(c0, d),
        reverse: directions === 2 ? d === 1 : stringAttribute(node, 'direction', 'forward') === 'reverse',
        f: f?.slice(d * defaults.length, (d + 1) * defaults.length),
      }),
    )
    const y = stack(
      results.map((s) => s.y),
      1,
    )
    const last = (list: readonly Tensor[]): Tensor => stack(list, layout === 0 ? 0 : 1)
    return [
      layout === 0 ? y : permute(y, [2, 0, 1, 3]),
      last(results.map((s) => s.h)),
      ...(results[0]!.c ? [last(results.map((s) => s.c!))] : []),
    ]
  }
}

recurrent('LSTM', [1, 7, 14, 22], 4, ['sigmoid', 'tanh', 'tanh'], lstm)
recurrent('GRU', [1, 3, 7, 14, 22], 3, ['sigmoid', 'tanh'], gru)
recurrent('RNN', [1, 7, 14, 22], 1, ['tanh'], rnn)
