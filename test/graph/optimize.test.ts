/** The law of every pass: the outputs stay; patterns are found in each spelling; what only looks like one is left alone. */
import { describe, expect, it } from 'vitest'
import { graphPasses, modelFromGraph, optimizeGraph, type Graph } from '../../ts/graph/index.js'
import { memory, session } from '../../ts/index.js'
import { constant, node, random, value, type GraphInit, type NodeInit } from './build.js'
import {
  attention,
  drawn,
  geluErf,
  geluErfTf,
  geluFast,
  geluTanh,
  graphOf,
  ints,
  law,
  layerNorm,
  layerNormTf,
  number,
  ops,
  together,
  type Pattern,
} from './pass-lib.js'

const X = { x: ['B', 'T', 8] as const }
/** A pattern from x to y: found, with a value in it that is an output too, and with one that another node uses. */
function pattern(
  p: Pattern,
  pass: string,
  fused: readonly string[],
  inner: string,
  inputs: Readonly<Record<string, readonly (number | string)[]>> = X,
): void {
  const whole = law(graphOf({ inputs, ...p }), pass)
  expect(ops(whole)).toEqual(fused)
  const shown = law(graphOf({ inputs, ...p, outputs: ['y', inner] }), pass)
  expect(ops(shown)).not.toEqual([...fused])
  expect(shown.outputs).toEqual(['y', inner])
  const used = law(graphOf({ inputs, ...p, nodes: [...p.nodes, node('Neg', [inner], ['z'])], outputs: ['y', 'z'] }), pass)
  expect(ops(used)).toContain('Neg')
}

describe('functions', () => {
  const one = ['tersor.Activation']
  it.each([
    ['erf, PyTorch', geluErf('x', 'y'), 'y_a'],
    ['erf, half first', geluErfTf('x', 'y'), 'y_e'],
    ['tanh', geluTanh('x', 'y'), 'y_s'],
    ['tanh, fast', geluFast('x', 'y'), 'y_u'],
  ])('GELU: %s', (_, p, inner) => pattern(p, 'fuse-functions', one, inner))

  const short = (nodes: NodeInit[], ...constants: Pattern['constants'][number][]): Pattern => ({ nodes, constants })
  it.each([
    ['SiLU', short([node('Sigmoid', ['x'], ['s']), node('Mul', ['s', 'x'], ['y'])]), 's'],
    [
      'quick GELU',
      short([node('Mul', ['x', 'k'], ['t']), node('Sigmoid', ['t'], ['s']), node('Mul', ['x', 's'], ['y'])], number('k', 1.702)),
      's',
    ],
    [
      'hard swish of Paddle',
      short(
        [
          node('Add', ['x', 'three'], ['a']),
          node('Clip', ['a', 'zero', 'six'], ['s']),
          node('Mul', ['x', 's'], ['m']),
          node('Div', ['m', 'six'], ['y']),
        ],
        ...[number('three', 3), number('zero', 0), number('six', 6)],
      ),
      's',
    ],
    ['hard swish', short([node('HardSigmoid', ['x'], ['s'], { alpha: 1 / 6, beta: 0.5 }), node('Mul', ['x', 's'], ['y'])]), 's'],
  ])('%s', (_, p, inner) => pattern(p, 'fuse-functions', one, inner))

  it('numbers that are others, and other values than x, are left alone', () => {
    const of = (name: string, v: number): Graph => {
      const p = geluErf('x', 'y')
      return graphOf({ inputs: X, ...p, constants: p.constants.map((c) => (c.name === name ? number(name, v) : c)) })
    }
    for (const [name, v] of [
      ['sqrt2', 1.5],
      ['one', 1.1],
      ['half', 0.25],
    ] as const)
      // prettier-ignore
      expect(ops(law(of(name, v), 'fuse-functions', 0))).not.toContain('tersor.Activation')
    const other = graphOf({ inputs: { x: [3], z: [3] }, nodes: [node('Sigmoid', ['z'], ['s']), node('Mul', ['x', 's'], ['y'])] })
    expect(ops(law(other, 'fuse-functions', 0))).toEqual(['Sigmoid', 'Mul'])
    const changing = graphOf({
      inputs: { x: [3], k: [] },
      nodes: [node('Mul', ['x', 'k'], ['t']), node('Sigmoid', ['t'], ['s']), node('Mul', ['x', 's'], ['y'])],
    })
    expect(ops(law(changing, 'fuse-functions', 0))).toEqual(['Mul', 'Sigmoid', 'Mul'])
    const taller = graphOf({
      inputs: { x: [3] },
      nodes: [node('Mul', ['x', 'k'], ['t']), node('Sigmoid', ['t'], ['s']), node('Mul', ['x', 's'], ['y'])],
      constants: [constant('k', [1, 1], [1.702])],
    })
    expect(ops(law(taller, 'fuse-functions', 0))).toEqual(['Mul', 'Sigmoid', 'Mul'])
  })
})

