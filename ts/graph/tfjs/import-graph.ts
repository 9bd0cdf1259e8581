/** Graph models of tfjs: nodes of TensorFlow as nodes of ONNX, in an order in which every value is made before it is used. */
import type { RawTensor } from '../../base/dtype.js'
import { LimitError, UnsupportedError } from '../../base/errors.js'
import { formatError, type FormatContext } from '../../formats/limits.js'
import type { TfFunction, TfGraph, TfNode, TfRef } from '../../formats/tfjs-graph.js'
import type { ElementType, Graph } from '../graph.js'
import { asConstant, Builder, Val } from './builder.js'
import { computeRows } from './ops-compute.js'
import { elementwiseRows } from './ops-elementwise.js'
import { moveRows } from './ops-move.js'
import type { Row } from './rows.js'

const rows = new Map<string, Row>(Object.entries({ ...elementwiseRows, ...moveRows, ...computeRows }))
/** Handled here. */
const special: ReadonlySet<string> = new Set(['Const', 'Placeholder', 'NoOp', 'If', 'StatelessIf'])
const branches = ['then_branch', 'else_branch'] as const
/** Functions inside functions. */
const MAX_DEPTH = 16
/** Names of results inside functions where a node has several. */
const ports = new Map<string, readonly string[]>([
  ['TopKV2', ['values', 'indices']],
  ['NonMaxSuppressionV4', ['selected_indices', 'valid_outputs']],
  ['NonMaxSuppressionV5', ['selected_indices', 'selected_scores', 'valid_outputs']],
])

/** Operators of TensorFlow that graph models may have. */
export const tfOperators = (): string[] => [...rows.keys(), ...special].sort()

type Nodes = ReadonlyMap<string, TfNode>

/** The nodes that `outputs` need, in order; a cycle or a reference to nothing is ERR_MODEL_FORMAT. */
function ordered(ctx: FormatContext, nodes: Nodes, outputs: readonly TfRef[], given: ReadonlySet<string>): TfNode[] {
  const out: TfNode[] = []
  const state = new Map<string, 'open' | 'done'>()
  const find = (ref: TfRef, by: string): TfNode =>
    nodes.get(ref.node) ?? (() => { throw formatError(ctx, 'missing', `${by}: its input ${JSON.stringify(ref.node.slice(0, 200))} does not exist`) })() // prettier-ignore
  for (const root of outputs) {
    if (given.has(root.node)) continue
    const stack: { node: TfNode; next: number }[] = [{ node: find(root, 'the outputs'), next: 0 }]
    while (stack.length > 0) {
      const top = stack.at(-1)!
      const { node } = top
      if (top.next === 0) {
        if (state.get(node.name) === 'done') {
          stack.pop()
          continue
        }
        state.set(node.name, 'open')
      }
      const ref = node.inputs[top.next++]
      if (ref === undefined) {
        state.set(node.name, 'done')
        out.push(node)
        stack.pop()
      } else if (!given.has(ref.node)) {
        const next = find(ref, node.label)
        const seen = state.get(next.name)
        if (seen === 'open') node.fail('cycle', 'the nodes form a cycle')
        if (seen === undefined) stack.push({ node: next, next: 0 })
      }
    }
  }
  return out
}

/** Outputs where the file has no signature: what no other node takes. */
function ends(graph: TfGraph): TfRef[] {
  const used = new Set([...graph.nodes.values()].flatMap((n) => n.inputs.map((i) => i.node)))
  return [...graph.nodes.values()]
    .filter((n) => !used.has(n.name) && !['Const', 'Placeholder', 'NoOp', 'Assert', 'Print'].includes(n.op))
    .map((n) => ({ node: n.name, index: 0 }))
}

class Importer {
  readonly #b: Builder
  constructor(
    readonly ctx: FormatContext,
    readonly graph: TfGraph,
    readonly tensors: ReadonlyMap<string, RawTensor>,
  ) {
    this.#b = new Builder(ctx.where, graph.nodes.size)
  }

