/**
 * softmax(q k^T scale + mask) v, as exporters write it out, becomes one node (Vaswani et al. 2017, eq. 1; computed without a T x S matrix, Dao et al. 2022).
 *
 * - scale: Mul or Div by a number on the scores, on q, on k, or on both before the product
 * - k: Transpose of the last two dimensions, or straight to [B, heads, D, S]
 * - mask: any value added to the scores, and Where(condition, scores, number below -1e4) before it, as GPT-2 has its causal mask: the condition becomes such a value
 * - where q, k and v are split from [B, length, heads D] by Reshape and Transpose, and the result goes back the same way, the node takes and gives
 *   [B, length, heads D], and all these are gone
 *
 * Law: the outputs are the same up to rounding, for every query that sees a key (one whose keys are all hidden by a mask below -1e29 gives zeros, where Softmax
 * gives their mean).
 */
import { hasAttribute, intAttribute, intsAttribute } from '../define.js'
import type { Dim, Graph, GraphNode } from '../graph.js'
import { f32Constant, fusedNode, otherInput, rewrite, type Replacement, type View } from './match.js'

/** A value without the numbers that it is multiplied with. */
interface Scaled {
  readonly name: string
  readonly scale: number
  readonly nodes: readonly GraphNode[]
}

function withoutScale(name: string, view: View): Scaled {
  const node = view.only(name) ? view.maker(name, 'Mul', 'Div') : undefined
  const constant = node?.op === 'Mul' ? node.inputs.find((n) => view.number(n) !== undefined) : node?.inputs[1]
  const number = view.number(constant)
  if (!node || number === undefined || constant === undefined || !(number > 0)) return { name, scale: 1, nodes: [] }
  const inner = withoutScale(otherInput(node, constant)!, view)
  return { name: inner.name, scale: inner.scale * (node.op === 'Mul' ? number : 1 / number), nodes: [node, ...inner.nodes] }
}

const permutation = (node: GraphNode, rank: number): readonly number[] =>
  intsAttribute(
    node,
    'perm',
    Array.from({ length: rank }, (_, i) => rank - 1 - i),
  )
const isPermutation = (node: GraphNode | undefined, perm: readonly number[]): node is GraphNode =>
  node !== undefined && permutation(node, perm.length).join() === perm.join()

/** An operand with its heads apart. */
interface Operand {
  /** [B, heads, length, D]; undefined when only a Transpose of `split` would give it. */
  readonly heads: string | undefined
  /** [B, length, heads, D], if a Transpose gives the heads. */
  readonly split: string | undefined
  /** [B, length, heads D], if a Reshape splits it. */
  readonly whole: { readonly name: string; readonly heads: number; readonly nodes: readonly GraphNode[] } | undefined
  readonly scale: number
  readonly nodes: readonly GraphNode[]
}

const same = (a: Dim | undefined, b: Dim | undefined): boolean => a !== undefined && a !== null && a === b

/** [B, length, heads D] -> [B, length, heads, D] by a Reshape that nothing else uses. */
function splitOf(name: string, view: View): Operand['whole'] {
  const node = view.only(name) ? view.maker(name, 'Reshape') : undefined
  const [from, to] = [view.shape(node?.inputs[0]), view.shape(name)]
  if (!node || from?.length !== 3 || to?.length !== 4) return undefined
  const [heads, depth] = [to[2], to[3]]
  if (typeof heads !== 'number' || typeof depth !== 'number' || from[2] !== heads * depth) return undefined
  // Two of three sizes equal and the same number of elements: the third is equal too.
  const wanted = view.type(node.inputs[1]).value ?? []
  const kept = [0, 1].some((i) => same(from[i], to[i]) || (wanted[i] === 0 && intAttribute(node, 'allowzero', 0) === 0))
  return kept ? { name: node.inputs[0]!, heads, nodes: [node] } : undefined
}

/** An operand behind the Transpose `perm` of [B, length, heads, D]. */
function operand(name: string, perm: readonly number[], view: View): Operand {
  const outer = withoutScale(name, view)
  const transpose = view.only(outer.name) ? view.maker(outer.name, 'Transpose') : undefined
  if (!isPermutation(transpose, perm))
    return { heads: outer.name, split: undefined, whole: undefined, scale: outer.scale, nodes: outer.nodes }
  const inner = withoutScale(transpose.inputs[0]!, view)
  const nodes = [...outer.nodes, transpose, ...inner.nodes]
  const scale = outer.scale * inner.scale
  const whole = splitOf(inner.name, view)
  // A number may also stand before the split.
  const lead = whole && withoutScale(whole.name, view)
  return {
    heads: undefined,
    split: inner.name,
    whole: lead && { name: lead.name, heads: whole.heads, nodes: [...whole.nodes, ...lead.nodes] },
    scale: scale * (lead?.scale ?? 1),
    nodes,
  }
}

