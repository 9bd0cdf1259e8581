/**
 * Which batch norm takes the output of which layer, as it is and alone: the pairs that can be folded into one. By the data flow: nodes of imported graphs, the order of
 * children in containers that run them one after the other, and a trace for modules that call their children as they like. Where none of them says it there is no pair.
 */
import { join, moduleKind, type Model, type Module } from '../nn/index.js'
import { stringAttribute } from './define.js'
import { freeNames, subgraphs, type Graph, type GraphNode } from './graph.js'
import { graphOf } from './module.js'
import { TraceFacts } from './scalable.js'
import { isValue, type Trace, type TracedCall, type TracedValue } from './trace.js'

/** Paths of batch norms by the path of the layer before. */
type Pairs = Map<string, string>

/** Layers whose weight has one row per channel of the output. */
const rowsOf = (layer: Module | undefined): number | undefined =>
  layer && moduleKind(layer.kind).columns ? layer.weights.weight?.shape[0] : undefined
const fits = (layer: Module | undefined, norm: Module | undefined): boolean =>
  norm?.kind === 'batchNorm' && norm.state.variance?.size === rowsOf(layer)

/** What the structure says: graphs and sequential containers. Nothing is run. */
export function pairsInStructure(root: Module): Pairs {
  const found: Pairs = new Map()
  const walk = (module: Module, path: string): void => {
    const names = Object.keys(module.children)
    for (const name of names) walk(module.children[name]!, join(path, name))
    const graph = graphOf(module)
    const pairs = graph
      ? pairsInGraph(graph)
      : module.kind === 'sequential'
        ? names.slice(1).map((next, i) => [names[i]!, next] as const)
        : []
    for (const [layer, norm] of pairs)
      if (fits(module.children[layer], module.children[norm])) found.set(join(path, layer), join(path, norm))
  }
  walk(root, '')
  return found
}

/** Children that stand for one node each, the second of which is the only one to take what the first gives. */
function pairsInGraph(graph: Graph): (readonly [string, string])[] {
  const users = new Map<string, GraphNode[]>()
  const nodesOf = new Map<string, number>()
  const use = (name: string, ...nodes: readonly GraphNode[]): unknown => users.set(name, [...(users.get(name) ?? []), ...nodes])
  const childOf = (node: GraphNode | undefined): string | undefined =>
    node?.domain === 'tersor' && node.op === 'Module' ? stringAttribute(node, 'child') : undefined
  const count = (g: Graph): void => {
    for (const node of g.nodes) {
      const child = childOf(node)
      if (child !== undefined) nodesOf.set(child, (nodesOf.get(child) ?? 0) + 1)
      subgraphs(node).forEach(count)
    }
  }
  count(graph)
  for (const node of graph.nodes) {
    for (const name of node.inputs) use(name, node)
    // Used inside, or given out: others than a norm take it too.
    for (const inner of subgraphs(node)) for (const name of freeNames(inner)) use(name, node, node)
  }
  const outputs = new Set(graph.outputs)
  return graph.nodes.flatMap((node) => {
    const y = node.outputs[0] ?? ''
    const [next, ...others] = users.get(y) ?? []
    const [layer, norm] = [childOf(node), childOf(next)]
    const alone = others.length === 0 && !outputs.has(y) && next?.inputs[0] === y
    if (!alone || layer === undefined || norm === undefined || nodesOf.get(layer) !== 1 || nodesOf.get(norm) !== 1) return []
    const { activation } = JSON.parse(stringAttribute(node, 'call', '{}')) as { readonly activation?: string }
    return activation === undefined ? [[layer, norm] as const] : []
  })
}

const products: ReadonlySet<string> = new Set(['linear', 'conv2d', 'conv2d_grouped'])

/** What one run of the model did. */
export function pairsInTrace(model: Model, trace: Trace): Pairs {
  const facts = new TraceFacts(model, trace)
  const modules = new Map<string, Module>()
  const walk = (module: Module, path: string): void => {
    modules.set(path, module)
    for (const [name, child] of Object.entries(module.children)) walk(child, join(path, name))
  }
  walk(model.root, '')
  const users = new Map<TracedValue, TracedCall>()
  for (const call of trace.calls) for (const arg of call.args) if (isValue(arg)) users.set(arg, call)
  const found: Pairs = new Map()
  for (const { op, args, results } of trace.calls) {
    // Channels of a linear layer are the last axis, those of a norm the second.
    const weight = products.has(op) && (op !== 'linear' || results[0]?.shape.length === 2) ? facts.weightOf(args[1]) : undefined
    const layer = weight?.slice(0, Math.max(0, weight.lastIndexOf('.')))
    const norm = layer === undefined ? undefined : normOn(results[0]!, users, facts)
    if (norm !== undefined && fits(modules.get(layer!), modules.get(norm))) found.set(layer!, norm)
  }
  return found
}

/** The batch norm that takes a value: in inference it multiplies with one factor per channel first. */
function normOn(y: TracedValue, users: ReadonlyMap<TracedValue, TracedCall>, facts: TraceFacts): string | undefined {
  const channels = y.shape[1]
  let v = y
  while (facts.usesOf(v) === 1 && !facts.outputs.has(v)) {
    const { op, args, results } = users.get(v)!
    const [next] = results
    // A convolution over one dimension is one over two, whose result loses the dimension of 1 again.
    if (op === 'reshape' && next?.shape[0] === v.shape[0] && next?.shape[1] === channels) v = next!
    else {
      const other = op === 'mul' ? args.find((a) => a !== v) : undefined
      return isValue(other) ? facts.normOf(other) : undefined
    }
  }
  return undefined
}