  whole(name: string): Graph {
    const outputs = this.graph.outputs ?? ends(this.graph)
    if (outputs.length === 0) throw formatError(this.ctx, 'outputs', 'the graph has no outputs')
    const list = ordered(this.ctx, this.graph.nodes, outputs, new Set())
    this.#refuse(list)
    const declared = new Map((this.graph.inputs ?? []).map((i) => [i.name, i]))
    const values = new Map<string, readonly (Val | undefined)[]>()
    // Inputs in the order of the file, also those that nothing uses.
    const used = new Set(list)
    for (const node of this.graph.nodes.values()) {
      if (node.op !== 'Placeholder' || !(used.has(node) || declared.has(node.name))) continue
      values.set(node.name, [this.#input(node, declared.get(node.name)?.shape)])
    }
    this.#run(list, values, 0)
    const named = new Map<string, Val>()
    for (const ref of outputs) named.set(ref.index === 0 ? ref.node : `${ref.node}:${ref.index}`, this.#value(values, ref, 'the outputs'))
    return this.#b.graph(name, [...named])
  }

  #input(node: TfNode, shape: readonly (number | null)[] | undefined): Val {
    const dtype = node.dtype('dtype', 'f32') as ElementType
    if (!['f32', 'f64', 'i32', 'i64', 'bool', 'u8'].includes(dtype)) node.unsupported(`inputs of type ${dtype}`)
    const own = shape ?? node.shape('shape')
    const given: ElementType = dtype === 'i64' ? 'i32' : dtype === 'f64' ? 'f32' : dtype // tfjs has no wider types
    this.#b.input({ name: node.name, dtype: given, ...(own ? { shape: own } : {}) })
    this.#b.at = `${node.name}/integers`
    return new Val(given === 'i32' ? this.#b.op('Cast', [node.name], { to: 7 }) : node.name)
  }

  /** Operators without a row, all at once. */
  #refuse(list: readonly TfNode[]): void {
    const found = new Map<string, string[]>()
    const seen = new Set<string>()
    const visit = (nodes: Iterable<TfNode>): void => {
      for (const node of nodes) {
        if (!rows.has(node.op) && !special.has(node.op)) found.set(node.op, [...(found.get(node.op) ?? []), node.name])
        if (node.op === 'If' || node.op === 'StatelessIf')
          for (const branch of branches) {
            const f = this.#function(node, branch)
            if (!seen.has(f.name)) {
              seen.add(f.name)
              visit(f.nodes.values())
            }
          }
      }
    }
    visit(list)
    if (found.size === 0) return
    const text = [...found].map(([op, names]) => {
      const some = names.slice(0, 3).map((n) => JSON.stringify(n.slice(0, 100)))
      return `${op} (${names.length} node${names.length === 1 ? '' : 's'}: ${some.join(', ')}${names.length > 3 ? ', ...' : ''})`
    })
    throw new UnsupportedError('ERR_UNSUPPORTED', `${this.ctx.where}: operators that are not supported: ${text.join('; ')}`, {
      details: { what: 'operators', operators: Object.fromEntries(found) },
    })
  }

  #function(node: TfNode, attribute: string): TfFunction {
    const name = node.func(attribute)
    return this.graph.functions.get(name) ?? node.fail('missing', `the function ${JSON.stringify(name.slice(0, 200))} does not exist`)
  }

  #value(values: ReadonlyMap<string, readonly (Val | undefined)[]>, ref: TfRef, by: string): Val {
    const made = values.get(ref.node)!
    const named = ref.port === undefined ? -1 : (ports.get(this.#ops.get(ref.node) ?? '')?.indexOf(ref.port) ?? -1)
    const found = made[named >= 0 ? named : ref.index]
    if (!found)
      throw formatError(
        this.ctx,
        'missing',
        `${by}: ${JSON.stringify(ref.node.slice(0, 200))} gives no result ${named >= 0 ? named : ref.index}`,
      )
    return found
  }
  readonly #ops = new Map<string, string>()

  #run(list: readonly TfNode[], values: Map<string, readonly (Val | undefined)[]>, depth: number): void {
    for (const node of list) {
      if (values.has(node.name)) continue
      this.#ops.set(node.name, node.op)
      const x = node.inputs.map((ref) => this.#value(values, ref, node.label))
      this.#b.at = node.name
      values.set(node.name, this.#node(node, x, depth))
    }
  }

  #node(node: TfNode, x: readonly Val[], depth: number): readonly (Val | undefined)[] {
    if (node.op === 'Const') {
      const raw = this.tensors.get(node.name)
      if (!raw) return node.fail('missing', 'its values are not among the weights')
      return [new Val(undefined, undefined, { name: node.name, tensor: asConstant(raw) })]
    }
    if (node.op === 'NoOp') return []
    if (node.op === 'Placeholder') return node.unsupported('an input inside a function')
    if (node.op === 'If' || node.op === 'StatelessIf') return this.#branch(node, x, depth)
    const least = leastInputs.get(node.op) ?? 1
    if (x.length < least) node.fail('inputs', `takes at least ${least} inputs, got ${x.length}`)
    const y = rows.get(node.op)!(this.#b, x, node)
    return y instanceof Val ? [y] : y
  }

  /** Both branches become graphs that take their values from around them. */
  #branch(node: TfNode, x: readonly Val[], depth: number): Val[] {
    if (depth >= MAX_DEPTH)
      throw new LimitError('ERR_LIMIT', `${this.ctx.where}: functions nest deeper than ${MAX_DEPTH}`, {
        details: { limit: 'depth', value: depth + 1, max: MAX_DEPTH },
      })
    const b = this.#b
    for (const v of x) b.plain(v) // outside of the branches
    const graphs = branches.map((attribute) => {
      const f = this.#function(node, attribute)
      if (f.inputs.length !== x.length - 1)
        node.fail('inputs', `gives ${x.length - 1} arguments, ${JSON.stringify(f.name)} takes ${f.inputs.length}`)
      const values = new Map<string, readonly Val[]>(f.inputs.map((name, i) => [name, [new Val(b.plain(x[i + 1]!))]]))
      const list = ordered(this.ctx, f.nodes, f.outputs, new Set(f.inputs))
      return b.inside(() => {
        this.#run(list, values, depth + 1)
        b.at = `${node.name}/${attribute}`
        return f.outputs.map((ref) => b.op('Identity', [b.plain(this.#value(values, ref, node.label))]))
      })
    })
    if (graphs[0]!.outputs.length !== graphs[1]!.outputs.length) node.fail('outputs', 'its branches give different numbers of results')
    b.at = node.name
    let condition = b.plain(x[0]!)
    if (b.types.get(condition)?.dtype !== 'bool') condition = b.op('Cast', [condition], { to: 9 })
    const attributes = { then_branch: { type: 'graph', value: graphs[0]! }, else_branch: { type: 'graph', value: graphs[1]! } } as const
    return b.ops('If', [condition], attributes, graphs[0]!.outputs.length).map((name) => new Val(name))
  }
}

/** Inputs without which a row cannot work. */
const leastInputs = new Map<string, number>([
  ...Object.entries({ ...elementwiseRows, ...moveRows, ...computeRows }).map(([op]): [string, number] => [op, 1]),
  ...(['Add', 'AddV2', 'Sub', 'Mul', 'RealDiv', 'Div', 'FloorDiv', 'FloorMod', 'Mod', 'DivNoNan', 'Pow', 'Maximum', 'Minimum', 'Equal', 'NotEqual', 'Greater',
    'GreaterEqual', 'Less', 'LessEqual', 'LogicalAnd', 'LogicalOr', 'LogicalXor', 'SquaredDifference', 'BiasAdd', 'Prelu', 'Reshape', 'ExpandDims',
    'Transpose', 'Pad', 'MirrorPad', 'Split', 'Concat', 'ConcatV2', 'Tile', 'Gather', 'GatherNd', 'Fill', 'BroadcastTo', 'ReverseV2', 'MatMul',
    '_FusedMatMul', 'FusedMatMul', 'BatchMatMul', 'BatchMatMulV2', 'BatchMatMulV3', 'Conv2D', '_FusedConv2D', 'FusedConv2D', 'DepthwiseConv2d',
    'DepthwiseConv2dNative', 'FusedDepthwiseConv2dNative', 'Mean', 'Sum', 'Max', 'Min', 'Prod', 'EuclideanNorm', 'All', 'Any', 'ArgMax', 'ArgMin',
    'Cumsum', 'ResizeBilinear', 'ResizeNearestNeighbor', 'TopKV2'] as const).map((op): [string, number] => [op, 2]),
  ...(['ClipByValue', 'Select', 'SelectV2', 'PadV2', 'Slice', 'SplitV', 'GatherV2', 'ScatterNd', 'TensorScatterUpdate', 'Range', 'SpaceToBatchND',
    'BatchToSpaceND', 'Conv2DBackpropInput', 'NonMaxSuppressionV2'] as const).map((op): [string, number] => [op, 3]),
  ...(['StridedSlice', 'SparseToDense', 'OneHot', 'NonMaxSuppressionV3'] as const).map((op): [string, number] => [op, 4]),
  ...(['FusedBatchNorm', 'FusedBatchNormV2', 'FusedBatchNormV3', 'NonMaxSuppressionV4'] as const).map((op): [string, number] => [op, 5]),
  ['NonMaxSuppressionV5', 6],
]) // prettier-ignore

/** The graph of a graph model and its weights. Errors: ERR_MODEL_FORMAT, ERR_UNSUPPORTED, ERR_SHAPE, ERR_LIMIT. */
export function graphOfTfGraph(ctx: FormatContext, graph: TfGraph, tensors: ReadonlyMap<string, RawTensor>, name: string): Graph {
  return new Importer(ctx, graph, tensors).whole(name)
}
