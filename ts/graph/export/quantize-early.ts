/**
 * Moves the rounding of a layer's input up to the product that made it: product -> relu -> Q -> DQ -> pooling, reshaping -> Q -> DQ. Values are the same, because
 * rounding to a grid commutes with taking maxima and with moving elements; runtimes then see products between Q and DQ and run them on integers.
 */
import type { OnnxNode } from '../../formats/onnx/index.js'

const CLAMP = 'Relu'
const MOVES: ReadonlySet<string> = new Set(['MaxPool', 'Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Transpose'])
const PRODUCTS: ReadonlySet<string> = new Set(['Conv', 'Gemm', 'MatMul', 'Add'])

export function quantizeEarly(nodes: readonly OnnxNode[], freshName: (hint: string) => string): OnnxNode[] {
  const maker = new Map(nodes.flatMap((n) => n.outputs.map((name) => [name, n] as const)))
  const uses = new Map<string, number>()
  for (const n of nodes) for (const name of n.inputs) uses.set(name, (uses.get(name) ?? 0) + 1)
  const replaced = new Set<OnnxNode>()
  const before = new Map<OnnxNode, OnnxNode[]>()
  for (const q of nodes) {
    if (q.op !== 'QuantizeLinear') continue
    const chain: OnnxNode[] = []
    let top = q.inputs[0]!
    for (let n = maker.get(top); n && (n.op === CLAMP || MOVES.has(n.op)) && uses.get(top) === 1; n = maker.get(top)) {
      chain.unshift(n)
      top = n.inputs[0]!
    }
    const moves = chain.filter((n) => n.op !== CLAMP)
    if (moves.length === 0 || !PRODUCTS.has(maker.get(top)?.op ?? '') || uses.get(top) !== 1) continue
    const made: OnnxNode[] = []
    let x = top
    const put = (node: OnnxNode, rest: readonly string[], name = node.name): void => {
      const y = freshName(`${name}_y`)
      made.push({ ...node, name, inputs: [x, ...rest], outputs: [y] })
      x = y
    }
    for (const n of chain.filter((c) => c.op === CLAMP)) put(n, n.inputs.slice(1))
    const grid = q.inputs.slice(1)
    put(q, grid, freshName('QuantizeLinear'))
    put({ ...q, op: 'DequantizeLinear' }, grid, freshName('DequantizeLinear'))
    for (const n of moves) put(n, n.inputs.slice(1))
    made.push({ ...q, inputs: [x, ...grid] })
    for (const n of [...chain, q]) replaced.add(n)
    before.set(q, made)
  }
  return nodes.flatMap((n) => before.get(n) ?? (replaced.has(n) ? [] : [n]))
}
