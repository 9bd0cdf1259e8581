/** The layers that `modularize` knows, by the operator that they begin with. A finder takes a node only when the child computes exactly the same. */
import { batchNorm, conv1d, conv2d, convTranspose2d, embedding, groupNorm, gru, layerNorm, linear, lstm, rmsNorm } from '../nn/index.js'
import { floatAttribute, hasAttribute, intAttribute, intsAttribute, stringAttribute } from './define.js'
import type { GraphNode } from './graph.js'
import { codedTable, quantizedFinders } from './finders-quantized.js'
import { biasBehind, isBias, sizeOf, storedWeight, type Finder } from './finder-lib.js'
import type { Floats, FinderContext, LayerValue, RawValues } from './modules.js'

const turned = new WeakMap<() => RawValues, () => RawValues>()
/** [rows, cols] -> [cols, rows]: one function for the same values. */
function transposed({ raw, rawTurned }: Floats): () => RawValues {
  if (rawTurned) return rawTurned
  const found = turned.get(raw) ?? ((): RawValues => ({ ...raw(), turned: true }))
  turned.set(raw, found)
  return found
}

/** The weight of a layer with its input: as it is stored where the layer can take it so, else as numbers. */
function weightOf(
  t: Floats,
  turned: boolean,
  input: string,
  ctx: FinderContext,
): { readonly weight: LayerValue; readonly inputs: readonly string[]; readonly key: string } {
  const stored = storedWeight(t, turned, input, ctx)
  if (stored) return { weight: { weight: stored.weight }, inputs: [stored.input], key: stored.key }
  return { weight: turned ? transposed(t) : t.raw, inputs: [input], key: '' }
}
/** A bias, norm or state that a model has already, or its numbers. */
const vectorOf = (t: Floats): LayerValue => {
  const { weight } = t
  return weight && !weight.turned && weight.of.shape.length === 1 ? { weight: () => weight.of } : t.raw
}

const matMul: Finder = (node, ctx) => {
  const weight = ctx.floats(node.inputs[1])
  if (weight?.shape.length !== 2 || sizeOf(weight.shape) === 0 || ctx.rank(node.inputs[0]!) === 1) return undefined
  const [k, n] = weight.shape as [number, number]
  const found = biasBehind(node, ctx, n, 'last')
  const stored = weightOf(weight, true, node.inputs[0]!, ctx)
  return {
    spec: linear({ in: k, out: n, bias: found !== undefined, init: 'he' }),
    values: { weight: stored.weight, ...(found ? { bias: vectorOf(found.bias) } : {}) },
    inputs: stored.inputs,
    key: stored.key,
    outputs: found ? found.add.outputs : node.outputs,
    others: found ? [found.add] : [],
    constants: [node.inputs[1]!, ...(found ? [found.name] : [])],
  }
}

const gemm: Finder = (node, ctx) => {
  const weight = ctx.floats(node.inputs[1])
  const plain = intAttribute(node, 'transA', 0) === 0 && floatAttribute(node, 'alpha', 1) === 1 && floatAttribute(node, 'beta', 1) === 1
  if (weight?.shape.length !== 2 || sizeOf(weight.shape) === 0 || !plain) return undefined
  const turned = intAttribute(node, 'transB', 0) !== 0
  const [n, k] = (turned ? weight.shape : [...weight.shape].reverse()) as [number, number]
  const given = node.inputs[2] ? ctx.floats(node.inputs[2]) : undefined
  if (node.inputs[2] && !isBias(given, n, 'last')) return undefined
  const stored = weightOf(weight, !turned, node.inputs[0]!, ctx)
  return {
    spec: linear({ in: k, out: n, bias: given !== undefined, init: 'he' }),
    values: { weight: stored.weight, ...(given ? { bias: vectorOf(given) } : {}) },
    inputs: stored.inputs,
    key: stored.key,
    outputs: node.outputs,
    others: [],
    constants: [node.inputs[1]!, ...(given ? [node.inputs[2]!] : [])],
  }
}

