/**
 * Transposes that cancel out, that can wait, or that a product does by itself:
 *
 * - Transpose(Transpose(x)) is one Transpose, or none
 * - f(Transpose(x)) is Transpose(f(x)) for functions of single elements, and the same for sums and products of two values that are transposed alike, or of one and a
 *   number: so pairs meet and cancel
 * - a Transpose of the last two dimensions before MatMul, or of a matrix before Gemm, is part of the product
 *
 * Law: the outputs are the same bit for bit, products excepted (up to rounding).
 */
import { intAttribute, intsAttribute } from '../define.js'
import type { Graph, GraphNode } from '../graph.js'
import { rewrite, type Replacement, type View } from './match.js'

/** Functions of single elements with one input. */
export const elementwise: ReadonlySet<string> = new Set([
  ...[
    'Abs',
    'Ceil',
    'Cos',
    'Elu',
    'Erf',
    'Exp',
    'Floor',
    'Gelu',
    'HardSigmoid',
    'HardSwish',
    'LeakyRelu',
    'Log',
    'Mish',
    'Neg',
    'Reciprocal',
  ],
  ...['Relu', 'Round', 'Selu', 'Sigmoid', 'Sign', 'Sin', 'Softplus', 'Softsign', 'Sqrt', 'Tan', 'Tanh', 'ThresholdedRelu'],
])
const binary: ReadonlySet<string> = new Set(['Add', 'Sub', 'Mul', 'Div', 'Pow', 'Max', 'Min'])

export const isElementwise = (node: GraphNode): boolean =>
  (node.domain === '' && elementwise.has(node.op)) || (node.domain === 'tersor' && node.op === 'Activation')

const reversed = (rank: number): number[] => Array.from({ length: rank }, (_, i) => rank - 1 - i)
const permOf = (node: GraphNode, view: View): readonly number[] | undefined => {
  if (node.attributes.perm) return intsAttribute(node, 'perm')
  const rank = view.rank(node.inputs[0])
  return rank === undefined ? undefined : reversed(rank)
}
const isIdentity = (perm: readonly number[]): boolean => perm.every((p, i) => p === i)

/** Goes by another name where nothing names it: consumers take `x` instead of the outputs of `node`. */
const identity = (node: GraphNode, x: string): GraphNode => ({ ...node, op: 'Identity', domain: '', inputs: [x], attributes: {} })
const transpose = (x: string, y: string, perm: readonly number[], name = ''): GraphNode => ({
  op: 'Transpose',
  domain: '',
  name,
  inputs: [x],
  outputs: [y],
  attributes: { perm: { type: 'ints', value: perm } },
})

function merge(node: GraphNode, view: View): Replacement | undefined {
  const outer = node.domain === '' && node.op === 'Transpose' ? permOf(node, view) : undefined
  if (!outer) return undefined
  if (isIdentity(outer)) return { at: node, covers: [node], nodes: [identity(node, node.inputs[0]!)] }
  const before = view.maker(node.inputs[0], 'Transpose')
  const inner = before && permOf(before, view)
  if (inner?.length !== outer.length) return undefined
  // Where others use the inner one it stays, and this one starts from its input.
  const perm = outer.map((p) => inner[p]!)
  const covers = view.only(node.inputs[0]) ? [node, before!] : [node]
  const x = before!.inputs[0]!
  return { at: node, covers, nodes: [isIdentity(perm) ? identity(node, x) : transpose(x, node.outputs[0]!, perm, node.name)] }
}

/** Numbers and constants without dimensions of their own. */
const isScalar = (name: string, view: View): boolean => view.isConstant(name) && (view.shape(name)?.every((d) => d === 1) ?? false)

function later(node: GraphNode, view: View): Replacement | undefined {
  const turned = (name: string): GraphNode | undefined => (view.only(name) ? view.maker(name, 'Transpose') : undefined)
  const single =
    isElementwise(node) || (node.domain === '' && node.op === 'Clip' && node.inputs.slice(1).every((n) => n === '' || view.isConstant(n)))
  if (!single && !(node.domain === '' && binary.has(node.op) && node.inputs.length === 2)) return undefined
  const data = single ? node.inputs.slice(0, 1) : node.inputs.filter((name) => !isScalar(name, view))
  if (data.length === 0 || new Set(data).size !== data.length) return undefined
  const makers = data.map(turned)
  const perms = makers.map((m) => m && permOf(m, view))
  if (!perms.every((p) => p !== undefined && p.join() === perms[0]!.join())) return undefined
  // Ranks must be equal, or dimensions of one would meet others of the other.
  const rank = perms[0]!.length
  if (node.inputs.some((n) => n !== '' && isScalar(n, view) && view.rank(n)! > rank)) return undefined
  const moved = view.fresh(`${node.outputs[0]!}~before`)
  const inputs = node.inputs.map((name) => (data.includes(name) ? makers[data.indexOf(name)]!.inputs[0]! : name))
  return {
    at: node,
    covers: [node, ...makers.map((m) => m!)],
    nodes: [{ ...node, inputs, outputs: [moved] }, transpose(moved, node.outputs[0]!, perms[0]!)],
  }
}

function intoProduct(node: GraphNode, view: View): Replacement | undefined {
  const known =
    (node.domain === '' && (node.op === 'MatMul' || node.op === 'Gemm')) || (node.domain === 'com.microsoft' && node.op === 'FusedMatMul')
  if (!known) return undefined
  const [a, b] = node.inputs as [string, string]
  // Products with constant weights are layers, which take rows.
  if (view.isConstant(a) || view.isConstant(b)) return undefined
  const flips = [a, b].map((name) => {
    const t = view.maker(name, 'Transpose')
    const perm = t && permOf(t, view)
    const last = perm && perm.length >= 2 && perm.every((p, i) => p === (i < perm.length - 2 ? i : 2 * perm.length - 3 - i))
    return last && (node.op !== 'Gemm' || perm.length === 2) ? t : undefined
  })
  if (!flips[0] && !flips[1]) return undefined
  const covers = [node, ...flips.filter((t, i) => t !== undefined && view.only([a, b][i])).map((t) => t!)]
  const turn = (i: 0 | 1): number => ((intAttribute(node, i === 0 ? 'transA' : 'transB', 0) !== 0) !== (flips[i] !== undefined) ? 1 : 0)
  const inputs = [flips[0]?.inputs[0] ?? a, flips[1]?.inputs[0] ?? b, ...node.inputs.slice(2)]
  const attributes = { ...node.attributes, transA: { type: 'int', value: turn(0) }, transB: { type: 'int', value: turn(1) } } as const
  // What is no matrix twice cannot be transposed twice in one product of vectors.
  if (node.op !== 'Gemm' && ![a, b].every((name) => (view.rank(name) ?? 0) >= 2)) return undefined
  const op = node.op === 'Gemm' ? { op: 'Gemm', domain: '' } : { op: 'FusedMatMul', domain: 'com.microsoft' }
  return { at: node, covers, nodes: [{ ...node, ...op, inputs, attributes }] }
}

/** Rounds until nothing moves: each moves a Transpose one step. */
const MOST_ROUNDS = 64

export function mergeTransposes(graph: Graph): Graph {
  let g = graph
  for (let i = 0; i < MOST_ROUNDS; i++) {
    const next = rewrite(rewrite(g, later), merge)
    if (next === g) return g
    g = next
  }
  return g
}

export function transposeProducts(graph: Graph): Graph {
  return rewrite(graph, intoProduct)
}
