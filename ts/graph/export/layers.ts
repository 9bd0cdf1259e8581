/** Layers found in a graph as the operators that they came from: one row for each kind that `modularize` makes. */
import { UnsupportedError } from '../../base/errors.js'
import type { OnnxNode } from '../../formats/onnx/index.js'
import { QuantizedWeight, type Module } from '../../nn/index.js'
import type { GraphNode } from '../graph.js'
import { float, int, ints, text, type Attributes, type OnnxBuilder } from './builder.js'
import { GRU_GATES, LSTM_GATES, gateMatrix, reorder } from './recurrent.js'
import type { WeightEmitter } from './weights.js'

export interface LayerPlace {
  readonly builder: OnnxBuilder
  readonly weights: WeightEmitter
  /** Of the layer in the model. */
  readonly path: string
  /** Adds a node where the layer stands (a subgraph has its own). */
  readonly put: (node: OnnxNode) => void
}

type Config = Readonly<Record<string, unknown>>
/** Writes the nodes of a layer: inputs of the node in, its outputs named as they are. */
type Row = (at: Layer, config: Config, node: GraphNode) => void

/** What rows work with. */
class Layer {
  readonly place: LayerPlace
  constructor(place: LayerPlace) {
    this.place = place
  }
  weight(name: string): string {
    return this.place.weights.dense(`${this.place.path}.${name}`)
  }
  values(name: string): Float32Array {
    return this.place.weights.values(`${this.place.path}.${name}`).values
  }
  put(op: string, inputs: readonly string[], outputs: readonly string[], attributes: Attributes = {}): void {
    this.place.put({ op, domain: '', name: this.place.builder.name(op), inputs: [...inputs], outputs: [...outputs], attributes })
  }
  /** A node with a result of a new name. */
  make(op: string, inputs: readonly string[], attributes: Attributes = {}): string {
    const y = this.place.builder.name(`${this.place.path}.${op}`)
    this.put(op, inputs, [y], attributes)
    return y
  }
  /** The input of a layer, rounded where its weight says so. */
  input(x: string): string {
    const weight = this.place.weights.weight(`${this.place.path}.weight`)
    const rounding = weight instanceof QuantizedWeight ? weight.input : null
    if (!rounding || rounding === 'dynamic') return x
    const { builder } = this.place
    const scales = [builder.scalar(rounding.scale), builder.constant('zero_point', 'u8', [], [rounding.zero])]
    const ends = rounding.limits?.map((code) => builder.scalar((code - rounding.zero) * rounding.scale))
    const kept = ends ? this.make('Clip', [x, ...ends]) : x
    return this.make('DequantizeLinear', [this.make('QuantizeLinear', [kept, ...scales]), ...scales])
  }
  fail(what: string): never {
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      `export: ${this.place.path}: ${what} in a graph whose path follows values has no form in ONNX`,
    )
  }
}

const bias = (at: Layer, c: Config): readonly string[] => (c.bias ? [at.weight('bias')] : [])
const list = (v: unknown): readonly number[] => (typeof v === 'number' ? [v] : (v as readonly number[]))

/** ONNX wants the beginnings of all dimensions, then the ends; here a dimension has one number for both or two of its own. */
function padding(at: Layer, given: unknown, dims: number): Attributes {
  if (given === 'same') return { auto_pad: text('SAME_UPPER') }
  if (typeof given === 'string') return at.fail(`padding ${given}`)
  if (dims === 1) {
    const [from, to = from] = list(given) as [number, number?]
    return { pads: ints([from, to]) }
  }
  const sides = (given as readonly (number | readonly [number, number])[]).map((p) => (typeof p === 'number' ? [p, p] : p))
  return { pads: ints([...sides.map((s) => s[0]), ...sides.map((s) => s[1])]) }
}

const windows = (c: Config): Attributes => ({
  kernel_shape: ints(list(c.kernel)),
  strides: ints(list(c.stride)),
  dilations: ints(list(c.dilation)),
  group: int(c.groups as number),
})

const convolution =
  (dims: number): Row =>
  (at, c, node) =>
    at.put('Conv', [at.input(node.inputs[0]!), at.weight('weight'), ...bias(at, c)], node.outputs, {
      ...windows(c),
      ...padding(at, c.padding, dims),
    })