const conv: Finder = (node, ctx) => {
  const weight = ctx.floats(node.inputs[1])
  const dims = weight ? weight.shape.length - 2 : 0
  if (!weight || sizeOf(weight.shape) === 0 || dims < 1 || dims > 2) return undefined
  const [out, perGroup, ...kernel] = weight.shape as [number, number, ...number[]]
  const groups = intAttribute(node, 'group', 1)
  const auto = stringAttribute(node, 'auto_pad', 'NOTSET')
  if (!['NOTSET', 'VALID', 'SAME_UPPER'].includes(auto)) return undefined
  const list = (name: string, other: number, length = dims): readonly number[] | undefined => {
    const v = intsAttribute(node, name, Array<number>(length).fill(other))
    return v.length === length && v.every((x) => Number.isInteger(x) && x >= (name === 'pads' ? 0 : 1) && x < 2 ** 24) ? v : undefined
  }
  const [stride, dilation, pads] = [list('strides', 1), list('dilations', 1), list('pads', 0, 2 * dims)]
  if (!stride || !dilation || !pads) return undefined
  const given = node.inputs[2] ? ctx.floats(node.inputs[2]) : undefined
  if (node.inputs[2] && given?.shape.length !== 1) return undefined
  const behind = given ? undefined : biasBehind(node, ctx, out, { rank: dims + 2 })
  const bias = given ?? behind?.bias
  const common = { in: perGroup * groups, out, groups, bias: bias !== undefined, init: 'he' as const }
  const same = auto === 'SAME_UPPER'
  const padding = auto === 'VALID' ? pads.map(() => 0) : pads
  const stored = weightOf(weight, false, node.inputs[0]!, ctx)
  return {
    spec:
      dims === 1
        ? conv1d({
            ...common,
            kernel: kernel[0]!,
            stride: stride[0]!,
            dilation: dilation[0]!,
            padding: same ? 'same' : [padding[0]!, padding[1]!],
          })
        : conv2d({
            ...common,
            kernel: [kernel[0]!, kernel[1]!],
            stride: [stride[0]!, stride[1]!],
            dilation: [dilation[0]!, dilation[1]!],
            padding: same
              ? 'same'
              : padding[0] === padding[2] && padding[1] === padding[3]
                ? [padding[0]!, padding[1]!]
                : [
                    [padding[0]!, padding[2]!],
                    [padding[1]!, padding[3]!],
                  ],
          }),
    values: { weight: stored.weight, ...(bias ? { bias: vectorOf(bias) } : {}) },
    inputs: stored.inputs,
    key: stored.key,
    outputs: behind ? behind.add.outputs : node.outputs,
    others: behind ? [behind.add] : [],
    constants: [node.inputs[1]!, ...(given ? [node.inputs[2]!] : behind ? [behind.name] : [])],
  }
}

const convTranspose: Finder = (node, ctx) => {
  const weight = ctx.floats(node.inputs[1])
  if (
    weight?.shape.length !== 4 ||
    sizeOf(weight.shape) === 0 ||
    hasAttribute(node, 'output_shape') ||
    stringAttribute(node, 'auto_pad', 'NOTSET') !== 'NOTSET'
  )
    return undefined
  const pads = intsAttribute(node, 'pads', [0, 0, 0, 0])
  const [stride, dilation, extra] = ['strides', 'dilations', 'output_padding'].map((name, i) =>
    intsAttribute(node, name, i < 2 ? [1, 1] : [0, 0]),
  )
  if (pads.length !== 4 || pads[0] !== pads[2] || pads[1] !== pads[3] || [stride, dilation, extra].some((l) => l!.length !== 2))
    return undefined
  const groups = intAttribute(node, 'group', 1)
  const [input, perGroup, kh, kw] = weight.shape as [number, number, number, number]
  const given = node.inputs[2] ? ctx.floats(node.inputs[2]) : undefined
  if ((node.inputs[2] && !given) || input % groups !== 0) return undefined
  const two = (l: readonly number[] | undefined): [number, number] => [l![0]!, l![1]!]
  return {
    spec: convTranspose2d({
      in: input,
      out: perGroup * groups,
      groups,
      bias: given !== undefined,
      init: 'he',
      kernel: [kh, kw],
      stride: two(stride),
      dilation: two(dilation),
      padding: [pads[0]!, pads[1]!],
      outputPadding: two(extra),
    }),
    values: {
      weight: weight.weight ? weightOf(weight, false, node.inputs[0]!, ctx).weight : weight.read,
      ...(given ? { bias: vectorOf(given) } : {}),
    },
    inputs: [node.inputs[0]!],
    outputs: node.outputs,
    others: [],
    constants: [node.inputs[1]!, ...(given ? [node.inputs[2]!] : [])],
  }
}

