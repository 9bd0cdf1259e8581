/** Numbers of values (ts/graph/numbering.ts): what passes make of a graph with them is what they make of one without. */
import { describe, expect, it } from 'vitest'
import { checkGraph, inferTypes, removeDead, type Graph, type GraphNode } from '../../ts/graph/index.js'
import { numberingOf, numberValues, ValueTable } from '../../ts/graph/numbering.js'
import { graphFromOnnx } from '../../ts/graph/import-onnx.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { constant, model, node as onnxNode, random, value } from './build.js'

const n = (op: string, inputs: readonly string[], outputs: readonly string[]): GraphNode => ({
  op,
  domain: '',
  name: '',
  inputs,
  outputs,
  attributes: {},
})
const zeros = { dtype: 'f32', shape: [4], read: () => new Uint8Array(16) } as const

/** A graph in order: each node takes values that are there, some are never taken, some inputs are left out, some nodes have two results. */
function drawn(seed: number, dead: boolean): Graph {
  const draw = random(seed)
  const pick = (below: number): number => Math.min(below - 1, Math.floor(((draw(1)[0]! + 1) / 2) * below))
  const names = ['x', 'z', 'c0', 'c1', 'c2']
  const nodes: GraphNode[] = []
  for (let i = 0; i < 60; i++) {
    const at = (): string => (dead ? names[pick(names.length)]! : names.at(-1)!)
    const made = i % 7 === 3 ? [`v${i}`, `w${i}`] : i % 7 === 5 ? ['', `w${i}`] : [`v${i}`]
    nodes.push(i % 5 === 4 ? n('Clip', [at(), '', at()], made) : n(i % 2 ? 'Add' : 'Mul', [at(), names[i % 5]!], made))
    names.push(...made.filter(Boolean))
  }
  return {
    name: 'drawn',
    inputs: [
      { name: 'x', dtype: 'f32', shape: ['n', 4] },
      { name: 'z', dtype: 'f32' },
    ],
    outputs: dead ? [nodes[40]!.outputs.at(-1)!, 'x'] : [names.at(-1)!],
    nodes,
    constants: new Map(['c0', 'c1', 'c2'].map((name) => [name, zeros])),
    opsets: { '': 17 },
    values: new Map([['v8', { name: 'v8', dtype: 'f32', shape: [null, 4] }]]),
  }
}

describe('numbers', () => {
  it('name what each node takes and makes', () => {
    const graph = drawn(1, true)
    const { ids, takes, from, makes } = numberValues(graph, () => expect.unreachable())!
    const names = [...ids.keys()]
    expect(names.slice(0, 5)).toEqual(['x', 'z', 'c0', 'c1', 'c2'])
    graph.nodes.forEach((node, i) => {
      expect([...takes.subarray(from[i], from[i + 1])].map((id) => (id < 0 ? '' : names[id]))).toEqual(node.inputs)
      expect(names.slice(makes[i], makes[i + 1])).toEqual(node.outputs.filter(Boolean))
    })
  })
  it('are those of checked graphs without subgraphs, in order or brought into it', () => {
    const graph = drawn(2, true)
    expect(numberingOf(checkGraph('test', graph))).toBeDefined()
    const turned = checkGraph('test', { ...graph, nodes: [...graph.nodes].reverse() })
    expect([...numberingOf(turned)!.ids.keys()].sort()).toEqual([...numberingOf(graph)!.ids.keys()].sort())
    const bytes = model({
      input: [value('x', [2]), value('c', [], 'bool')],
      output: [value('y', [2])],
      node: [onnxNode('If', ['c'], ['y'], { then_branch: branch('Neg'), else_branch: branch('Abs') })],
    })
    expect(numberingOf(graphFromOnnx(parseOnnx(bytes)))).toBeUndefined()
  })
  it('change nothing: types and dead nodes', () => {
    for (let seed = 1; seed < 30; seed++)
      for (const dead of [true, false]) {
        const [plain, numbered] = [drawn(seed, dead), checkGraph('test', drawn(seed, dead))]
        const types = inferTypes(numbered)
        expect(types).toBeInstanceOf(ValueTable)
        const expected = inferTypes(plain)
        expect(expected).toBeInstanceOf(Map)
        expect([...types]).toEqual([...expected])
        expect([...types.keys()]).toEqual([...expected.keys()])
        expect([...types.values()]).toEqual([...expected.values()])
        expect([types.size, types.has('v0'), types.has('nobody'), types.get('nobody')]).toEqual([expected.size, true, false, undefined])
        const [less, more] = [removeDead(plain), removeDead(numbered)]
        expect([more.nodes, [...more.constants.keys()]]).toEqual([less.nodes, [...less.constants.keys()]])
        expect(more === numbered).toBe(less === plain)
      }
    expect(removeDead(checkGraph('test', drawn(1, true))).nodes.length).toBeLessThan(60)
  })
  it('are not given where a name comes twice, a value is missing, an output is made by nobody', () => {
    const graph = drawn(3, false)
    const broken =
      (change: Partial<Graph>): (() => unknown) =>
      () =>
        checkGraph('test', { ...graph, ...change })
    expect(broken({ nodes: [...graph.nodes, n('Neg', ['x'], ['v0'])] })).toThrow(/Neg "v0" "v0": a value of this name exists already/)
    expect(broken({ inputs: [...graph.inputs, { name: 'x' }] })).toThrow(/input "x": a value of this name exists already/)
    expect(broken({ constants: new Map([['z', zeros]]) })).toThrow(/constant "z": a value of this name exists already/)
    expect(broken({ nodes: [...graph.nodes, n('Neg', ['nobody'], ['last'])] })).toThrow(/its input "nobody" does not exist/)
    expect(broken({ outputs: ['nobody'] })).toThrow(/the output "nobody" is made by no node/)
  })
})

function branch(op: string): object {
  return { name: op, node: [onnxNode(op, ['x'], [`${op}y`])], output: [value(`${op}y`, [2])], initializer: [constant(`${op}c`, [1], [0])] }
}
