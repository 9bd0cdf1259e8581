/** Every pass gives a graph that computes the same. */
import { describe, expect, it } from 'vitest'
import { scope, tensor } from '../../ts/index.js'
import type { Tensor } from '../../ts/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import {
  foldBatchNorm,
  foldConstants,
  graphFromJson,
  graphFromOnnx,
  graphToJson,
  modelFromGraph,
  removeDead,
  removeIdentities,
  runGraph,
  type Graph,
} from '../../ts/graph/index.js'
import { constant, model, node, random, value, type GraphInit } from './build.js'

const draw = random(3)
const w = (name: string, ...dims: number[]): ReturnType<typeof constant> =>
  constant(name, dims, draw(dims.reduce((a, b) => a * b, 1), 0.5)) // prettier-ignore
const branch = (name: string, op: string): GraphInit => ({
  name,
  output: [value('r')],
  node: [node('Identity', ['n2'], ['same']), node('Add', ['k', 'k'], ['k2']), node(op, ['same', 'k2'], ['r'])],
})
const graph = graphFromOnnx(
  parseOnnx(
    model({
      input: [value('x', ['batch', 2, 5, 4])],
      output: [value('y')],
      initializer: [
        w('w1', 3, 2, 3, 3),
        w('w2', 3, 1, 1, 1),
        w('b2', 3),
        ...['g', 'be', 'mu'].map((n) => w(n, 3)),
        constant('va', [3], [0.5, 1, 2]),
        constant('k', [1], [0.25]),
        constant('c', [], [1], 'bool'),
        constant('keep', [1], [0], 'i64'),
        constant('rest', [1], [-1], 'i64'),
      ],
      node: [
        node('Conv', ['x', 'w1'], ['c1'], { pads: [1, 1, 1, 1] }),
        node('BatchNormalization', ['c1', 'g', 'be', 'mu', 'va'], ['n1']),
        node('Identity', ['n1'], ['i1']),
        node('Conv', ['i1', 'w2', 'b2'], ['c2'], { group: 3 }),
        node('BatchNormalization', ['c2', 'g', 'be', 'mu', 'va'], ['n2']),
        node('If', ['c'], ['s'], { then_branch: branch('t', 'Mul'), else_branch: branch('e', 'Add') }),
        node('Sigmoid', ['n1'], ['unused']),
        node('Concat', ['keep', 'rest'], ['shape'], { axis: 0 }),
        node('Reshape', ['s', 'shape'], ['y']),
      ],
    }),
  ),
)
const x = Float32Array.from(draw(80))
const output = (g: Graph): number[] => scope(() => Array.from((runGraph(g, { x: tensor(x, [2, 2, 5, 4]) }).y as Tensor).read(), Number))
const want = output(graph)
const close = (got: readonly number[], digits: number): void => {
  expect(got).toHaveLength(want.length)
  got.forEach((v, i) => expect(v).toBeCloseTo(want[i]!, digits))
}

describe('the outputs stay the same', () => {
  it('constant folding: bit for bit, in subgraphs too', () => {
    const folded = foldConstants(graph)
    expect(output(folded)).toEqual(want)
    expect(folded.nodes.map((n) => n.op)).not.toContain('Concat')
  })
  it('identities: bit for bit', () => {
    const plain = removeIdentities(graph)
    expect(output(plain)).toEqual(want)
    expect(plain.nodes.map((n) => n.op)).not.toContain('Identity')
  })
  it('dead code: bit for bit', () => {
    const live = removeDead(graph)
    expect(output(live)).toEqual(want)
    expect(live.nodes.map((n) => n.op)).not.toContain('Sigmoid')
  })
  it('batch norms into convolutions: up to rounding; one whose convolution has other users stays', () => {
    const folded = removeDead(foldBatchNorm(removeIdentities(removeDead(graph))))
    expect(folded.nodes.filter((n) => n.op === 'BatchNormalization')).toHaveLength(0)
    close(output(folded), 5)
    const twice: Graph = { ...graph, outputs: [...graph.outputs, 'c1'] }
    expect(foldBatchNorm(twice).nodes.filter((n) => n.op === 'BatchNormalization')).toHaveLength(1)
  })
  it('JSON and back: bit for bit', () => {
    expect(output(graphFromJson(JSON.parse(JSON.stringify(graphToJson(graph))) as ReturnType<typeof graphToJson>))).toEqual(want)
  })
  it('layers as modules: up to rounding', () => {
    const net = modelFromGraph(graph, { name: 'net', task: 'regression', history: [] })
    scope(() => close(Array.from(net.predict(tensor(x, [2, 2, 5, 4])).read(), Number), 5))
    net.dispose()
  })
})
