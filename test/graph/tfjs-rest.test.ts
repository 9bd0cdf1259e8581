/** Operators and layers that tfjs does not run or does not write, on numbers worked out by hand. */
import { describe, expect, it } from 'vitest'
import { modelFromTfjs } from '../../ts/graph/index.js'
import { scope } from '../../ts/tensor/index.js'
import { tensorOf, tfjsModel, type PlainTensor, type Result } from './tfjs-lib.js'

const T = (shape: readonly number[], data: readonly number[], dtype: PlainTensor['dtype'] = 'float32'): PlainTensor => ({
  shape,
  dtype,
  data,
})
const X = (t: PlainTensor): PlainTensor => ({ ...t, given: true })
const R = (shape: readonly number[], data: readonly number[]): Result => ({ shape, data })
const types = { float32: 1, int32: 3, bool: 10 }

function check(
  model: ReturnType<typeof modelFromTfjs>,
  feed: Readonly<Record<string, PlainTensor>>,
  want: Readonly<Record<string, Result>>,
): void {
  scope(() => {
    const out = model.predictAll(Object.fromEntries(Object.entries(feed).map(([name, t]) => [name, tensorOf(t)])))
    for (const [name, { shape, data }] of Object.entries(want)) {
      expect(out[name]!.shape).toEqual(shape)
      Array.from(out[name]!.read() as Float32Array, Number).forEach((v, i) => expect(v, `${name}[${i}]`).toBeCloseTo(Number(data[i]), 5))
    }
  })
  model.dispose()
}

type Row = readonly [op: string, inputs: readonly PlainTensor[], attr: unknown, outputs: readonly Result[]]
const half = Math.LN2
const transposedBy = (stride: number, padding: string): unknown => ({
  strides: { list: { i: ['1', `${stride}`, `${stride}`, '1'] } },
  padding: { s: Buffer.from(padding).toString('base64') },
})
const operators: readonly Row[] = [
  ['Softsign', [X(T([3], [-1, 0, 3]))], {}, [R([3], [-0.5, 0, 0.75])]],
  ['Inv', [X(T([2], [2, -4]))], {}, [R([2], [0.5, -0.25])]],
  ['Rint', [X(T([3], [0.5, 1.5, -0.7]))], {}, [R([3], [0, 2, -1])]],
  ['IsInf', [X(T([3], [1, Infinity, -Infinity]))], {}, [R([3], [0, 1, 1])]],
  ['IsFinite', [X(T([3], [1, Infinity, NaN]))], {}, [R([3], [1, 0, 0])]],
  ['Log1p', [X(T([1], [1]))], {}, [R([1], [half])]],
  ['LogicalXor', [X(T([4], [1, 1, 0, 0], 'bool')), T([4], [1, 0, 1, 0], 'bool')], {}, [R([4], [0, 1, 1, 0])]],
  ['Select', [X(T([2], [1, 0], 'bool')), X(T([2, 2], [1, 2, 3, 4])), T([2, 2], [5, 6, 7, 8])], {}, [R([2, 2], [1, 2, 7, 8])]],
  ['EuclideanNorm', [X(T([2, 2], [3, 4, 6, 8])), T([1], [1], 'int32')], { keep_dims: { b: false } }, [R([2], [5, 10])]],
  ['L2Loss', [X(T([2], [3, 4]))], {}, [R([], [12.5])]],
  ['ShapeN', [X(T([2, 3], [1, 2, 3, 4, 5, 6])), X(T([1], [0]))], {}, [R([2], [2, 3]), R([1], [1])]],
  ['IdentityN', [X(T([1], [2])), X(T([1], [3]))], {}, [R([1], [2]), R([1], [3])]],
  [
    'Conv2DBackpropInput',
    [T([4], [1, 3, 3, 1], 'int32'), T([3, 3, 1, 1], Array<number>(9).fill(1)), X(T([1, 2, 2, 1], [1, 1, 1, 1]))],
    transposedBy(2, 'SAME'),
    [R([1, 3, 3, 1], [1, 2, 1, 2, 4, 2, 1, 2, 1])],
  ],
  [
    'Conv2DBackpropInput',
    [T([4], [1, 5, 1, 1], 'int32'), T([2, 1, 1, 1], [1, 10]), X(T([1, 2, 1, 1], [1, 2]))],
    transposedBy(3, 'VALID'),
    [R([1, 5, 1, 1], [1, 10, 0, 2, 20])],
  ],
  ['SpaceToDepth', [X(T([1, 2, 2, 1], [1, 2, 3, 4]))], { block_size: { i: '2' } }, [R([1, 1, 1, 4], [1, 2, 3, 4])]],
  [
    'OneHot',
    [X(T([2], [2, 0], 'int32')), T([], [3], 'int32'), T([], [5]), T([], [-1])],
    { axis: { i: '0' } },
    [R([3, 2], [-1, 5, -1, -1, 5, -1])],
  ],
  [
    'NonMaxSuppressionV2',
    [X(T([2, 4], [0, 0, 1, 1, 0, 0, 1, 0.9])), X(T([2], [0.5, 0.6])), T([], [2], 'int32'), T([], [0.5])],
    {},
    [R([1], [1])],
  ],
  [
    'NonMaxSuppressionV4',
    [X(T([2, 4], [0, 0, 1, 1, 2, 2, 3, 3])), X(T([2], [0.5, 0.6])), T([], [2], 'int32'), T([], [0.5]), T([], [0])],
    {},
    [R([2], [1, 0]), R([], [2])],
  ],
]

