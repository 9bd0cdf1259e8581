/**
 * Activations that exporters write out in arithmetic become one node again.
 *
 * - GELU (Hendrycks, Gimpel 2016): x/2 (1 + erf(x / sqrt 2)); its tanh form x/2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))); x sigmoid(1.702 x)
 * - SiLU x sigmoid(x) (Elfwing et al. 2017); hard swish x clip(x + 3, 0, 6) / 6 (Howard et al. 2019)
 *
 * Products are compared as sets of factors, so the order in which an exporter multiplies does not matter. Law: the outputs are the same up to rounding.
 */
import { floatAttribute } from '../define.js'
import type { Graph, GraphNode } from '../graph.js'
import { fusedNode, near, otherInput, rewrite, type Replacement, type View } from './match.js'

/** A product taken apart: its constant, the values in it (one that is squared twice), and the nodes that multiply. */
interface Product {
  constant: number
  readonly values: string[]
  readonly nodes: GraphNode[]
}

function productOf(name: string, view: View, into: Product = { constant: 1, values: [], nodes: [] }, inner = false): Product {
  const number = view.number(name)
  if (number !== undefined) {
    into.constant *= number
    return into
  }
  // A part that others use is a value of its own.
  const node = inner && !view.only(name) ? undefined : view.maker(name, 'Mul', 'Div', 'Pow')
  const power = node?.op === 'Pow' ? view.number(node.inputs[1]) : undefined
  const divisor = node?.op === 'Div' ? view.number(node.inputs[1]) : undefined
  if (node?.op === 'Mul') {
    into.nodes.push(node)
    for (const input of node.inputs) productOf(input, view, into, true)
  } else if (node && divisor !== undefined) {
    into.nodes.push(node)
    into.constant /= divisor
    productOf(node.inputs[0]!, view, into, true)
  } else if (node && (power === 2 || power === 3)) {
    into.nodes.push(node)
    for (let i = 0; i < power; i++) into.values.push(node.inputs[0]!)
  } else into.values.push(name)
  return into
}

/** A sum of a value and a number. */
function plusNumber(name: string, view: View, number: number): { node: GraphNode; value: string } | undefined {
  const node = view.maker(name, 'Add')
  const constant = node?.inputs.find((n) => view.number(n) !== undefined)
  if (!node || constant === undefined || !near(view.number(constant), number)) return undefined
  return { node, value: otherInput(node, constant)! }
}

interface Found {
  readonly x: string
  readonly function: string
  readonly nodes: readonly GraphNode[]
}

const twice = (values: readonly string[], x: string, times: number): boolean => values.length === times && values.every((v) => v === x)

/** 1 + erf(x / sqrt 2), 1 + tanh(...). */
function gelu(x: string, other: string, view: View): Found | undefined {
  const one = plusNumber(other, view, 1)
  const f = one && view.maker(one.value, 'Erf', 'Tanh')
  if (!f) return undefined
  const inner = productOf(f.inputs[0]!, view)
  const nodes = [one.node, f, ...inner.nodes]
  if (f.op === 'Erf') return near(inner.constant, Math.SQRT1_2) && twice(inner.values, x, 1) ? { x, function: 'gelu', nodes } : undefined
  if (!near(inner.constant, Math.sqrt(2 / Math.PI))) return undefined
  const cubic = cube(x, inner.values, view)
  return cubic && { x, function: 'geluTanh', nodes: [...nodes, ...cubic] }
}

/** x + 0.044715 x^3 as one value, or as x times (1 + 0.044715 x^2): the nodes in it. */
function cube(x: string, values: readonly string[], view: View): GraphNode[] | undefined {
  const of = (name: string, times: number): GraphNode[] | undefined => {
    const p = productOf(name, view)
    return near(p.constant, 0.044715) && twice(p.values, x, times) ? p.nodes : undefined
  }
  if (values.length === 1) {
    const sum = view.maker(values[0], 'Add')
    const rest = sum && otherInput(sum, x)
    const found = rest === undefined ? undefined : of(rest, 3)
    return found && [sum!, ...found]
  }
  const rest = values.length === 2 ? values.find((v) => v !== x) : undefined
  const sum = rest === undefined || !values.includes(x) ? undefined : plusNumber(rest, view, 1)
  const found = sum && of(sum.value, 2)
  return found && [sum.node, ...found]
}

function sigmoid(x: string, other: string, view: View): Found | undefined {
  const f = view.maker(other, 'Sigmoid')
  if (!f) return undefined
  if (f.inputs[0] === x) return { x, function: 'silu', nodes: [f] }
  const inner = productOf(f.inputs[0]!, view)
  return near(inner.constant, 1.702) && twice(inner.values, x, 1) ? { x, function: 'quickGelu', nodes: [f, ...inner.nodes] } : undefined
}

/** Limits of a Clip: inputs, before opset 11 attributes. */
export function clipLimits(node: GraphNode, view: View): readonly [number, number] | undefined {
  if (node.op === 'Relu') return [0, Infinity]
  const at = (i: number, name: string, other: number): number | undefined =>
    view.opset() < 11 ? floatAttribute(node, name, other) : node.inputs[i] ? view.number(node.inputs[i]) : other
  const [lo, hi] = [at(1, 'min', -Infinity), at(2, 'max', Infinity)]
  return lo === undefined || hi === undefined ? undefined : [lo, hi]
}

/** `scale` is what stands before the product: 1 with HardSigmoid, 1/6 with clip(x + 3, 0, 6). */
function hardSwish(x: string, other: string, scale: number, view: View): Found | undefined {
  const f = view.maker(other, 'HardSigmoid', 'Clip')
  if (f?.op === 'HardSigmoid') {
    const fits =
      near(scale, 1) && f.inputs[0] === x && near(floatAttribute(f, 'alpha', 0.2), 1 / 6) && near(floatAttribute(f, 'beta', 0.5), 0.5)
    return fits ? { x, function: 'hardSwish', nodes: [f] } : undefined
  }
  const limits = f && clipLimits(f, view)
  const sum = f && plusNumber(f.inputs[0]!, view, 3)
  const fits = limits?.[0] === 0 && limits[1] === 6 && sum?.value === x && near(scale, 1 / 6)
  return fits ? { x, function: 'hardSwish', nodes: [f!, sum.node] } : undefined
}

function match(node: GraphNode, view: View): Replacement | undefined {
  if (node.domain !== '' || (node.op !== 'Mul' && node.op !== 'Div')) return undefined
  const product = productOf(node.outputs[0]!, view)
  if (product.values.length !== 2) return undefined
  const [a, b] = product.values as [string, string]
  const half = near(product.constant, 0.5)
  const plain = near(product.constant, 1)
  for (const [x, other] of [
    [a, b],
    [b, a],
  ] as const) {
    const found = (half && gelu(x, other, view)) || (plain && sigmoid(x, other, view)) || hardSwish(x, other, product.constant, view)
    if (!found) continue
    // A number with dimensions of its own ([1, 1] times a vector) gives the result more of them.
    if (view.rank(found.x) !== view.rank(node.outputs[0])) return undefined
    return {
      at: node,
      covers: [...product.nodes, ...found.nodes],
      nodes: [fusedNode('Activation', node, [found.x], { function: { type: 'string', value: found.function } })],
    }
  }
  return undefined
}

export function fuseFunctions(graph: Graph): Graph {
  return rewrite(graph, match)
}
