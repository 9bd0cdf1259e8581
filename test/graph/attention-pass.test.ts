/** The law of fused attention: the outputs stay; patterns are found in each spelling; what only looks like one is left alone. */
import { describe, expect, it } from 'vitest'
import type { Graph } from '../../ts/graph/index.js'
import { constant, node } from './build.js'
import { attention, graphOf, ints, law, number, ops } from './pass-lib.js'

const X = { x: ['B', 'T', 8] as const }

describe('attention', () => {
  const fused = (g: Graph): string[] => ops(law(g, 'fuse-attention')).filter((op) => op !== 'MatMul' && op !== 'Add')
  it.each([['scores'], ['q'], ['both']] as const)('with heads from projections and back, scale on %s', (scale) => {
    const plain = graphOf({ inputs: X, ...attention('x', 'y', 8, 2, { scale }) })
    expect(fused(plain)).toEqual(['tersor.Attention'])
    const masked = graphOf({ inputs: { ...X, m: ['B', 1, 1, 'T'] }, ...attention('x', 'y', 8, 2, { scale, mask: 'm' }) })
    expect(fused(masked)).toEqual(['tersor.Attention'])
  })
  it('with the causal mask of GPT-2: a table sliced to the length, and a mask added behind it', () => {
    const size = 8
    const causal = Array.from({ length: size * size }, (_, i) => (i % size <= Math.floor(i / size) ? 1 : 0))
    const constants = [
      constant('table', [1, 1, size, size], causal, 'bool'),
      number('root', 2),
      number('hidden', -3.4028234663852886e38),
      ints('from', 0),
      ints('two', 2),
      ints('three', 3),
    ]
    const build = (added: boolean, value = 'hidden'): Graph =>
      graphOf({
        inputs: { q: ['B', 2, 'T', 4], k: ['B', 2, 'T', 4], v: ['B', 2, 'T', 4], m: ['B', 1, 1, 'T'] },
        constants: [...constants, number('small', -3)],
        nodes: [
          node('Transpose', ['k'], ['kt'], { perm: [0, 1, 3, 2] }),
          node('MatMul', ['q', 'kt'], ['s']),
          node('Div', ['s', 'root'], ['d']),
          node('Shape', ['q'], ['shape']),
          node('Gather', ['shape', 'two'], ['length']),
          node('Slice', ['table', 'from', 'length', 'two'], ['rows']),
          node('Slice', ['rows', 'from', 'length', 'three'], ['sees']),
          node('Where', ['sees', 'd', value], ['c']),
          ...(added ? [node('Add', ['c', 'm'], ['e'])] : []),
          node('Softmax', [added ? 'e' : 'c'], ['p'], { axis: -1 }),
          node('MatMul', ['p', 'v'], ['y']),
        ],
      })
    for (const added of [false, true]) {
      const found = ops(law(build(added), 'fuse-attention'))
      expect(found).toContain('tersor.Attention')
      expect(found).not.toContain('Softmax')
    }
    expect(ops(law(build(false, 'small'), 'fuse-attention'))).toContain('Softmax')
  })
  it('of heads that are apart already', () => {
    const nodes = [
      node('Transpose', ['k'], ['kt'], { perm: [0, 1, 3, 2] }),
      node('MatMul', ['q', 'kt'], ['s']),
      node('Mul', ['s', 'c'], ['d']),
      node('Softmax', ['d'], ['p'], { axis: 3 }),
      node('MatMul', ['p', 'v'], ['y']),
    ]
    const inputs = { q: ['B', 2, 'T', 4], k: ['B', 2, 'S', 4], v: ['B', 2, 'S', 3] }
    const constants = [number('c', 0.3)]
    expect(fused(graphOf({ inputs, nodes, constants }))).toEqual(['tersor.Attention'])
    for (const outputs of [
      ['y', 'p'],
      ['y', 's'],
    ])
      expect(fused(graphOf({ inputs, nodes, constants, outputs }))).toContain('Softmax')
    const other = nodes.map((n) => (n.opType === 'Softmax' ? node('Softmax', ['d'], ['p'], { axis: 2 }) : n))
    expect(fused(graphOf({ inputs, nodes: other, constants }))).toContain('Softmax')
    const shared = { ...inputs, k: ['B', 1, 'S', 4] }
    expect(fused(graphOf({ inputs: shared, nodes, constants }))).toContain('Softmax')
    const wide = { ...inputs, q: [1, 2, 'T', 4], k: [1, 2, 'S', 4], v: [1, 2, 'S', 3], m: ['B', 1, 'T', 'S'] }
    const masked = nodes.flatMap((n) =>
      n.opType === 'Softmax' ? [node('Add', ['d', 'm'], ['e']), node('Softmax', ['e'], ['p'], { axis: -1 })] : [n],
    )
    expect(fused(graphOf({ inputs: wide, nodes: masked, constants }))).toContain('Softmax')
  })
})
