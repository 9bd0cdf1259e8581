/**
 * Layer normalisation (Ba, Kiros, Hinton 2016, eq. 4) and its root mean square form (Zhang, Sennrich 2019, eq. 4), as exporters write them out, become
 * one node:
 *
 * - PyTorch, Paddle: (x - mean) / sqrt(mean((x - mean)^2) + eps), then gamma and beta
 * - TensorFlow: x r + (beta - mean r) with r = gamma / sqrt(variance + eps)
 * - Llama and T5: x / sqrt(mean(x^2) + eps) gamma
 *
 * Over the last axes only, with constant gamma and beta of exactly their sizes. Law: the outputs are the same up to rounding.
 */
import type { Graph, GraphNode } from '../graph.js'
import { fusedNode, keepsDims, otherInput, reducedAxes, rewrite, type Replacement, type View } from './match.js'

/** A mean over the last `axes` dimensions, which stay as 1. */
function meanOf(name: string | undefined, view: View): { node: GraphNode; x: string; axes: number } | undefined {
  const node = view.maker(name, 'ReduceMean')
  const axes = node && keepsDims(node) ? reducedAxes(node, view) : undefined
  if (!node || !axes || axes.length === 0) return undefined
  const x = node.inputs[0]!
  const rank = view.rank(x)
  const from = axes.map((a) => (a < 0 ? a : rank === undefined ? NaN : a - rank)).sort((a, b) => a - b)
  return from.every((a, i) => a === i - from.length) ? { node, x, axes: axes.length } : undefined
}

/** d^2 in either spelling: d and the node. */
function squareOf(name: string | undefined, view: View): { node: GraphNode; x: string } | undefined {
  const node = view.maker(name, 'Mul', 'Pow')
  const square = node && (node.op === 'Mul' ? node.inputs[0] === node.inputs[1] : view.number(node.inputs[1]) === 2)
  return square ? { node, x: node.inputs[0]! } : undefined
}

interface Root {
  /** What is squared. */
  readonly x: string
  readonly eps: number
  readonly axes: number
  readonly nodes: readonly GraphNode[]
}

/** sqrt(mean(x^2) + eps). */
function rootOf(name: string | undefined, view: View): Root | undefined {
  const root = view.maker(name, 'Sqrt')
  const sum = root && view.maker(root.inputs[0], 'Add')
  const constant = sum?.inputs.find((n) => view.number(n) !== undefined)
  const mean = constant === undefined ? undefined : meanOf(otherInput(sum!, constant), view)
  const square = mean && squareOf(mean.x, view)
  const eps = view.number(constant)
  return square && eps! > 0 ? { x: square.x, eps: eps!, axes: mean.axes, nodes: [root!, sum!, mean.node, square.node] } : undefined
}

/** 1 / sqrt(...) as a factor. */
function inverseRoot(name: string | undefined, view: View): Root | undefined {
  const node = view.maker(name, 'Reciprocal', 'Div', 'Pow')
  if (!node) return undefined
  const found = node.op === 'Div' ? (view.number(node.inputs[0]) === 1 ? rootOf(node.inputs[1], view) : undefined) : undefined
  const root = node.op === 'Reciprocal' ? rootOf(node.inputs[0], view) : found
  return root && { ...root, nodes: [node, ...root.nodes] }
}

/** What `centre` - mean(`centre`) is. */
function centred(name: string | undefined, view: View): { x: string; axes: number; nodes: GraphNode[] } | undefined {
  const node = view.maker(name, 'Sub')
  const mean = node && meanOf(node.inputs[1], view)
  return mean && mean.x === node.inputs[0] ? { x: mean.x, axes: mean.axes, nodes: [node, mean.node] } : undefined
}

/** Sizes that gamma and beta must have: the last `axes` of x, all known. */
function widths(x: string, axes: number, view: View): readonly number[] | undefined {
  const dims = view.shape(x)?.slice(-axes)
  return dims?.length === axes && dims.every((d) => typeof d === 'number') ? dims : undefined
}
/** Whether a constant has exactly these sizes (more ones before them allowed, up to the rank of x). */
function fits(name: string | undefined, x: string, axes: number, view: View): boolean {
  const dims = widths(x, axes, view)
  const shape = view.type(name).shape
  if (name === undefined || !view.isConstant(name) || !dims || !shape || shape.length > view.rank(x)! || view.type(name).dtype !== 'f32')
    return false
  return shape.length >= axes && shape.every((d, i) => d === (dims[i - (shape.length - axes)] ?? 1))
}