describe('norms', () => {
  const one = ['tersor.LayerNormalization']
  it('layer norm of PyTorch and Paddle', () => pattern(layerNorm('x', 'y', 8), 'fuse-norms', one, 'y_d'))
  it('layer norm of TensorFlow', () => pattern(layerNormTf('x', 'y', 8), 'fuse-norms', one, 'y_d'))
  it('several axes, gamma that is not of their sizes stays outside', () => {
    const g = graphOf({ inputs: { x: [2, 3, 8] }, ...layerNorm('x', 'y', 8, [1, 2]) })
    expect(ops(law(g, 'fuse-norms'))).toEqual(['tersor.LayerNormalization', 'Mul', 'Add'])
  })
  it('root mean squares', () => {
    const nodes = [
      node('Pow', ['x', 'two'], ['p']),
      node('ReduceMean', ['p'], ['m'], { axes: [2] }),
      node('Add', ['m', 'eps'], ['e']),
      node('Sqrt', ['e'], ['s']),
      node('Reciprocal', ['s'], ['r']),
      node('Mul', ['x', 'r'], ['n']),
      node('Mul', ['g', 'n'], ['y']),
    ]
    pattern({ nodes, constants: [number('two', 2), number('eps', 1e-6), drawn('g', 8)] }, 'fuse-norms', ['tersor.RmsNormalization'], 'r')
  })
  it('another axis, a mean of something else, no epsilon, gamma that is no constant', () => {
    const middle = graphOf({ inputs: X, ...layerNorm('x', 'y', 8, [1]) })
    expect(ops(law(middle, 'fuse-norms', 0))).toContain('ReduceMean')
    const p = layerNorm('x', 'y', 8)
    const other = graphOf({
      inputs: { ...X, z: X.x },
      ...p,
      nodes: [node('ReduceMean', ['z'], ['y_m'], { axes: [-1] }), ...p.nodes.slice(1)],
    })
    expect(ops(law(other, 'fuse-norms', 1e-5))).not.toContain('tersor.LayerNormalization')
    const without = graphOf({ inputs: X, ...p, constants: p.constants.map((c) => (c.name === 'eps' ? number('eps', 0) : c)) })
    expect(ops(law(without, 'fuse-norms', 0))).toContain('Sqrt')
    const given = graphOf({ inputs: { ...X, y_g: [8] }, ...p, constants: p.constants.filter((c) => c.name !== 'y_g') })
    expect(ops(law(given, 'fuse-norms'))).toEqual(['tersor.LayerNormalization', 'Mul', 'Add'])
  })
})

