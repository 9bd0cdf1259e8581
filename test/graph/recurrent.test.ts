/** LSTM, GRU and RNN with the attributes of ONNX against onnxruntime; gradients of imported graphs against differences. */
import { describe, expect, it } from 'vitest'
import { scope, tensor, type Tensor } from '../../ts/index.js'
import { grad } from '../../ts/autograd/index.js'
import { mul, sum } from '../../ts/ops/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { graphFromOnnx, runGraph } from '../../ts/graph/index.js'
import { attributes, constant, model, node, oracle, ort, random, value, type GraphInit } from './build.js'

const draw = random(5)
const size = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1)
const f32 = (name: string, dims: readonly number[], scale = 0.6): ReturnType<typeof constant> =>
  constant(name, dims, draw(size(dims), scale))

const gates = { LSTM: 4, GRU: 3, RNN: 1 } as const
type Op = keyof typeof gates
interface Options {
  readonly of?: Parameters<typeof attributes>[0]
  readonly lengths?: readonly number[]
  readonly states?: boolean
  readonly peepholes?: boolean
  readonly bias?: boolean
}

async function check(op: Op, { of = {}, lengths, states = false, peepholes = false, bias = true }: Options): Promise<void> {
  const [t, b, c, h] = [5, 3, 4, 3]
  const d = of.direction === 'bidirectional' ? 2 : 1
  const g = gates[op]
  const initializer = [
    f32('w', [d, g * h, c]),
    f32('r', [d, g * h, h]),
    ...(bias ? [f32('b', [d, 2 * g * h])] : []),
    ...(lengths ? [constant('len', [b], lengths, 'i32')] : []),
    ...(states ? [f32('h0', [d, b, h])] : []),
    ...(states && op === 'LSTM' ? [f32('c0', [d, b, h])] : []),
    ...(peepholes ? [f32('p', [d, 3 * h])] : []),
  ]
  const names = [
    'x',
    'w',
    'r',
    bias ? 'b' : '',
    lengths ? 'len' : '',
    states ? 'h0' : '',
    states && op === 'LSTM' ? 'c0' : '',
    peepholes ? 'p' : '',
  ]
  while (names.at(-1) === '') names.pop()
  const outputs = op === 'LSTM' ? ['y', 'yh', 'yc'] : ['y', 'yh']
  const n = node(
    op,
    names,
    outputs,
    { hidden_size: h },
    { attribute: [...attributes({ hidden_size: h, ...of }, ['clip', 'activation_alpha', 'activation_beta'])] },
  )
  const bytes = model({ input: [value('x', [t, b, c])], output: outputs.map((o) => value(o)), node: [n], initializer }, { opset: 14 })
  const data = Float32Array.from(draw(t * b * c, 2))
  const want = await oracle(bytes, { x: { type: 'float32', data, dims: [t, b, c] } })
  scope(() => {
    const got = runGraph(graphFromOnnx(parseOnnx(bytes)), { x: tensor(data, [t, b, c]) })
    for (const [name, { dims, data: expected }] of Object.entries(want)) {
      const found = got[name] as Tensor
      expect(found.shape).toEqual(dims)
      const values = found.read() as Float32Array
      expected.forEach((v, i) => expect(Math.abs(values[i]! - v), `${name}[${i}]`).toBeLessThan(1e-5))
    }
  })
}

describe.skipIf(!ort).each(['LSTM', 'GRU', 'RNN'] as const)('%s against onnxruntime', (op) => {
  const directions = ['forward', 'reverse', 'bidirectional'] as const
  it.each(directions)('%s, with lengths and first states', async (direction) => {
    await check(op, { of: { direction } })
    await check(op, { of: { direction }, lengths: [5, 2, 3], states: true })
    await check(op, { of: { direction }, bias: false, states: true })
  })
  it('clips', async () => {
    await check(op, { of: { clip: 0.3 } })
    await check(op, { of: { clip: 0.4, direction: 'bidirectional' }, lengths: [3, 5, 1], states: true })
  })
  it('takes other activations', async () => {
    const names = { LSTM: ['Sigmoid', 'Relu', 'Softsign'], GRU: ['HardSigmoid', 'Relu'], RNN: ['Relu'] }[op]
    await check(op, { of: { activations: names } })
    const both = {
      LSTM: ['HardSigmoid', 'ScaledTanh', 'Tanh', 'Sigmoid', 'Tanh', 'Softsign'],
      GRU: ['Sigmoid', 'Tanh', 'Sigmoid', 'Relu'],
      RNN: ['Tanh', 'LeakyRelu'],
    }[op]
    const extra =
      op === 'LSTM' ? { activation_alpha: [0.3, 1.5], activation_beta: [0.4, 0.7] } : op === 'RNN' ? { activation_alpha: [0.2] } : {}
    await check(op, { of: { direction: 'bidirectional', activations: both, ...extra }, states: true })
  })
})

