/**
 * A product, its bias and the function behind it become one node: conv + bias + relu, linear + bias + gelu. Functions of single elements only, so the order of what is
 * computed stays; the native plan then writes results once. Law: the outputs are the same up to rounding (of a fused bias).
 */
import { floatAttribute, intAttribute } from '../define.js'
import type { Graph, GraphNode } from '../graph.js'
import { activationAttribute } from './fused.js'
import { clipLimits } from './functions.js'
import { fusedNode, otherInput, rewrite, type Replacement, type View } from './match.js'
import { isElementwise } from './transposes.js'

/** Whether a constant is a bias of `n` numbers along the last axis, or along the second of `rank`. */
function isBias(name: string | undefined, n: number, channel: number, view: View): boolean {
  const shape = name !== undefined && view.isConstant(name) ? view.shape(name) : undefined
  const size = shape?.reduce<number>((a, b) => a * (b as number), 1)
  return shape !== undefined && size === n && shape[shape.length - channel] === n && view.type(name).dtype === 'f32'
}

/** The function that alone takes the value, as an attribute of the product; Clip with its limits in attributes. */
function functionBehind(y: string, view: View): { node: GraphNode; attribute: GraphNode['attributes'] } | undefined {
  const node = view.only(y)
  if (node && isElementwise(node)) return { node, attribute: { activation: activationAttribute(node) } }
  const limits = node?.domain === '' && node.op === 'Clip' && node.inputs[0] === y ? clipLimits(node, view) : undefined
  if (!node || !limits?.every((v) => Number.isFinite(v))) return undefined
  const attributes = { min: { type: 'float', value: limits[0] }, max: { type: 'float', value: limits[1] } } as const
  return { node, attribute: { activation: activationAttribute({ ...node, attributes }) } }
}

function match(node: GraphNode, view: View): Replacement | undefined {
  if (node.domain !== '' || (node.op !== 'MatMul' && node.op !== 'Gemm' && node.op !== 'Conv')) return undefined
  const [x, w, given = ''] = node.inputs as [string, string, string?]
  const [type, rank] = [view.type(w), view.rank(x)]
  if (!view.isConstant(w) || type.dtype !== 'f32' || rank === undefined || rank < 2) return undefined
  const linear = node.op !== 'Conv'
  const turned = node.op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0
  if (linear && type.shape?.length !== 2) return undefined
  if (
    node.op === 'Gemm' &&
    (intAttribute(node, 'transA', 0) !== 0 || floatAttribute(node, 'alpha', 1) !== 1 || floatAttribute(node, 'beta', 1) !== 1)
  )
    return undefined
  const n = type.shape![linear && !turned ? 1 : 0] as number
  if (given !== '' && !isBias(given, n, 1, view)) return undefined
  // A constant of a convolution is [n] or [n, 1, 1]: it is made flat by the node that takes it only if it is flat.
  const add = given === '' && linear ? view.only(node.outputs[0], 'Add') : undefined
  const bias =
    add && isBias(otherInput(add, node.outputs[0]!), n, 1, view) && view.rank(otherInput(add, node.outputs[0]!))! <= rank
      ? otherInput(add, node.outputs[0]!)!
      : given
  const last = add && bias !== '' ? add : node
  const f = functionBehind(last.outputs[0]!, view)
  if (!f && last === node) return undefined
  const at = f?.node ?? last
  const attributes: GraphNode['attributes'] = {
    ...(linear ? { transB: { type: 'int', value: turned ? 1 : 0 } } : node.attributes),
    ...f?.attribute,
  }
  const fused = { ...fusedNode(linear ? 'Linear' : 'Conv', node, [x, w, bias], attributes), outputs: at.outputs }
  return { at, covers: [node, ...(last === node ? [] : [last]), ...(f ? [f.node] : [])], nodes: [fused] }
}

export function fuseProducts(graph: Graph): Graph {
  return rewrite(graph, match)
}
