/**
 * Chains of Reshape, Flatten, Squeeze and Unsqueeze become one Reshape; one that changes nothing goes. All move no element, so what counts is the last shape. Law: the
 * outputs are the same bit for bit.
 */
import { intAttribute } from '../define.js'
import type { Dim, Graph, GraphNode } from '../graph.js'
import { i64Constant, rewrite, type Replacement, type View } from './match.js'

const moves: ReadonlySet<string> = new Set(['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze'])
const isMove = (node: GraphNode | undefined): node is GraphNode => node !== undefined && node.domain === '' && moves.has(node.op)

/** Equal, and each name once: a file may call two sizes alike that are not. */
function same(a: readonly Dim[], b: readonly Dim[]): boolean {
  const names = a.filter((d) => typeof d === 'string')
  return a.length === b.length && a.every((d, i) => d !== null && d === b[i]) && new Set(names).size === names.length
}

/** A shape as Reshape wants it: at most one size open. Sizes of 0 would mean something else. */
function target(shape: readonly Dim[] | undefined): readonly number[] | undefined {
  if (!shape) return undefined
  const list = shape.map((d) => (typeof d === 'number' ? d : -1))
  return list.filter((d) => d === -1).length <= 1 && !list.includes(0) ? list : undefined
}

function match(node: GraphNode, view: View): Replacement | undefined {
  if (!isMove(node)) return undefined
  const [x, y] = [node.inputs[0]!, node.outputs[0]!]
  const [from, to] = [view.shape(x), view.shape(y)]
  // Two open sizes with one name are equal only if the name was inferred, not declared by the file: sizes of x are where y's come from.
  if (from && to && same(from, to)) return { at: node, covers: [node], nodes: [{ ...node, op: 'Identity', inputs: [x], attributes: {} }] }
  const before = view.maker(x)
  if (!isMove(before)) return undefined
  const covers = view.only(x) ? [node, before] : [node]
  const source = before.inputs[0]!
  const dims = view.integers(node.inputs[1])
  // 0 keeps a size of the value before, which another value does not have.
  if (node.op === 'Reshape' && dims && !dims.includes(0))
    return { at: node, covers, nodes: [{ ...node, inputs: [source, node.inputs[1]!] }] }
  if (node.op === 'Reshape' && !dims && intAttribute(node, 'allowzero', 0) === 1)
    return { at: node, covers, nodes: [{ ...node, inputs: [source, node.inputs[1]!] }] }
  const shape = target(to)
  if (!shape) return undefined
  const name = view.put(`${y}~shape`, i64Constant(shape))
  return { at: node, covers, nodes: [{ ...node, op: 'Reshape', inputs: [source, name], attributes: {} }] }
}

export function mergeReshapes(graph: Graph): Graph {
  let g = graph
  for (let next = rewrite(g, match); next !== g; next = rewrite(g, match)) g = next
  return g
}