describe('numbers around products', () => {
  const image = { x: ['B', 3, 6, 5] as const }
  const conv = (extra: Parameters<typeof node>[3] = {}): NodeInit => node('Conv', ['x', 'w', 'b'], ['c'], extra)
  const filters = [drawn('w', 4, 3, 3, 3), drawn('b', 4)]
  it('behind a convolution: any chain of Mul, Div, Add, Sub per channel', () => {
    const nodes = [conv(), node('Mul', ['c', 's'], ['m']), node('Sub', ['t', 'm'], ['n']), node('Div', ['n', 'k'], ['y'])]
    const g = graphOf({ inputs: image, nodes, constants: [...filters, drawn('s', 4, 1, 1), drawn('t', 1, 4, 1, 1), number('k', 1.7)] })
    expect(ops(law(g, 'fold-affine'))).toEqual(['Conv'])
    expect(ops(law({ ...g, outputs: ['y', 'm'] }, 'fold-affine'))).toEqual(['Conv', 'Sub', 'Div'])
    const wrong = graphOf({ inputs: image, nodes: [conv(), node('Mul', ['c', 's'], ['y'])], constants: [...filters, drawn('s', 4, 1)] })
    expect(ops(law(wrong, 'fold-affine', 0))).toEqual(['Conv', 'Mul'])
  })
  it('before a convolution: factors always, sums only without padding', () => {
    const nodes = [node('Sub', ['x', 'm'], ['a']), node('Mul', ['a', 's'], ['p']), node('Conv', ['p', 'w', 'b'], ['y'])]
    const constants = [...filters, drawn('m', 3, 1, 1), drawn('s', 1, 3, 1, 1)]
    expect(ops(law(law(graphOf({ inputs: image, nodes, constants }), 'fold-affine'), 'fold-affine'))).toEqual(['Conv'])
    const padded = [...nodes.slice(0, 2), node('Conv', ['p', 'w', 'b'], ['y'], { pads: [1, 1, 1, 1] })]
    const once = law(graphOf({ inputs: image, nodes: padded, constants }), 'fold-affine')
    expect(ops(law(once, 'fold-affine'))).toEqual(['Sub', 'Conv'])
  })
  it('around linear layers, in either spelling', () => {
    const constants = [drawn('w', 8, 4), drawn('b', 4), drawn('s', 4), drawn('t', 8), number('k', 0.5)]
    const nodes = [
      node('Mul', ['x', 't'], ['a']),
      node('MatMul', ['a', 'w'], ['l']),
      node('Add', ['l', 'b'], ['m']),
      node('Mul', ['s', 'm'], ['n']),
      node('Div', ['n', 'k'], ['y']),
    ]
    expect(ops(law(graphOf({ inputs: X, nodes, constants }), 'fold-affine'))).toEqual(['MatMul', 'Add'])
    const gemm = [node('Gemm', ['x', 'w', 'b'], ['l']), node('BatchNormalization', ['l', 's', 'b', 's', 'v'], ['y'])]
    const normed = graphOf({ inputs: { x: ['B', 8] }, nodes: gemm, constants: [...constants, constant('v', [4], [1, 2, 0.5, 3])] })
    expect(ops(law(normed, 'fold-batch-norm'))).toEqual(['Gemm'])
    const changing = graphOf({ inputs: { ...X, s: [4] }, nodes, constants: constants.filter((c) => c.name !== 's') })
    expect(ops(law(changing, 'fold-affine'))).toEqual(['MatMul', 'Add', 'Mul', 'Div'])
  })
  it('product, bias and function as one node', () => {
    const constants = [drawn('w', 8, 4), drawn('b', 4), number('lo', -0.5), number('hi', 0.5)]
    const linear = [node('MatMul', ['x', 'w'], ['l']), node('Add', ['b', 'l'], ['m'])]
    for (const f of [node('Relu', ['m'], ['y']), node('Clip', ['m', 'lo', 'hi'], ['y']), node('LeakyRelu', ['m'], ['y'], { alpha: 0.3 })])
      expect(ops(law(graphOf({ inputs: X, nodes: [...linear, f], constants }), 'fuse-products'))).toEqual(['tersor.Linear'])
    const shown = graphOf({ inputs: X, nodes: [...linear, node('Relu', ['m'], ['y'])], constants, outputs: ['y', 'm'] })
    expect(ops(law(shown, 'fuse-products'))).toEqual(['tersor.Linear', 'Relu'])
    const g = graphOf({ inputs: image, nodes: [conv({ pads: [1, 1, 1, 1] }), node('Sigmoid', ['c'], ['y'])], constants: filters })
    expect(ops(law(g, 'fuse-products'))).toEqual(['tersor.Conv'])
    const wide = graphOf({
      inputs: { x: [2, 8] },
      nodes: [node('MatMul', ['x', 'w'], ['l']), node('Add', ['l', 'c'], ['y'])],
      constants: [constants[0]!, drawn('c', 3, 1, 4)],
    })
    expect(ops(law(wide, 'fuse-products', 0))).toEqual(['MatMul', 'Add'])
  })
})