const attributes = (root: Root): GraphNode['attributes'] => ({
  epsilon: { type: 'float', value: root.eps },
  axes: { type: 'int', value: root.axes },
})

/** The quotient: x normalised, without gamma and beta. */
function quotient(node: GraphNode, view: View): Replacement | undefined {
  if (node.domain !== '' || (node.op !== 'Div' && node.op !== 'Mul')) return undefined
  const [a, b] = node.inputs as [string, string]
  const sides =
    node.op === 'Div' ? [[a, rootOf(b, view)] as const] : [[a, inverseRoot(b, view)] as const, [b, inverseRoot(a, view)] as const]
  for (const [d, root] of sides) {
    if (root?.x !== d) continue
    const centre = centred(d, view)
    if (centre?.axes === root.axes)
      return {
        at: node,
        covers: [node, ...root.nodes, ...centre.nodes],
        nodes: [fusedNode('LayerNormalization', node, [centre.x], attributes(root))],
      }
    if (root.axes === 1)
      return { at: node, covers: [node, ...root.nodes], nodes: [fusedNode('RmsNormalization', node, [d], attributes(root))] }
  }
  return undefined
}

/** TensorFlow's: x r + (beta - mean r), r = gamma / sqrt(variance + eps). */
function tensorflow(node: GraphNode, view: View): Replacement | undefined {
  if (node.domain !== '' || node.op !== 'Add') return undefined
  for (const [left, right] of [node.inputs, [...node.inputs].reverse()] as [string, string][]) {
    const [scaled, rest] = [view.maker(left, 'Mul'), view.maker(right, 'Sub')]
    const moved = rest && view.maker(rest.inputs[1], 'Mul')
    if (!scaled || !rest || !moved) continue
    const factor = scaled.inputs.find((n) => moved.inputs.includes(n) && view.maker(n, 'Mul'))
    const x = factor === undefined ? undefined : otherInput(scaled, factor)
    const mean = factor === undefined ? undefined : meanOf(otherInput(moved, factor), view)
    if (x === undefined || mean?.x !== x) continue
    const r = view.maker(factor, 'Mul')!
    const gamma = r.inputs.find((n) => view.isConstant(n))
    const root = gamma === undefined ? undefined : inverseRoot(otherInput(r, gamma), view)
    const centre = root && centred(root.x, view)
    const beta = rest.inputs[0]
    if (
      !root ||
      centre?.x !== x ||
      centre.axes !== root.axes ||
      mean.axes !== root.axes ||
      !fits(gamma, x, root.axes, view) ||
      !fits(beta, x, root.axes, view)
    )
      continue
    return {
      at: node,
      covers: [node, scaled, rest, moved, r, mean.node, ...root.nodes, ...centre.nodes],
      nodes: [fusedNode('LayerNormalization', node, [x, gamma!, beta!], attributes(root))],
    }
  }
  return undefined
}

/** gamma and beta behind a normalisation that has none yet. */
function scaleBehind(node: GraphNode, view: View): Replacement | undefined {
  if (node.domain !== '' || (node.op !== 'Mul' && node.op !== 'Add')) return undefined
  for (const name of node.inputs) {
    const norm = view.maker(name)
    const other = otherInput(node, name)
    const isLayer = norm?.domain === 'tersor' && norm.op === 'LayerNormalization'
    if (!norm || !(isLayer || (norm.domain === 'tersor' && norm.op === 'RmsNormalization'))) continue
    const [x, gamma, beta] = norm.inputs
    const free = node.op === 'Mul' ? !gamma && !beta : isLayer && !beta
    const axes = norm.attributes.axes?.value as number
    if (!free || !fits(other, x!, axes, view)) continue
    const inputs = node.op === 'Mul' ? [x!, other!] : [x!, gamma ?? '', other!]
    return { at: node, covers: [node, norm], nodes: [fusedNode(norm.op, node, inputs, norm.attributes)] }
  }
  return undefined
}

export function fuseNorms(graph: Graph): Graph {
  const cores = rewrite(graph, (node, view) => tensorflow(node, view) ?? quotient(node, view))
  return rewrite(rewrite(cores, scaleBehind), scaleBehind)
}