describe.skipIf(!ort)('against onnxruntime', () => {
  it('LSTM with peepholes, with coupled gates', async () => {
    await check('LSTM', { peepholes: true, states: true })
    await check('LSTM', { peepholes: true, of: { direction: 'bidirectional' }, lengths: [5, 2, 3] })
    await check('LSTM', { of: { input_forget: 1 }, states: true })
  })
  it('GRU that resets before and behind the product', async () => {
    for (const direction of ['forward', 'bidirectional'])
      await check('GRU', { of: { linear_before_reset: 1, direction }, lengths: [4, 5, 1], states: true })
    await check('GRU', { of: { linear_before_reset: 1, clip: 0.5 } })
  })
})

/** Gradient of <y, weights> for x against differences. */
function differentiates(graph: GraphInit, dims: readonly number[], opset = 17): void {
  const loaded = graphFromOnnx(parseOnnx(model(graph, { opset })))
  const n = size(dims)
  const values = Float32Array.from(draw(n))
  scope(() => {
    const f = (x: Tensor): Tensor => {
      const y = runGraph(loaded, { x }).y as Tensor
      const weights = tensor(
        Float32Array.from({ length: y.size }, (_, i) => Math.cos(1.7 * i)),
        y.shape,
      )
      return sum(mul(y, weights))
    }
    const x = tensor(values, dims)
    const [g] = grad(() => f(x), [x])
    const found = g.read() as Float32Array
    for (let i = 0; i < n; i++) {
      const at = (d: number): number =>
        f(
          tensor(
            values.map((v, k) => (k === i ? v + d : v)),
            dims,
          ),
        ).item()
      const h = 1e-2
      expect(Math.abs(found[i]! - (at(h) - at(-h)) / (2 * h)), `x[${i}]`).toBeLessThan(5e-3)
    }
  })
}

describe('gradients of imported graphs', () => {
  const graph = (dims: readonly number[], nodes: GraphInit['node'], initializer: GraphInit['initializer'] = []): GraphInit => ({
    input: [value('x', dims)],
    output: [value('y')],
    node: nodes!,
    initializer: initializer,
  })
  it('flow through moves, gathers and scatters', () => {
    const nodes = [
      node('Slice', ['x', 's', 'e', 'a', 'st'], ['p']),
      node('Gather', ['p', 'i'], ['q'], { axis: 0 }),
      node('Pad', ['q', 'pads'], ['r'], { mode: 'reflect' }),
      node('ScatterND', ['r', 'at', 'u'], ['y']),
    ]
    const ints = (name: string, list: readonly number[], dims = [list.length]): ReturnType<typeof constant> =>
      constant(name, dims, list, 'i64')
    const constants = [
      ints('s', [3, 0]),
      ints('e', [-10, 4]),
      ints('a', [0, 1]),
      ints('st', [-1, 2]),
      ints('i', [1, 0, 1]),
      ints('pads', [1, 0, 0, 1]),
      ints('at', [0, 2], [2, 1]),
      f32('u', [2, 3]),
    ]
    differentiates(graph([4, 5], nodes, constants), [4, 5])
  })
  it('flow through a resize and a layer norm', () => {
    const nodes = [node('Resize', ['x', '', 'scales'], ['p'], { mode: 'cubic' }), node('LayerNormalization', ['p', 'g', 'b'], ['y'])]
    differentiates(graph([1, 1, 2, 3], nodes, [constant('scales', [4], [1, 1, 2, 1]), f32('g', [3]), f32('b', [3])]), [1, 1, 2, 3])
  })
  it('flow through a GRU that is unrolled, and one that is not', () => {
    const constants = [f32('w', [1, 6, 2]), f32('r', [1, 6, 2]), f32('b', [1, 12])]
    for (const behind of [0, 1])
      differentiates(
        graph([3, 2, 2], [node('GRU', ['x', 'w', 'r', 'b'], ['y'], { hidden_size: 2, linear_before_reset: behind })], constants),
        [3, 2, 2],
      )
  })
  it('flow through reductions, powers and einsum', () => {
    const nodes = [
      node('ReduceLogSumExp', ['x'], ['p'], { axes: [1], keepdims: 1 }),
      node('Mul', ['x', 'p'], ['q']),
      node('Einsum', ['q', 'x'], ['y'], { equation: '...i,...i->...' }),
    ]
    differentiates(graph([2, 3], nodes), [2, 3], 13)
  })
})