it('Gemm with one number for all channels', () => {
  const nodes = [node('Gemm', ['x', 'w', 'c'], ['t']), node('Mul', ['t', 's'], ['y'])]
  const constants = [constant('w', [3, 4], random(1)(12)), constant('c', [1], [5]), constant('s', [4], [1, 2, 3, 4])]
  expect(ops(law(graphOf({ inputs: { x: ['B', 3] }, nodes, constants }), 'fold-affine'))).toEqual(['Gemm', 'Mul'])
})

describe('moves', () => {
  const turn = (x: string, y: string, ...perm: number[]): NodeInit => node('Transpose', [x], [y], { perm })
  const I = { x: [2, 3, 4, 5] }
  it('Transposes meet behind functions and cancel', () => {
    const nodes = [turn('x', 'a', 0, 2, 3, 1), node('Relu', ['a'], ['b']), node('Mul', ['b', 'k'], ['c']), turn('c', 'y', 0, 3, 1, 2)]
    const g = graphOf({ inputs: I, nodes, constants: [number('k', 2)] })
    expect(ops(law(g, 'merge-transposes', 0))).toEqual(['Relu', 'Mul', 'Identity'])
    expect(ops(law({ ...g, outputs: ['y', 'b'] }, 'merge-transposes', 0))).toContain('Transpose')
    const sum = [
      turn('x', 'a', 1, 0, 2, 3),
      turn('z', 'b', 1, 0, 2, 3),
      node('Add', ['a', 'b'], ['c']),
      turn('c', 'd', 0, 1, 3, 2),
      node('Tanh', ['d'], ['y']),
    ]
    expect(
      ops(law(graphOf({ inputs: { ...I, z: I.x }, nodes: sum }), 'merge-transposes', 0)).filter((op) => op === 'Transpose'),
    ).toHaveLength(1)
    const unlike = [turn('x', 'a', 0, 2, 3, 1), turn('z', 'b', 0, 3, 2, 1), node('Add', ['a', 'b'], ['y'])]
    expect(ops(law(graphOf({ inputs: { x: I.x, z: [2, 3, 5, 4] }, nodes: unlike }), 'merge-transposes', 0))).toEqual([
      'Transpose',
      'Transpose',
      'Add',
    ])
    const alone = graphOf({ inputs: I, nodes: [turn('x', 'a', 0, 2, 3, 1), node('Relu', ['a'], ['y'])] })
    expect(ops(law(alone, 'merge-transposes', 0))).toEqual(['Relu', 'Transpose'])
    const vector = graphOf({ inputs: I, nodes: [turn('x', 'a', 0, 2, 3, 1), node('Add', ['a', 'v'], ['y'])], constants: [drawn('v', 3)] })
    expect(ops(law(vector, 'merge-transposes', 0))).toEqual(['Transpose', 'Add'])
  })
  it('products take transposed operands', () => {
    const inputs = { x: [2, 3, 4], z: [2, 5, 3] }
    const g = graphOf({ inputs, nodes: [turn('x', 'a', 0, 2, 1), turn('z', 'b', 0, 2, 1), node('MatMul', ['a', 'b'], ['y'])] })
    expect(ops(law(g, 'transpose-products'))).toEqual(['com.microsoft.FusedMatMul'])
    const gemm = graphOf({
      inputs: { x: [3, 4], z: [5, 3] },
      nodes: [turn('x', 'a', 1, 0), turn('z', 'b', 1, 0), node('Gemm', ['a', 'b'], ['y'])],
    })
    expect(ops(law(gemm, 'transpose-products'))).toEqual(['Gemm'])
    const other = graphOf({ inputs: { x: [3, 2, 4], z: [2, 3, 5] }, nodes: [turn('x', 'a', 1, 2, 0), node('MatMul', ['a', 'z'], ['y'])] })
    expect(ops(law(other, 'transpose-products', 0))).toEqual(['Transpose', 'MatMul'])
  })
  it('chains of reshapes', () => {
    const nodes = [
      node('Reshape', ['x', 's'], ['a']),
      node('Unsqueeze', ['a', 'axes'], ['b']),
      node('Squeeze', ['b', 'axes'], ['c']),
      node('Flatten', ['c'], ['d'], { axis: 1 }),
      node('Relu', ['d'], ['y']),
    ]
    const constants = [ints('s', 2, 12, 5), ints('axes', 0)]
    expect(ops(law(graphOf({ inputs: I, nodes, constants }), 'merge-reshapes', 0))).toEqual(['Reshape', 'Relu'])
    expect(ops(law(graphOf({ inputs: I, nodes, constants, outputs: ['y', 'b'] }), 'merge-reshapes', 0)).length).toBeGreaterThan(2)
    // 0 keeps a size of the value before it, which is not the source's.
    const zero = [node('Reshape', ['x', 's'], ['a']), node('Reshape', ['a', 'z'], ['b']), node('Relu', ['b'], ['y'])]
    const kept = law(
      graphOf({ inputs: { x: ['B', 3, 4, 5] }, nodes: zero, constants: [ints('s', -1, 12, 5), ints('z', 0, 0, 5, 1)] }),
      'merge-reshapes',
      0,
    )
    expect(ops(kept)).toContain('Relu')
    const nothing = graphOf({
      inputs: I,
      nodes: [node('Reshape', ['x', 's'], ['a']), node('Relu', ['a'], ['y'])],
      constants: [ints('s', 2, 3, 4, 5)],
    })
    expect(ops(law(nothing, 'merge-reshapes', 0))).toEqual(['Relu'])
    // The file calls both sizes of x alike.
    const alike = [node('Transpose', ['x'], ['t']), node('Shape', ['t'], ['s']), node('Reshape', ['x', 's'], ['y'])]
    const named = graphOf({ inputs: { x: ['N', 'N'] }, nodes: alike })
    expect(ops(optimizeGraph(named, { passes: ['merge-reshapes'] }))).toContain('Reshape')
  })
  it('equal values are computed once, also those that a branch computes again; drawn numbers are not', () => {
    const branch = (name: string): GraphInit => ({
      name,
      output: [value(`${name}_r`)],
      node: [node('Exp', ['x'], [`${name}_e`]), node(name === 't' ? 'Neg' : 'Abs', [`${name}_e`], [`${name}_r`])],
    })
    const nodes = [
      node('Exp', ['x'], ['a']),
      node('Exp', ['x'], ['b']),
      node('Mul', ['a', 'k1'], ['c']),
      node('Mul', ['b', 'k2'], ['d']),
      node('Add', ['c', 'd'], ['s']),
      node('If', ['yes'], ['i'], { then_branch: branch('t'), else_branch: branch('e') }),
      node('Add', ['s', 'i'], ['y']),
    ]
    const g = graphOf({ inputs: I, nodes, constants: [number('k1', 2), number('k2', 2), constant('yes', [], [1], 'bool')] })
    const after = law(g, 'share-common', 0)
    expect(ops(after)).toEqual(['Exp', 'Mul', 'Add', 'If', 'Add'])
    expect(JSON.stringify(after.nodes[3]!.attributes)).not.toContain('Exp')
    const noise = graphOf({
      inputs: I,
      nodes: [node('RandomNormalLike', ['x'], ['a']), node('RandomNormalLike', ['x'], ['b']), node('Sub', ['a', 'b'], ['y'])],
    })
    expect(optimizeGraph(noise, { passes: ['share-common'] }).nodes).toHaveLength(3)
    const named = graphOf({ inputs: I, nodes: [node('Exp', ['x'], ['a']), node('Exp', ['x'], ['y'])], outputs: ['a', 'y'] })
    expect(law(named, 'share-common', 0).outputs).toEqual(['a', 'y'])
  })
})

