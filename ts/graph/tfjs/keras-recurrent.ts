/**
 * LSTM, GRU and SimpleRNN of Keras, alone and in both directions, as the recurrent nodes of ONNX. Keras keeps matrices as [in, gates * units] with the gates
 * i f c o (LSTM) and z r h (GRU); ONNX has [gates * units, in] with i o f c and z r h, a bias for each side, and steps before the batch.
 */
import type { KerasLayer } from '../../formats/tfjs-layers.js'
import type { GraphTensor } from '../graph.js'
import { END, Val, type Attributes, type Builder } from './builder.js'
import { f32, floatsOf } from './constants.js'
import { widthOf, type Keras, type KerasRow } from './keras-rows.js'
import { elementwise } from './layout.js'

interface Kind {
  readonly op: 'LSTM' | 'GRU' | 'RNN'
  /** Position in Keras of each gate of ONNX. */
  readonly gates: readonly number[]
  readonly states: number
}
const kinds: Readonly<Record<string, Kind>> = {
  LSTM: { op: 'LSTM', gates: [0, 3, 1, 2], states: 2 },
  GRU: { op: 'GRU', gates: [0, 1, 2], states: 1 },
  SimpleRNN: { op: 'RNN', gates: [0], states: 1 },
}

const functions = new Map<string, string>([
  ['tanh', 'Tanh'],
  ['sigmoid', 'Sigmoid'],
  ['relu', 'Relu'],
  ['linear', 'Affine'],
  ['hard_sigmoid', 'HardSigmoid'],
  ['hardsigmoid', 'HardSigmoid'],
  ['softsign', 'Softsign'],
  ['softplus', 'Softplus'],
  ['elu', 'Elu'],
])
function functionOf(layer: KerasLayer, key: string, other: string): string {
  const name = layer.named(key, other)
  return functions.get(name.toLowerCase()) ?? layer.unsupported(`${key} ${JSON.stringify(name.slice(0, 40))}`)
}

/** Rows of gates [gates * units, in] out of columns [in, gates * units], in the order of ONNX. */
function gatesOf(t: GraphTensor, units: number, gates: readonly number[]): Float32Array {
  const from = floatsOf(t)
  const [ins, cols] = t.shape as [number, number]
  const out = new Float32Array(from.length)
  gates.forEach((g, k) => {
    for (let u = 0; u < units; u++) for (let i = 0; i < ins; i++) out[(k * units + u) * ins + i] = from[i * cols + g * units + u]!
  })
  return out
}

interface Side {
  readonly kernel: GraphTensor
  readonly recurrent: GraphTensor
  readonly bias: GraphTensor | undefined
}

const joined = (parts: readonly Float32Array[]): Float32Array => {
  const out = new Float32Array(parts.reduce((n, p) => n + p.length, 0))
  parts.reduce((at, p) => (out.set(p, at), at + p.length), 0)
  return out
}

/** Weights of one direction; `name` is the layer (or wrapper) they belong to. */
function sideOf(k: Keras, layer: KerasLayer, kind: Kind, name: string, input: number, units: number, within?: RegExp): Side {
  const wide = kind.gates.length * units
  const resetAfter = layer.className === 'GRU' && layer.bool('reset_after', false)
  const tensor = (v: Val): GraphTensor => v.source!.tensor
  return {
    kernel: tensor(k.weights.get(name, 'kernel', [input, wide], within)),
    recurrent: tensor(k.weights.get(name, 'recurrent_kernel', [units, wide], within)),
    bias: layer.bool('use_bias', true) ? tensor(k.weights.get(name, 'bias', resetAfter ? [2, wide] : [wide], within)) : undefined,
  }
}

/** [gates] or [2, gates] as the two biases of ONNX. */
function biasOf(t: GraphTensor, units: number, gates: readonly number[]): Float32Array {
  const from = floatsOf(t)
  const wide = gates.length * units
  const half = (at: number): Float32Array => joined(gates.map((g) => from.subarray(at + g * units, at + (g + 1) * units)))
  return joined([half(0), t.shape.length === 2 ? half(wide) : new Float32Array(wide)])
}