const gather: Finder = (node, ctx) => {
  const table = ctx.floats(node.inputs[0])
  if (table?.shape.length !== 2 || sizeOf(table.shape) === 0 || intAttribute(node, 'axis', 0) !== 0 || ctx.constant(node.inputs[1]))
    return undefined
  const [rows, width] = table.shape as [number, number]
  return {
    spec: embedding({ rows, width }),
    values: { weight: weightOf(table, false, '', ctx).weight },
    inputs: [node.inputs[1]!],
    outputs: node.outputs,
    others: [],
    constants: [node.inputs[0]!],
    call: { use: 'lookup', rows },
  }
}

/** Constants of [width] each, all there. */
function vectors(node: GraphNode, ctx: FinderContext, at: readonly number[], width?: number): Floats[] | undefined {
  const list = at.map((i) => ctx.floats(node.inputs[i]))
  return list.every((t) => t !== undefined && t.shape.length === 1 && t.shape[0] === (width ?? list[0]!.shape[0]))
    ? (list as Floats[])
    : undefined
}

const batch: Finder = (node, ctx) => {
  const list = vectors(node, ctx, [1, 2, 3, 4])
  if (!list || list[0]!.shape[0] === 0 || node.outputs.slice(1).some(Boolean) || intAttribute(node, 'training_mode', 0) !== 0)
    return undefined
  const [gamma, beta, mean, variance] = list as [Floats, Floats, Floats, Floats]
  const keep = Math.min(1, Math.max(0, floatAttribute(node, 'momentum', 0.9)))
  return {
    spec: batchNorm({ channels: gamma.shape[0]!, eps: floatAttribute(node, 'epsilon', 1e-5), momentum: Math.fround(1 - keep) }),
    values: { gamma: vectorOf(gamma), beta: vectorOf(beta), mean: mean.read, variance: variance.read },
    inputs: [node.inputs[0]!],
    outputs: [node.outputs[0]!],
    others: [],
    constants: node.inputs.slice(1, 5),
  }
}

const layer: Finder = (node, ctx) => {
  const list = vectors(node, ctx, [1, 2])
  const axis = intAttribute(node, 'axis', -1)
  const rank = ctx.rank(node.inputs[0]!)
  if (!list || (axis !== -1 && (rank === undefined || axis !== rank - 1)) || node.outputs.slice(1).some(Boolean)) return undefined
  const [gamma, beta] = list as [Floats, Floats]
  return {
    spec: layerNorm({ width: gamma.shape[0]!, eps: floatAttribute(node, 'epsilon', 1e-5) }),
    values: { gamma: gamma.read, beta: beta.read },
    inputs: [node.inputs[0]!],
    outputs: [node.outputs[0]!],
    others: [],
    constants: [node.inputs[1]!, node.inputs[2]!],
  }
}

const rms: Finder = (node, ctx) => {
  const list = vectors(node, ctx, [1])
  if (!list || intAttribute(node, 'axis', -1) !== -1) return undefined
  return {
    spec: rmsNorm({ width: list[0]!.shape[0]!, eps: floatAttribute(node, 'epsilon', 1e-5) }),
    values: { gamma: list[0]!.read },
    inputs: [node.inputs[0]!],
    outputs: node.outputs,
    others: [],
    constants: [node.inputs[1]!],
  }
}

/** Instance norm (a group per channel) and group norm with a scale per channel. */
const grouped: Finder = (node, ctx) => {
  const list = vectors(node, ctx, [1, 2])
  if (!list) return undefined
  const channels = list[0]!.shape[0]!
  const groups = node.op === 'InstanceNormalization' ? channels : intAttribute(node, 'num_groups')
  if (!(groups >= 1) || channels % groups !== 0 || (node.op === 'GroupNormalization' && channels === groups)) return undefined
  return {
    spec: groupNorm({ channels, groups, eps: floatAttribute(node, 'epsilon', 1e-5) }),
    values: { gamma: list[0]!.read, beta: list[1]!.read },
    inputs: [node.inputs[0]!],
    outputs: node.outputs,
    others: [],
    constants: [node.inputs[1]!, node.inputs[2]!],
  }
}