const graphOf = (op: string, inputs: readonly PlainTensor[], attr: unknown, outputs: number): ReturnType<typeof tfjsModel> => {
  const names = inputs.map((_, i) => `in${i}`)
  const leaves = inputs.map(({ given, dtype, shape }, i) => ({
    name: names[i],
    op: given ? 'Placeholder' : 'Const',
    input: [],
    attr: { dtype: { type: types[dtype] }, shape: { shape: { dim: shape.map((d) => ({ size: String(d) })) } } },
  }))
  const made = Array.from({ length: outputs }, (_, k) => (k ? `y:${k}` : 'y'))
  return tfjsModel(
    { node: [{ name: 'y', op, input: names, attr }, ...leaves] },
    Object.fromEntries(inputs.flatMap((t, i) => (t.given ? [] : [[names[i], t]])) as [string, PlainTensor][]),
    { outputs: Object.fromEntries(made.map((name) => [name, { name }])) },
  )
}

describe('operators by hand', () => {
  it.each(operators)('%s', (op, inputs, attr, outputs) => {
    const feed = Object.fromEntries(inputs.flatMap((t, i) => (t.given ? [[`in${i}`, t] as const] : [])))
    check(
      modelFromTfjs(graphOf(op, inputs, attr, outputs.length)),
      feed,
      Object.fromEntries(outputs.map((r, k) => [k ? `y:${k}` : 'y', r])),
    )
  })

  it('If runs the branch that its condition names, with constants of its functions', () => {
    const node = (name: string, op: string, input: readonly string[], attr: unknown = {}): unknown => ({ name, op, input, attr })
    const f = (name: string, op: string): unknown => ({
      signature: { name, inputArg: [{ name: 'a' }], outputArg: [{ name: 'o' }, { name: 'p' }] },
      nodeDef: [node(`k${name}`, 'Const', []), node('m', op, ['a', `k${name}:output:0`]), node('s', 'Square', ['m:z:0'])],
      ret: { o: 'm:z:0', p: 's:y:0' },
    })
    const topology = {
      node: [
        node('x', 'Placeholder', [], { dtype: { type: 1 } }),
        node('c', 'Placeholder', [], { dtype: { type: 10 }, shape: { shape: { dim: [] } } }),
        node('i', 'StatelessIf', ['c', 'x'], { then_branch: { func: { name: 't' } }, else_branch: { func: { name: 'e' } } }),
        node('y', 'AddV2', ['i', 'i:1']),
      ],
      library: { function: [f('t', 'Mul'), f('e', 'Sub')] },
    }
    const weights = { kt: T([], [3]), ke: T([], [1]) }
    for (const [c, want] of [
      [1, 42],
      [0, 2],
    ] as const)
      // prettier-ignore
      check(modelFromTfjs(tfjsModel(topology, weights)), { x: T([1], [2]), c: T([], [c], 'bool') }, { y: R([1], [want]) })
  })
})