const HEADS = [0, 2, 1, 3]

/** k as the product wants it, [B, heads, D, S]. */
function keys(name: string, view: View): Operand | undefined {
  const straight = operand(name, [0, 2, 3, 1], view)
  if (straight.split !== undefined) return straight
  const outer = withoutScale(name, view)
  const flip = view.only(outer.name) ? view.maker(outer.name, 'Transpose') : undefined
  if (!isPermutation(flip, [0, 1, 3, 2])) return undefined
  const inner = operand(flip.inputs[0]!, HEADS, view)
  return { ...inner, scale: inner.scale * outer.scale, nodes: [...outer.nodes, flip, ...inner.nodes] }
}

/** Whether a mask takes the shape of the scores, and not they its. Two sizes that are not known are equal when the graph runs, or neither is 1. */
function broadcasts(mask: readonly Dim[], scores: readonly Dim[] | undefined): boolean {
  const at = (i: number): Dim | undefined => scores?.[scores.length - mask.length + i]
  return mask.every((d, i) => d === 1 || same(d, at(i)) || (at(i) !== 1 && at(i) !== undefined))
}

/** Scores of the product, and what is done to them before the softmax. */
interface Scores {
  readonly product: GraphNode
  readonly scale: number
  readonly nodes: readonly GraphNode[]
  /** Added to the scores; '' where nothing is. */
  readonly mask: string
  /** Scores become this number where the condition does not hold. */
  readonly hidden?: { readonly condition: string; readonly value: string } | undefined
}

/** The scores behind numbers only. */
function plainScores(name: string, view: View): Scores | undefined {
  const { name: from, scale, nodes } = withoutScale(name, view)
  const product = view.only(from) ? view.maker(from, 'MatMul') : undefined
  return product && { product, scale, nodes, mask: '' }
}

/** Scores that a condition hides. */
function hiddenScores(name: string, view: View): Scores | undefined {
  const node = view.only(name) ? view.maker(name, 'Where') : undefined
  const [condition, scores, value] = node?.inputs ?? []
  const inner = scores === undefined ? undefined : plainScores(scores, view)
  const number = view.number(value)
  if (!node || !inner || number === undefined || number > -1e4 || !masks(condition!, inner.product.outputs[0]!, view)) return undefined
  return { ...inner, nodes: [node, ...inner.nodes], hidden: { condition: condition!, value: value! } }
}

const masks = (mask: string, scores: string, view: View): boolean => {
  const rank = view.rank(mask)
  return rank !== undefined && rank <= 4 && broadcasts(view.shape(mask)!, view.shape(scores))
}

/** The scores without masks and numbers. */
function scoresOf(name: string, view: View): Scores | undefined {
  const direct = plainScores(name, view) ?? hiddenScores(name, view)
  const sum = !direct && view.only(name) ? view.maker(name, 'Add') : undefined
  if (!sum) return direct
  for (const [scores, mask] of [sum.inputs, [...sum.inputs].reverse()] as [string, string][]) {
    const inner = plainScores(scores, view) ?? hiddenScores(scores, view)
    if (inner && view.type(mask).dtype === 'f32' && masks(mask, inner.product.outputs[0]!, view))
      return { ...inner, mask, nodes: [sum, ...inner.nodes] }
  }
  return undefined
}

/** The mask of all that hides scores, with the nodes that make it. */
function maskOf({ mask, hidden, product }: Scores, view: View): { readonly name: string; readonly nodes: readonly GraphNode[] } {
  if (!hidden) return { name: mask, nodes: [] }
  const hint = product.outputs[0]!
  const plain = (op: string, inputs: readonly string[]): GraphNode => ({
    op,
    domain: '',
    name: '',
    inputs,
    outputs: [view.fresh(`${hint}~mask`)],
    attributes: {},
  })
  const chosen = plain('Where', [hidden.condition, view.put(`${hint}~zero`, f32Constant([], [0])), hidden.value])
  const nodes = mask === '' ? [chosen] : [chosen, plain('Add', [chosen.outputs[0]!, mask])]
  return { name: nodes.at(-1)!.outputs[0]!, nodes }
}

