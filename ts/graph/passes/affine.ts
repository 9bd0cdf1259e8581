/**
 * Numbers per channel around products with constant weights become part of them:
 *
 * - behind: (w x + b) s + t = (w s) x + (b s + t), for Mul, Div, Add, Sub and, in `foldBatchNorm`, s = gamma / sqrt(variance + eps), t = beta - mean s
 * - before: w (x s + t) + b = (w s) x + (b + w t); t only where no zeros are padded around x
 *
 * Products: Conv, ConvTranspose (one group), Gemm, MatMul by a matrix from the right. Law: the outputs are the same up to rounding. For running only: statistics
 * are no longer there to be trained.
 */
import { floatAttribute, hasAttribute, intAttribute, intsAttribute, stringAttribute } from '../define.js'
import type { Graph, GraphNode } from '../graph.js'
import { f32Constant, otherInput, rewrite, type Replacement, type View } from './match.js'

/** y = x scale + shift for each channel. */
interface Affine {
  readonly scale: readonly number[]
  readonly shift: readonly number[]
}

/** A product with constant weights, its values laid out [out][..]. */
interface Product {
  readonly node: GraphNode
  readonly shape: readonly number[]
  /** Read only where something is folded. */
  readonly weight: () => Float32Array
  readonly bias: readonly number[] | undefined
  readonly outputs: number
  readonly inputs: number
  /** Channel of the result, and of x, that element i of the weight belongs to; undefined: channels of groups. */
  readonly out: (i: number) => number
  readonly in: ((i: number) => number) | undefined
  /** Where the channels of result and x stand, counted from the end. */
  readonly axis: number
  /** Whether zeros around x take part. */
  readonly padded: boolean
}

function productOf(node: GraphNode, view: View): Product | undefined {
  if (node.domain !== '' || !['Conv', 'ConvTranspose', 'Gemm', 'MatMul'].includes(node.op)) return undefined
  const w = view.constant(node.inputs[1])
  const rank = w?.shape.length ?? 0
  if (w?.dtype !== 'f32' || w.shape.includes(0)) return undefined
  const bias = node.inputs[2] ? view.floats(node.inputs[2]) : undefined
  if (node.inputs[2] && (bias?.shape.length !== 1 || node.op === 'MatMul')) return undefined
  const { shape } = w
  const weight = (): Float32Array => {
    const bytes = w.read()
    return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength))
  }
  const per = shape.slice(2).reduce((a, b) => a * b, 1)
  const common = { node, shape, weight, bias: bias?.values }
  if (node.op === 'Conv' && rank >= 3) {
    const row = shape[1]! * per
    const plain = intAttribute(node, 'group', 1) === 1
    const pads = intsAttribute(node, 'pads', [])
    const padded = pads.some((p) => p !== 0) || stringAttribute(node, 'auto_pad', 'NOTSET').startsWith('SAME')
    const channel = plain ? (i: number): number => Math.floor(i / per) % shape[1]! : undefined
    const sizes = { outputs: shape[0]!, inputs: shape[1]!, axis: rank - 1, padded }
    return { ...common, ...sizes, out: (i) => Math.floor(i / row), in: channel }
  }
  if (node.op === 'ConvTranspose' && rank >= 3 && intAttribute(node, 'group', 1) === 1) {
    const [input, output] = shape as [number, number]
    const sizes = { outputs: output, inputs: input, axis: rank - 1, padded: true }
    return { ...common, ...sizes, out: (i) => Math.floor(i / per) % output, in: (i) => Math.floor(i / (per * output)) }
  }
  const plainGemm =
    node.op === 'Gemm' &&
    intAttribute(node, 'transA', 0) === 0 &&
    floatAttribute(node, 'alpha', 1) === 1 &&
    floatAttribute(node, 'beta', 1) === 1
  if (rank !== 2 || (node.op !== 'MatMul' && !plainGemm) || (view.rank(node.inputs[0]) ?? 0) < 2) return undefined
  const turned = node.op === 'Gemm' && intAttribute(node, 'transB', 0) !== 0
  const [rows, cols] = shape as [number, number]
  const [outputs, inputs] = turned ? [rows, cols] : [cols, rows]
  // Gemm also adds one number to all channels.
  if (bias && bias.values.length !== outputs) return undefined
  const [row, col] = [(i: number): number => Math.floor(i / cols), (i: number): number => i % cols]
  return { ...common, outputs, inputs, axis: 1, padded: false, out: turned ? row : col, in: turned ? col : row }
}

/** Numbers of a constant per channel, `n` of them, at `axis` from the end; one number stands for all. */
function channels(name: string | undefined, n: number, axis: number, rank: number | undefined, view: View): readonly number[] | undefined {
  const t = view.floats(name)
  if (!t || rank === undefined || t.shape.length > rank) return undefined
  if (t.values.length === 1) return Array<number>(n).fill(t.values[0]!)
  return t.values.length === n && t.shape[t.shape.length - axis] === n ? t.values : undefined
}

