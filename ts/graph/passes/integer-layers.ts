/**
 * Products that take and give codes, as the same products between DequantizeLinear and QuantizeLinear: QLinearMatMul and QLinearConv with constant weights whose codes lie
 * around 0. Layers are found there, with their codes, and run on the same integer kernels. Law: the same codes, but where the exact result lies so close to the middle of two that
 * f32 rounding decides.
 */
import type { Graph, GraphNode, GraphTensor } from '../graph.js'
import { HostTensor } from '../host.js'
import { codeShift, isCodeType } from '../stored.js'
import { f32Constant, rewrite, type Replacement, type View } from './match.js'

/** Weights as codes around 0, one scale for all or for each output. */
function symmetric(w: GraphTensor | undefined, zero: GraphTensor | undefined): boolean {
  if (!w || !zero || !isCodeType(w.dtype) || zero.dtype !== w.dtype) return false
  const shift = codeShift(w.dtype)
  return new HostTensor(zero.dtype, zero.shape, zero).data.every((z) => z === shift)
}

const products: ReadonlySet<string> = new Set(['QLinearConv', 'QLinearMatMul'])

function match(node: GraphNode, view: View): Replacement | undefined {
  const conv = node.op === 'QLinearConv' && node.domain === ''
  const matmul = node.op === 'QLinearMatMul' && (node.domain === '' || node.domain === 'com.microsoft')
  if (!conv && !matmul) return undefined
  const [x, xs, xz, w, ws, wz, ys, yz, bias] = node.inputs as string[]
  const [weight, scale, xScale] = [view.constant(w), view.floats(ws), view.floats(xs)]
  const rank = weight?.shape.length ?? 0
  const usual = conv ? rank === 3 || rank === 4 : rank === 2 && (view.rank(x) ?? 0) >= 2
  if (!weight || !usual || !symmetric(weight, view.constant(wz)) || xScale?.values.length !== 1 || !scale || scale.shape.length > 1)
    return undefined
  const channels = conv ? weight.shape[0]! : weight.shape[1]!
  if (scale.values.length !== 1 && scale.values.length !== channels) return undefined
  const name = node.outputs[0]!
  const attributes = { axis: { type: 'int', value: conv ? 0 : 1 } } as const
  const nodes: GraphNode[] = []
  const put = (op: string, inputs: readonly string[], hint: string, with_: GraphNode['attributes'] = {}): string => {
    const y = view.fresh(`${name}~${hint}`)
    nodes.push({ op, domain: '', name: '', inputs, outputs: [y], attributes: with_ })
    return y
  }
  const real = put('DequantizeLinear', [x!, xs!, xz!], 'x')
  const inputs = [real, put('DequantizeLinear', [w!, ws!, wz!], 'w', attributes)]
  if (bias) {
    const b = view.constant(bias)
    if (b?.dtype !== 'i32' || b.shape.length !== 1 || b.shape[0] !== channels) return undefined
    const codes = new HostTensor(b.dtype, b.shape, b).data
    const values = codes.map((q, i) => q * xScale.values[0]! * scale.values[scale.values.length === 1 ? 0 : i]!)
    inputs.push(view.put(`${name}~bias`, f32Constant([channels], values)))
  }
  const y = put(conv ? 'Conv' : 'MatMul', inputs, 'product', conv ? node.attributes : {})
  nodes[nodes.length - 1] = { ...nodes.at(-1)!, name: node.name }
  nodes.push({ op: 'QuantizeLinear', domain: '', name: '', inputs: [y, ys!, yz!], outputs: [name], attributes: {} })
  return { at: node, covers: [node], nodes }
}

export function integerLayers(graph: Graph): Graph {
  return rewrite(graph, match, products)
}