describe('all passes', () => {
  /** A transformer block as PyTorch writes it: 45 nodes. */
  const block = together(
    layerNorm('x', 'n', 8),
    attention('n', 'h', 8, 2, { mask: 'm' }),
    { nodes: [node('Add', ['x', 'h'], ['r'])], constants: [] },
    layerNorm('r', 'l', 8),
    { nodes: [node('MatMul', ['l', 'w1'], ['f']), node('Add', ['f', 'b1'], ['g'])], constants: [drawn('w1', 8, 16), drawn('b1', 16)] },
    geluErf('g', 'u'),
    {
      nodes: [node('MatMul', ['u', 'w2'], ['v']), node('Add', ['v', 'b2'], ['o']), node('Add', ['r', 'o'], ['y'])],
      constants: [drawn('w2', 16, 8), drawn('b2', 8)],
    },
  )
  const g = graphOf({ inputs: { ...X, m: ['B', 1, 1, 'T'] }, ...block })
  it('a transformer block becomes ten nodes', () => {
    const after = law(g, (graph) => optimizeGraph(graph))
    expect(ops(after)).toEqual([
      'tersor.LayerNormalization',
      ...Array<string>(3).fill('tersor.Linear'),
      ...['tersor.Attention', 'Add', 'tersor.LayerNormalization', 'tersor.Linear', 'tersor.Linear', 'Add'],
    ])
  })
  it('changes nothing the second time, and never the graph that it was given', () => {
    const before = JSON.stringify(g.nodes)
    const once = optimizeGraph(g)
    expect(ops(optimizeGraph(once))).toEqual(ops(once))
    expect(JSON.stringify(g.nodes)).toBe(before)
  })
  it('subgraphs of If and Loop too', () => {
    const p = geluErf('x', 'r')
    const inner: GraphInit = { name: 'then', output: [value('r')], node: [...p.nodes], initializer: [...p.constants] }
    const other: GraphInit = { name: 'else', output: [value('q')], node: [node('Neg', ['x'], ['q'])] }
    const g2 = graphOf({
      inputs: X,
      nodes: [node('If', ['c'], ['y'], { then_branch: inner, else_branch: other })],
      constants: [constant('c', [], [1], 'bool')],
    })
    const after = law(g2, (graph) => optimizeGraph(graph))
    expect(JSON.stringify(after.nodes)).toContain('"Activation"')
  })
  it('the table: names are unique, each pass runs by its name, others are ERR_OPTION', () => {
    expect(new Set(graphPasses.map((p) => p.name)).size).toBe(graphPasses.length)
    for (const { name } of graphPasses) law(g, name)
    expect(() => optimizeGraph(g, { passes: ['nothing'] })).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })
  it('sessions of imported models run them, share weights with the model and free what is theirs', () => {
    const net = modelFromGraph(g, { name: 'net', task: 'regression', history: [] })
    const before = memory().tensors
    const inputs = {
      x: { data: new Float32Array(2 * 5 * 8).map((_, i) => Math.sin(i)), shape: [2, 5, 8] },
      m: { data: new Float32Array(10), shape: [2, 1, 1, 5] },
    }
    const [plain, fast] = [session(net, { optimize: false }), session(net)]
    const [want, got] = [plain, fast].map((s) => s.runSync(inputs).y!.data as Float32Array)
    want!.forEach((v, i) => expect(got![i]).toBeCloseTo(v, 5))
    expect(fast.info().passes.map((p) => p.name)).toEqual(graphPasses.map((p) => p.name))
    expect(plain.info().passes).toEqual([])
    plain.dispose()
    fast.dispose()
    expect(memory().tensors).toBe(before)
    net.dispose()
  })
})
