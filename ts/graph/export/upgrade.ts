/**
 * Nodes of ONNX's own domain in the form of a later version of the operators: what was an attribute becomes an input, what was called otherwise gets its new name,
 * defaults that changed are written out. An imported graph that is written by its own operators needs it where its compressed weights need newer ones
 * (scales per channel: 13, blocks of 4 bits: 21). Source: the "Version converter" notes of ONNX's operator changelog (Changelog.md).
 */
import { UnsupportedError } from '../../base/errors.js'
import type { OnnxAttribute, OnnxNode } from '../../formats/onnx/index.js'
import { float, int, type OnnxBuilder, text } from './builder.js'

type Step = (node: OnnxNode, builder: OnnxBuilder) => readonly OnnxNode[] | OnnxNode

const without = (node: OnnxNode, ...names: string[]): OnnxNode['attributes'] =>
  Object.fromEntries(Object.entries(node.attributes).filter(([name]) => !names.includes(name)))
const listOf = (a: OnnxAttribute | undefined): readonly number[] | undefined =>
  a?.type === 'ints' || a?.type === 'floats' ? a.value : a?.type === 'int' || a?.type === 'float' ? [a.value] : undefined

/** Inputs without those left out at the end. */
function trimmed(inputs: readonly string[]): string[] {
  let last = inputs.length
  while (last > 0 && inputs[last - 1] === '') last--
  return inputs.slice(0, last)
}

/** Attributes as inputs of the same order behind the `first` that there are: lists of i64, or numbers of f32 (as every file has them that is that old). */
function asInputs(first: number, kind: 'i64 list' | 'i64 one' | 'f32 list' | 'f32 scalar', ...names: string[]): Step {
  return (node, builder) => {
    const given = names.map((name) => {
      const values = listOf(node.attributes[name])
      if (!values) return ''
      if (kind === 'f32 scalar') return builder.constant(name, 'f32', [], values)
      return builder.constant(name, kind === 'f32 list' ? 'f32' : 'i64', [values.length], values)
    })
    const own = Array.from({ length: first }, (_, i) => node.inputs[i] ?? '')
    return { ...node, inputs: trimmed([...own, ...given]), attributes: without(node, ...names) }
  }
}

function all(...steps: readonly Step[]): Step {
  return (node, builder) => steps.reduce<OnnxNode>((n, step) => step(n, builder) as OnnxNode, node)
}

function refuse(what: string): Step {
  return ({ op, name }) => {
    throw new UnsupportedError('ERR_UNSUPPORTED', `export: ${op} ${JSON.stringify(name)}: ${what}`, { details: { what: op } })
  }
}

/**
 * Before 13 softmax ran over all axes from `axis` (1) on as one. A negative axis counts from the end as ever; the last one is the same in both versions.
 */
const softmax: Step = (node, builder) => {
  const axis = node.attributes.axis?.type === 'int' ? node.attributes.axis.value : 1
  if (axis === -1) return node
  const [x] = node.inputs as [string]
  const name = (hint: string): string => builder.name(`${node.name || node.op}_${hint}`)
  const [shape, flat, done] = [name('shape'), name('flat'), name('rows')]
  const plain = { domain: '', attributes: {} }
  return [
    { ...plain, op: 'Shape', name: name('Shape'), inputs: [x], outputs: [shape] },
    { ...plain, op: 'Flatten', name: name('Flatten'), inputs: [x], outputs: [flat], attributes: { axis: int(axis) } },
    { ...node, inputs: [flat], outputs: [done], attributes: { axis: int(1) } },
    { ...plain, op: 'Reshape', name: name('Reshape'), inputs: [done, shape], outputs: node.outputs },
  ]
}