function softmaxAxis(node: GraphNode, view: View): number | undefined {
  const axis = hasAttribute(node, 'axis') ? intAttribute(node, 'axis') : view.opset() >= 13 ? -1 : 1
  const rank = view.rank(node.outputs[0])
  return rank === undefined ? undefined : axis < 0 ? axis : axis - rank
}

/** The result's way back to [B, T, heads D]. */
function wayBack(y: string, width: number | undefined, view: View): readonly GraphNode[] | undefined {
  const turn = view.only(y, 'Transpose')
  const join = isPermutation(turn, HEADS) ? view.only(turn.outputs[0], 'Reshape') : undefined
  const [from, to] = [view.shape(turn?.outputs[0]), view.shape(join?.outputs[0])]
  if (!turn || !join || from?.length !== 4 || to?.length !== 3 || width === undefined || to[2] !== width) return undefined
  const wanted = view.type(join.inputs[1]).value ?? []
  return [0, 1].some((i) => same(from[i], to[i]) || (wanted[i] === 0 && intAttribute(join, 'allowzero', 0) === 0))
    ? [turn, join]
    : undefined
}

function match(node: GraphNode, view: View): Replacement | undefined {
  if (node.domain !== '' || node.op !== 'Softmax' || softmaxAxis(node, view) !== -1 || view.rank(node.outputs[0]) !== 4) return undefined
  const scores = scoresOf(node.inputs[0]!, view)
  const product = view.only(node.outputs[0], 'MatMul')
  if (!scores || !product || product.inputs[0] !== node.outputs[0] || view.type(scores.product.outputs[0]).dtype !== 'f32') return undefined
  if (view.rank(scores.product.inputs[0]) !== 4 || view.rank(product.inputs[1]) !== 4) return undefined
  const q = operand(scores.product.inputs[0]!, HEADS, view)
  const k = keys(scores.product.inputs[1]!, view)
  const v = operand(product.inputs[1]!, HEADS, view)
  // Sizes of batch and heads must be equal: the product would broadcast them.
  const lead = [scores.product.inputs[0], scores.product.inputs[1], product.inputs[1]].map((name) => view.shape(name)!.slice(0, 2))
  if (!k || v.scale !== 1 || lead.some((dims) => dims.some((d, i) => !same(d, lead[0]![i])))) return undefined
  const scale = scores.scale * q.scale * k.scale
  const inside = [node, product, scores.product, ...scores.nodes, ...q.nodes, ...k.nodes, ...v.nodes]
  const make = (at: GraphNode, inputs: readonly string[], more: GraphNode['attributes'] = {}): GraphNode[] => {
    const mask = maskOf(scores, view)
    return [...mask.nodes, fusedNode('Attention', at, [...inputs, mask.name], { scale: { type: 'float', value: scale }, ...more })]
  }
  const parts = [q, k, v]
  const heads = q.whole?.heads
  if (heads !== undefined && parts.every((p) => p.whole?.heads === heads)) {
    const width = view.shape(v.whole!.name)?.[2]
    const back = wayBack(product.outputs[0]!, typeof width === 'number' ? width : undefined, view)
    if (back) {
      const covers = [...inside, ...parts.flatMap((p) => p.whole!.nodes), ...back]
      const names = parts.map((p) => p.whole!.name)
      return { at: back[1]!, covers, nodes: make(back[1]!, names, { heads: { type: 'int', value: heads } }) }
    }
  }
  const turns: GraphNode[] = []
  const apart = (p: Operand): string => {
    if (p.heads !== undefined) return p.heads
    const name = view.fresh(`${p.split!}~heads`)
    const attributes = { perm: { type: 'ints', value: HEADS } } as const
    turns.push({ op: 'Transpose', domain: '', name: '', inputs: [p.split!], outputs: [name], attributes })
    return name
  }
  // A number before the split that is not part of the node here stays where it is.
  if (parts.some((p) => p.whole && p.whole.nodes.length > 1)) return undefined
  const names = parts.map(apart)
  return { at: product, covers: inside, nodes: [...turns, ...make(product, names)] }
}

export function fuseAttention(graph: Graph): Graph {
  return rewrite(graph, match)
}