/** What Mul, Div, Add and Sub do with `x`. */
function arithmetic(node: GraphNode | undefined, x: string, n: number, axis: number, view: View): Affine | undefined {
  if (node?.domain !== '') return undefined
  const c = channels(otherInput(node, x), n, axis, view.rank(x), view)
  if (!c) return undefined
  const [ones, zeros] = [c.map(() => 1), c.map(() => 0)]
  const first = node.inputs[0] === x
  if (node.op === 'Mul') return { scale: c, shift: zeros }
  if (node.op === 'Div') return first && c.every((v) => v !== 0) ? { scale: c.map((v) => 1 / v), shift: zeros } : undefined
  if (node.op === 'Add') return { scale: ones, shift: c }
  if (node.op !== 'Sub') return undefined
  return first ? { scale: ones, shift: c.map((v) => -v) } : { scale: ones.map((v) => -v), shift: c }
}

function batchNorm(node: GraphNode | undefined, x: string, n: number, axis: number, view: View): Affine | undefined {
  if (node?.domain !== '' || node.op !== 'BatchNormalization' || node.inputs[0] !== x || view.rank(x) !== axis + 1) return undefined
  if (intAttribute(node, 'training_mode', 0) !== 0 || node.outputs.slice(1).some(Boolean)) return undefined
  const [gamma, beta, mean, variance] = node.inputs.slice(1).map((name) => {
    const t = view.floats(name)
    return t?.shape.length === 1 && t.values.length === n ? t.values : undefined
  })
  if (!gamma || !beta || !mean || !variance) return undefined
  const eps = floatAttribute(node, 'epsilon', 1e-5)
  const scale = gamma.map((g, i) => g / Math.sqrt(variance[i]! + eps))
  return { scale, shift: beta.map((b, i) => b - mean[i]! * scale[i]!) }
}

type Step = (node: GraphNode | undefined, x: string, n: number, axis: number, view: View) => Affine | undefined

/** The product with other weights, giving `outputs`. A product of matrices without a place for a bias gets an Add. */
function remade(
  p: Product,
  weight: Float32Array,
  bias: readonly number[] | undefined,
  x: string,
  outputs: readonly string[],
  view: View,
): GraphNode[] {
  const name = outputs[0]!
  const w = view.put(`${name}~weight`, f32Constant(p.shape, weight))
  const b = bias && view.put(`${name}~bias`, f32Constant([p.outputs], bias))
  if (p.node.op !== 'MatMul' || b === undefined) return [{ ...p.node, inputs: [x, w, ...(b === undefined ? [] : [b])], outputs }]
  const y = view.fresh(`${name}~product`)
  return [
    { ...p.node, inputs: [x, w], outputs: [y] },
    { op: 'Add', domain: '', name: '', inputs: [y, b], outputs, attributes: {} },
  ]
}

const behind =
  (step: Step) =>
  (node: GraphNode, view: View): Replacement | undefined => {
    const p = productOf(node, view)
    if (!p) return undefined
    let total: Affine = { scale: Array<number>(p.outputs).fill(1), shift: Array<number>(p.outputs).fill(0) }
    const covers = [node]
    let scaled = false
    for (let last = node; ; last = covers.at(-1)!) {
      const next = view.only(last.outputs[0])
      const found = step(next, last.outputs[0]!, p.outputs, p.axis, view)
      if (!next || !found) break
      total = {
        scale: total.scale.map((s, i) => s * found.scale[i]!),
        shift: total.shift.map((t, i) => t * found.scale[i]! + found.shift[i]!),
      }
      scaled ||= next.op !== 'Add'
      covers.push(next)
    }
    // One Add is a bias already, and MatMul has no other place for it.
    if (covers.length === 1 || (covers.length === 2 && !scaled && node.op === 'MatMul')) return undefined
    const at = covers.at(-1)!
    const weight = p.weight().map((w, i) => w * total.scale[p.out(i)]!)
    const moved = total.shift.map((t, i) => (p.bias?.[i] ?? 0) * total.scale[i]! + t)
    const bias = p.bias || moved.some((v) => v !== 0) ? moved : undefined
    return { at, covers, nodes: remade(p, weight, bias, node.inputs[0]!, at.outputs, view) }
  }

function before(node: GraphNode, view: View): Replacement | undefined {
  const p = productOf(node, view)
  const x = node.inputs[0]!
  const maker = view.only(x) ? view.maker(x) : undefined
  if (!p?.in || maker?.domain !== '' || hasAttribute(node, 'output_shape')) return undefined
  const source = maker.inputs.find((name) => !view.isConstant(name))
  // Other shapes would be broadcast to those of x first.
  if (source === undefined || view.rank(source) !== view.rank(x)) return undefined
  const width = view.shape(source)?.at(-p.axis)
  const found = width === p.inputs ? arithmetic(maker, source, p.inputs, p.axis, view) : undefined
  if (!found) return undefined
  const shifts = found.shift.some((t) => t !== 0)
  if (shifts && p.padded) return undefined
  const weight = p.weight().map((w, i) => w * found.scale[p.in!(i)]!)
  const bias = shifts || p.bias ? Array.from({ length: p.outputs }, (_, i) => p.bias?.[i] ?? 0) : undefined
  if (shifts) p.weight().forEach((w, i) => (bias![p.out(i)]! += w * found.shift[p.in!(i)]!))
  return { at: node, covers: [node, maker], nodes: remade(p, weight, bias, source, node.outputs, view) }
}

/** Batch norms behind products with constant weights. */
export function foldBatchNorm(graph: Graph): Graph {
  return rewrite(graph, behind(batchNorm))
}

/** Mul, Div, Add and Sub by constants around products with constant weights. */
export function foldAffine(graph: Graph): Graph {
  return rewrite(rewrite(graph, behind(arithmetic)), before)
}