const axes = asInputs(1, 'i64 list', 'axes')
const reductions = [
  'ReduceMax',
  'ReduceMin',
  'ReduceMean',
  'ReduceProd',
  'ReduceL1',
  'ReduceL2',
  'ReduceLogSum',
  'ReduceLogSumExp',
  'ReduceSumSquare',
]
const sampling: Readonly<Record<string, string>> = { bilinear: 'linear', bicubic: 'cubic' }

/** What changes on the way into a version, by operator. */
const steps: Readonly<Record<number, Readonly<Record<string, Step>>>> = {
  9: {
    BatchNormalization: (node) => {
      const { spatial } = node.attributes
      if (spatial?.type === 'int' && spatial.value === 0)
        return refuse('statistics for every place have no form after opset 8')(node, undefined as never)
      return { ...node, attributes: without(node, 'spatial') }
    },
    Upsample: asInputs(1, 'f32 list', 'scales'),
    Scan: refuse('the batches of opset 8 have no form after it'),
  },
  10: {
    Upsample: (node) => ({ ...node, op: 'Resize' }),
    Slice: asInputs(1, 'i64 list', 'starts', 'ends', 'axes'),
    TopK: asInputs(1, 'i64 one', 'k'),
  },
  11: {
    Clip: asInputs(1, 'f32 scalar', 'min', 'max'),
    Pad: all(asInputs(1, 'i64 list', 'pads'), asInputs(2, 'f32 scalar', 'value')),
    Resize: (node) => ({
      ...node,
      inputs: [node.inputs[0]!, '', node.inputs[1]!],
      attributes: { ...node.attributes, coordinate_transformation_mode: text('asymmetric'), nearest_mode: text('floor') },
    }),
    Scatter: (node) => ({ ...node, op: 'ScatterElements' }),
  },
  12: {
    Dropout: (node, builder) =>
      asInputs(1, 'f32 scalar', 'ratio')({ ...node, attributes: { ratio: float(0.5), ...node.attributes } }, builder),
  },
  13: {
    Squeeze: axes,
    Unsqueeze: axes,
    ReduceSum: axes,
    Split: asInputs(1, 'i64 list', 'split'),
    Softmax: softmax,
    LogSoftmax: softmax,
    Hardmax: softmax,
  },
  16: {
    // Half a pixel was not subtracted before; the default is that it is.
    RoiAlign: (node) => ({ ...node, attributes: { ...node.attributes, coordinate_transformation_mode: text('output_half_pixel') } }),
  },
  18: {
    ...Object.fromEntries(reductions.map((op) => [op, axes])),
    Split: (node) =>
      node.inputs[1]
        ? node
        : { ...node, inputs: [node.inputs[0]!], attributes: { ...node.attributes, num_outputs: int(node.outputs.length) } },
  },
  20: {
    GridSample: (node) => {
      const { mode } = node.attributes
      const renamed = mode?.type === 'string' ? sampling[mode.value] : undefined
      return renamed === undefined ? node : { ...node, attributes: { ...node.attributes, mode: text(renamed) } }
    },
    DFT: (node, builder) => {
      const axis = listOf(node.attributes.axis) ?? [1]
      const inputs = [node.inputs[0]!, node.inputs[1] ?? '', builder.constant('axis', 'i64', [], axis)]
      return { ...node, inputs, attributes: without(node, 'axis') }
    },
  },
  21: { GroupNormalization: refuse('scales by group have no form from opset 21 on') },
}

/**
 * A node of opset `from` as nodes of opset `to`, in order. Other domains stay as they are. What has no form there: ERR_UNSUPPORTED.
 */
export function upgradeNode(node: OnnxNode, from: number, to: number, builder: OnnxBuilder): readonly OnnxNode[] {
  let nodes: readonly OnnxNode[] = [node]
  for (let version = from + 1; version <= to; version++) {
    const changed = steps[version]
    if (changed) nodes = nodes.flatMap((n) => (n.domain === '' && Object.hasOwn(changed, n.op) ? changed[n.op]!(n, builder) : n))
  }
  return nodes
}