type Layer = readonly [
  className: string,
  config: object,
  weights: Readonly<Record<string, PlainTensor>>,
  shape: readonly number[],
  x: PlainTensor,
  want: Result,
]
const sigmoid = (v: number): number => 1 / (1 + Math.exp(-v))
/** One step of a GRU of one unit with reset_after, all weights given; x and h scalars. */
function gru(xs: readonly number[]): number {
  let h = 0
  for (const x of xs) {
    const z = sigmoid(0.3 * x + 0.1 + (0.2 * h - 0.1))
    const r = sigmoid(-0.4 * x + 0.2 + (0.5 * h + 0.3))
    const n = Math.tanh(0.7 * x - 0.3 + r * (-0.6 * h + 0.4))
    h = z * h + (1 - z) * n
  }
  return h
}
const layers: readonly Layer[] = [
  ['Rescaling', { scale: 2, offset: -1 }, {}, [2], T([1, 2], [0.5, 3]), R([1, 2], [0, 5])],
  ['UpSampling1D', { size: 2 }, {}, [2, 1], T([1, 2, 1], [1, 2]), R([1, 4, 1], [1, 1, 2, 2])],
  ['ZeroPadding1D', { padding: [1, 2] }, {}, [1, 2], T([1, 1, 2], [1, 2]), R([1, 4, 2], [0, 0, 1, 2, 0, 0, 0, 0])],
  ['GlobalMaxPooling1D', {}, {}, [2, 2], T([1, 2, 2], [1, 5, 3, 2]), R([1, 2], [3, 5])],
  ['MultiplyBeta', {}, {}, [2], T([1, 2], [1, -5]), R([1, 2], [0.2, -1])],
  ['PixelShuffle2x', {}, {}, [1, 1, 4], T([1, 1, 1, 4], [1, 2, 3, 4]), R([1, 2, 2, 1], [1, 2, 3, 4])],
  ['SpatialDropout1D', { rate: 0.5 }, {}, [1, 2], T([1, 1, 2], [1, 2]), R([1, 1, 2], [1, 2])],
  [
    'Conv1D',
    { filters: 1, kernel_size: [2], padding: 'causal', use_bias: false },
    { 'l/kernel': T([2, 1, 1], [10, 1]) },
    [3, 1],
    T([1, 3, 1], [1, 2, 3]),
    R([1, 3, 1], [1, 12, 23]),
  ],
  [
    'GRU',
    { units: 1, reset_after: true, recurrent_activation: 'sigmoid' },
    {
      'l/gru_cell/kernel:0': T([1, 3], [0.3, -0.4, 0.7]),
      'l/gru_cell/recurrent_kernel:0': T([1, 3], [0.2, 0.5, -0.6]),
      'l/gru_cell/bias:0': T([2, 3], [0.1, 0.2, -0.3, -0.1, 0.3, 0.4]),
    },
    [3, 1],
    T([1, 3, 1], [0.5, -1, 2]),
    R([1, 1], [gru([0.5, -1, 2])]),
  ],
]

describe('layers by hand', () => {
  it.each(layers)('%s', (className, config, weights, shape, x, want) => {
    const list = [
      { class_name: 'InputLayer', config: { name: 'in', batch_input_shape: [null, ...shape], dtype: 'float32' } },
      { class_name: className, config: { name: 'l', ...config } },
    ]
    check(modelFromTfjs(tfjsModel({ class_name: 'Sequential', config: { name: 's', layers: list } }, weights)), { in: x }, { l: want })
  })

  it('Subtract of two inputs, in the notation of Keras 3', () => {
    const from = (name: string): unknown => ({ class_name: '__keras_tensor__', config: { shape: [null, 2], keras_history: [name, 0, 0] } })
    const input = (name: string): unknown => ({
      class_name: 'InputLayer',
      name,
      config: { name, batch_shape: [null, 2], dtype: 'float32' },
      inbound_nodes: [],
    })
    const subtract = {
      class_name: 'Subtract',
      name: 'd',
      config: { name: 'd' },
      inbound_nodes: [{ args: [[from('a'), from('b')]], kwargs: {} }],
    }
    const config = { name: 'm', layers: [input('a'), input('b'), subtract], input_layers: [['a', 0, 0], ['b', 0, 0]], output_layers: ['d', 0, 0] } // prettier-ignore
    check(
      modelFromTfjs(tfjsModel({ model_config: { class_name: 'Functional', config } }, {})),
      { a: T([1, 2], [5, 1]), b: T([1, 2], [2, 4]) },
      { d: R([1, 2], [3, -3]) },
    )
  })
})