describe('refuses', () => {
  const ints = (name: string, list: readonly number[]): ReturnType<typeof constant> => constant(name, [list.length], list, 'i64')
  const cases: readonly (readonly [string, GraphInit['node'], GraphInit['initializer']])[] = [
    ['Transpose that names an axis twice', [node('Transpose', ['x'], ['y'], { perm: [0, 0] })], []],
    ['Transpose beyond the rank', [node('Transpose', ['x'], ['y'], { perm: [0, 2] })], []],
    ['a Gather index outside', [node('Gather', ['x', 'i'], ['y'])], [ints('i', [0, 2])]],
    ['an axis below the rank', [node('Concat', ['x', 'x'], ['y'], { axis: -3 })], []],
    [
      'a Slice with step 0',
      [node('Slice', ['x', 's', 'e', 'a', 'st'], ['y'])],
      [ints('s', [0]), ints('e', [1]), ints('a', [0]), ints('st', [0])],
    ],
    ['Split sizes that do not add up', [node('Split', ['x', 'n'], ['y', 'z'])], [ints('n', [1, 2])]],
    ['an Expand beyond all memory', [node('Shape', ['x'], ['h']), node('Expand', ['h', 'n'], ['y'])], [ints('n', [2 ** 40, 2])]],
    [
      'a Range without end',
      [node('Range', ['a', 'b', 'c'], ['y'])],
      [constant('a', [], [0], 'i64'), constant('b', [], [2 ** 50], 'i64'), constant('c', [], [1], 'i64')],
    ],
    [
      'a OneHot of 2^40 classes',
      [node('OneHot', ['i', 'n', 'v'], ['y'])],
      [ints('i', [0]), constant('n', [], [2 ** 40], 'i64'), constant('v', [2], [0, 1])],
    ],
    ['a Resize to 2^30 columns', [node('Resize', ['x', '', '', 'n'], ['y'], { mode: 'linear' })], [ints('n', [2, 2 ** 30])]],
    ['a GatherND outside', [node('GatherND', ['x', 'i'], ['y'])], [constant('i', [1, 2], [0, 3], 'i64')]],
    ['a ScatterND outside', [node('ScatterND', ['x', 'i', 'u'], ['y'])], [constant('i', [1, 2], [0, 3], 'i64'), constant('u', [1], [0])]],
    ['TopK of more than there are', [node('TopK', ['x', 'n'], ['y', 'z'])], [ints('n', [4])]],
    ['a division of integers by 0', [node('Shape', ['x'], ['h']), node('Div', ['h', 'n'], ['y'])], [ints('n', [0])]],
  ]
  it.each(cases.map((c) => [c[0], c] as const))('%s', (_, [, nodes, initializer]) => {
    const run = (): unknown =>
      scope(() =>
        runGraph(
          graphFromOnnx(parseOnnx(model({ input: [value('x', [2, 3])], output: [value('y')], node: nodes!, initializer: initializer! }))),
          { x: tensor(new Float32Array(6), [2, 3]) },
        ),
      )
    expect(run).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_(SHAPE|OPTION|LIMIT|MODEL_FORMAT|NUMERIC|MEMORY_BUDGET)$/) as string }),
    )
  })
})