/** Order of the gates: ONNX has i o f c and z r h, nn has i f g o and r z n. */
const gateOrder = { LSTM: [0, 2, 3, 1], GRU: [1, 0, 2] } as const
const suffixes = ['_l0', '_l0_reverse'] as const

const recurrent: Finder = (node, ctx) => {
  const op = node.op as 'LSTM' | 'GRU'
  const [w, r, b] = [1, 2, 3].map((i) => ctx.floats(node.inputs[i]))
  const direction = stringAttribute(node, 'direction', 'forward')
  const directions = direction === 'bidirectional' ? 2 : 1
  const usual = !['activations', 'activation_alpha', 'activation_beta', 'clip'].some((name) => hasAttribute(node, name))
  const plain =
    usual &&
    intAttribute(node, 'layout', 0) === 0 &&
    intAttribute(node, 'input_forget', 0) === 0 &&
    (op === 'LSTM' || intAttribute(node, 'linear_before_reset', 0) !== 0)
  if (
    !w ||
    !r ||
    (node.inputs[3] && !b) ||
    node.inputs[7] ||
    direction === 'reverse' ||
    !plain ||
    r.shape.length !== 3 ||
    w.shape.length !== 3
  )
    return undefined
  const hidden = r.shape[2]!
  const order = gateOrder[op]
  const gates = order.length
  const input = w.shape[2]!
  if (
    hidden < 1 ||
    input < 1 ||
    w.shape[0] !== directions ||
    w.shape[1] !== gates * hidden ||
    r.shape[1] !== gates * hidden ||
    r.shape[0] !== directions
  )
    return undefined
  if (b && (b.shape.length !== 2 || b.shape[0] !== directions || b.shape[1] !== 2 * gates * hidden)) return undefined
  /** Part `d` of a stacked constant of rows of `width`, its gates in our order. */
  const part =
    (t: Floats, d: number, width: number, offset = 0, span = gates * hidden) =>
    (): Float32Array => {
      const from = t.read().subarray((d * span + offset) * width, (d * span + offset + gates * hidden) * width)
      const out = new Float32Array(from.length)
      order.forEach((g, i) => out.set(from.subarray(g * hidden * width, (g + 1) * hidden * width), i * hidden * width))
      return out
    }
  const values: Record<string, () => Float32Array> = {}
  for (let d = 0; d < directions; d++) {
    values[`weight_ih${suffixes[d]!}`] = part(w, d, input)
    values[`weight_hh${suffixes[d]!}`] = part(r, d, hidden)
    if (b) {
      values[`bias_ih${suffixes[d]!}`] = part(b, d, 1, 0, 2 * gates * hidden)
      values[`bias_hh${suffixes[d]!}`] = part(b, d, 1, gates * hidden, 2 * gates * hidden)
    }
  }
  const spec = (op === 'LSTM' ? lstm : gru)({
    in: input,
    hidden,
    layers: 1,
    bidirectional: directions === 2,
    bias: b !== undefined,
    dropout: 0,
    init: 0,
  })
  return {
    spec,
    values,
    inputs: [node.inputs[0]!, node.inputs[4] ?? '', node.inputs[5] ?? '', node.inputs[6] ?? ''],
    outputs: node.outputs,
    others: [],
    constants: [node.inputs[1]!, node.inputs[2]!, ...(b ? [node.inputs[3]!] : [])],
    call: { use: 'recurrent', hidden, directions },
  }
}

export const finders: Readonly<Record<string, Finder>> = {
  ...quantizedFinders,
  MatMul: matMul,
  Gemm: gemm,
  Conv: conv,
  ConvTranspose: convTranspose,
  Gather: (node, ctx) => gather(node, ctx) ?? codedTable(node, ctx),
  BatchNormalization: batch,
  LayerNormalization: layer,
  RMSNormalization: rms,
  InstanceNormalization: grouped,
  GroupNormalization: grouped,
  LSTM: recurrent,
  GRU: recurrent,
}