/** All steps [T, sides, B, H] and the last states [sides, B, H]. */
function recur(
  k: Keras,
  layer: KerasLayer,
  kind: Kind,
  sides: readonly Side[],
  x: Val,
  direction: string,
  states: readonly Val[],
): string[] {
  const { b } = k
  const units = layer.int('units')
  const input = sides[0]!.kernel.shape[0]!
  const n = sides.length
  const wide = kind.gates.length * units
  const constant = (part: string, shape: readonly number[], values: (s: Side) => Float32Array): string =>
    b.constant(
      `${layer.name}/${part}`,
      f32(shape, () => joined(sides.map(values))),
    )
  const w = constant('kernel', [n, wide, input], (s) => gatesOf(s.kernel, units, kind.gates))
  const r = constant('recurrent_kernel', [n, wide, units], (s) => gatesOf(s.recurrent, units, kind.gates))
  const bias = sides[0]!.bias ? constant('bias', [n, 2 * wide], (s) => biasOf(s.bias!, units, kind.gates)) : undefined
  const act = functionOf(layer, 'activation', 'tanh')
  const gate =
    kind.op === 'RNN'
      ? act
      : functionOf(layer, 'recurrent_activation', layer.className === 'GRU' && !layer.has('reset_after') ? 'hard_sigmoid' : 'sigmoid')
  const each = kind.op === 'LSTM' ? [gate, act, act] : kind.op === 'GRU' ? [gate, act] : [act]
  const usual = act === 'Tanh' && (kind.op === 'RNN' || gate === 'Sigmoid')
  // Alpha and beta stand for those functions alone that have them, in order.
  const all = sides.flatMap(() => each)
  const alphas = all.flatMap((f) => ({ HardSigmoid: [0.2], Affine: [1], Elu: [1] })[f] ?? [])
  const betas = all.flatMap((f) => ({ HardSigmoid: [0.5], Affine: [0] })[f] ?? [])
  const attributes: Attributes = {
    hidden_size: units,
    ...(direction === 'forward' ? {} : { direction }),
    ...(kind.op === 'GRU' ? { linear_before_reset: layer.bool('reset_after', false) ? 1 : 0 } : {}),
    ...(usual
      ? {}
      : {
          activations: { type: 'strings', value: all },
          ...(alphas.length ? { activation_alpha: { floats: alphas } } : {}),
          ...(betas.length ? { activation_beta: { floats: betas } } : {}),
        }),
  }
  const steps = b.op('Transpose', [b.plain(x)], { perm: [1, 0, 2] })
  const initial = states.map((s) => b.op('Unsqueeze', [b.plain(s), b.ints([0])]))
  return b.ops(kind.op, [steps, w, r, bias, undefined, ...initial], attributes, 1 + kind.states)
}

function refuse(layer: KerasLayer): void {
  if (layer.bool('stateful', false)) layer.unsupported('stateful')
  if (layer.bool('time_major', false)) layer.unsupported('time_major')
}

/** Steps [T, 1, B, H] as [B, T, H]; backwards in the order in which they were made. */
function stepsOf(b: Builder, y: string, side: number, backwards: boolean): string {
  const one = b.op('Gather', [y, b.int(side)], { axis: 1 })
  const turned = b.op('Transpose', [one], { perm: [1, 0, 2] })
  return backwards ? b.op('Slice', [turned, b.ints([-1]), b.ints([-END - 1]), b.ints([1]), b.ints([-1])]) : turned
}

const recurrent =
  (className: string): KerasRow =>
  (k, layer, x) => {
    const { b } = k
    refuse(layer)
    const kind = kinds[className]!
    const side = sideOf(k, layer, kind, layer.name, widthOf(k, layer, x[0]!), layer.int('units'))
    const backwards = layer.bool('go_backwards', false)
    if (x.length > 1 && x.length !== 1 + kind.states) layer.fail('inputs', `takes 1 or ${1 + kind.states} inputs, got ${x.length}`)
    const [y, ...states] = recur(k, layer, kind, [side], x[0]!, backwards ? 'reverse' : 'forward', x.slice(1))
    const last = states.map((s) => new Val(b.op('Squeeze', [s, b.ints([0])])))
    const result = layer.bool('return_sequences', false) ? new Val(stepsOf(b, y!, 0, backwards)) : last[0]!
    return layer.bool('return_state', false) ? [result, ...last] : result
  }

const bidirectional: KerasRow = (k, wrapper, x) => {
  const { b } = k
  const layer = wrapper.inner.get('layer') ?? wrapper.fail('config', '"layer" is missing')
  const kind = kinds[layer.className] ?? wrapper.unsupported(`around ${layer.className}`)
  refuse(layer)
  if (layer.bool('return_state', false) || x.length > 1) wrapper.unsupported('states')
  const units = layer.int('units')
  const input = widthOf(k, wrapper, x[0]!)
  const side = (within: RegExp): Side => sideOf(k, layer, kind, sideName(k, wrapper, layer, within), input, units, within)
  const [y, states] = recur(k, layer, kind, [side(/^forward/), side(/^backward/)], x[0]!, 'bidirectional', [])
  const all = layer.bool('return_sequences', false)
  const parts = [0, 1].map((d) => new Val(all ? stepsOf(b, y!, d, false) : b.op('Gather', [states!, b.int(d)], { axis: 0 })))
  const mode = wrapper.has('merge_mode') ? wrapper.string('merge_mode') : 'none'
  if (mode === 'concat') return new Val(b.op('Concat', parts.map((p) => p.plain), { axis: -1 })) // prettier-ignore
  if (mode === 'sum') return elementwise(b, 'Add', parts)
  if (mode === 'mul') return elementwise(b, 'Mul', parts)
  if (mode === 'ave') return elementwise(b, 'Mean', parts)
  return mode === 'none' ? parts : wrapper.unsupported(`merge_mode ${JSON.stringify(mode)}`)
}

/** Weights of a wrapper stand under its own name, or under those of its two layers. */
function sideName(k: Keras, wrapper: KerasLayer, layer: KerasLayer, within: RegExp): string {
  const own = within.source.slice(1)
  return [wrapper.name, `${own}_${layer.name}`].find((name) => k.weights.has(name, 'kernel')) ?? wrapper.name
}

export const recurrentRows: ReadonlyMap<string, KerasRow> = new Map<string, KerasRow>([
  ['LSTM', recurrent('LSTM')],
  ['GRU', recurrent('GRU')],
  ['SimpleRNN', recurrent('SimpleRNN')],
  ['Bidirectional', bidirectional],
])