const norm =
  (op: string, opset: number, parts: readonly string[], more: (c: Config) => Attributes = () => ({})): Row =>
  (at, c, node) => {
    at.place.builder.needs(opset)
    const attributes = { epsilon: float(c.eps as number), ...more(c) }
    at.put(op, [node.inputs[0]!, ...parts.map((name) => at.weight(name))], node.outputs, attributes)
  }

const grouped: Row = (at, c, node) =>
  (c.groups === c.channels
    ? norm('InstanceNormalization', 6, ['gamma', 'beta'])
    : norm('GroupNormalization', 21, ['gamma', 'beta'], () => ({ num_groups: int(c.groups as number) })))(at, c, node)

const recurrent =
  (op: 'LSTM' | 'GRU', gates: readonly number[]): Row =>
  (at, c, node) => {
    const { builder, weights, path } = at.place
    const [hidden, input] = [c.hidden as number, c.in as number]
    const ends = c.bidirectional ? ['_l0', '_l0_reverse'] : ['_l0']
    const rows = gates.length * hidden
    const stacked = (name: string, width: number): string => {
      const parts = ends.map((end) => gateMatrix({ builder, weights }, `${path}.${name}${end}`, [rows, width], gates))
      return parts.length === 1 ? parts[0]! : at.make('Concat', parts, { axis: int(0) })
    }
    const both = ends.flatMap((end) => ['bias_ih', 'bias_hh'].flatMap((name) => Array.from(reorder(at.values(name + end), gates))))
    const b = c.bias ? weights.floats32(`${path}.bias`, [ends.length, 2 * rows], Float32Array.from(both)) : ''
    const [x, lengths = '', h0 = '', c0 = ''] = node.inputs
    const inputs = [x!, stacked('weight_ih', input), stacked('weight_hh', hidden), b, lengths, h0, ...(op === 'LSTM' ? [c0] : [])]
    while (inputs.at(-1) === '') inputs.pop()
    at.put(op, inputs, node.outputs, {
      hidden_size: int(hidden),
      direction: text(c.bidirectional ? 'bidirectional' : 'forward'),
      ...(op === 'GRU' ? { linear_before_reset: int(1) } : {}),
    })
  }

const rows: Readonly<Record<string, Row>> = {
  linear: (at, c, node) => {
    const x = at.input(node.inputs[0]!)
    const w = at.place.weights.transposed(`${at.place.path}.weight`)
    if (!c.bias) at.put('MatMul', [x, w], node.outputs)
    else at.put('Add', [at.make('MatMul', [x, w]), at.weight('bias')], node.outputs)
  },
  conv1d: convolution(1),
  conv2d: convolution(2),
  convTranspose2d: (at, c, node) =>
    at.put('ConvTranspose', [node.inputs[0]!, at.weight('weight'), ...bias(at, c)], node.outputs, {
      ...windows(c),
      ...padding(at, c.padding, 2),
      output_padding: ints(list(c.outputPadding)),
    }),
  embedding: (at, _c, node) => at.put('Gather', [at.weight('weight'), node.inputs[0]!], node.outputs, { axis: int(0) }),
  batchNorm: norm('BatchNormalization', 9, ['gamma', 'beta', 'mean', 'variance']),
  layerNorm: norm('LayerNormalization', 17, ['gamma', 'beta'], () => ({ axis: int(-1) })),
  rmsNorm: norm('RMSNormalization', 23, ['gamma'], () => ({ axis: int(-1) })),
  groupNorm: grouped,
  lstm: recurrent('LSTM', LSTM_GATES),
  gru: recurrent('GRU', GRU_GATES),
}

/** Adds the nodes of a layer. ERR_UNSUPPORTED for kinds that no operator is. */
export function layerNodes(place: LayerPlace, module: Module, node: GraphNode): void {
  const at = new Layer(place)
  const row = rows[module.kind]
  if (!row) return at.fail(`a layer of kind ${module.kind}`)
  const call = node.attributes.call?.value
  if (typeof call === 'string' && call.includes('"activation"')) return at.fail('a layer that a pass has fused')
  row(at, module.config, node)
}
