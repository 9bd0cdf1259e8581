/** Constants that several layers of an imported graph take: one weight, whatever the way it is read. */
import { describe, expect, it } from 'vitest'
import { compress, quantize, recipe } from '../../ts/compress/index.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, modelFromOnnx } from '../../ts/graph/index.js'
import { memory, ops, regression, regressionData, scope, tensor, trainTask, type Model } from '../../ts/index.js'
import { constant, model, node, oracle, ort, random, value, type GraphInit } from './build.js'

const draw = random(17)
const w = (name: string, ...dims: number[]): ReturnType<typeof constant> =>
  constant(name, dims, draw(dims.reduce((a, b) => a * b, 1))) // prettier-ignore
const imported = (graph: GraphInit): Model => modelFromOnnx(parseOnnx(model(graph)))

/** A table of 80 rows looked up and taken by a Gemm as it stands; a matrix used by two layers, one with a bias. */
const tied: GraphInit = {
  input: [value('ids', ['n'], 'i64')],
  output: [value('scores'), value('again')],
  initializer: [w('table', 80, 64), w('mix', 64, 64), w('bias', 80), w('shift', 64)],
  node: [
    node('Gather', ['table', 'ids'], ['e']),
    node('MatMul', ['e', 'mix'], ['m1']),
    node('Relu', ['m1'], ['r']),
    node('MatMul', ['r', 'mix'], ['m2']),
    node('Add', ['m2', 'shift'], ['scores']),
    node('Gemm', ['r', 'table', 'bias'], ['again'], { transB: 1 }),
  ],
}

describe('a constant of several layers', () => {
  it('is one weight: counted once, freed once, exported once', async () => {
    const before = memory().tensors
    const net = imported(tied)
    expect(net.parameters()).toBe(80 * 64 + 64 * 64 + 80 + 64)
    const weights = net.weights().filter(({ name }) => name === 'weight')
    expect(new Set(weights.map(({ weight }) => weight)).size).toBe(2)
    expect(weights.length).toBeGreaterThan(2)
    expect(memory().tensors - before).toBe(4)
    if (ort) {
      const data = BigInt64Array.of(3n, 79n, -1n)
      const want = await oracle(model(tied), { ids: { type: 'int64', data, dims: [3] } })
      scope(() => {
        const got = net.predictAll(tensor(data))
        for (const name of ['scores', 'again'])
          want[name]!.data.forEach((v, i) => expect((got[name]!.read() as Float32Array)[i]).toBeCloseTo(v, 3))
      })
    }
    net.dispose()
    expect(memory().tensors).toBe(before)
  })

  it('is trained once with the gradients of all its uses', async () => {
    // y = (x w) w + b: two layers, one with a bias
    const net = imported({
      input: [value('x', ['n', 1])],
      output: [value('y')],
      initializer: [constant('w', [1, 1], [2]), constant('b', [1], [0])],
      node: [node('MatMul', ['x', 'w'], ['h']), node('MatMul', ['h', 'w'], ['m']), node('Add', ['m', 'b'], ['y'])],
    })
    expect(net.parameters()).toBe(2)
    expect(net.weights().map(({ name }) => name)).toEqual(['weight', 'weight', 'bias'])
    const data = regressionData({ name: 'one', features: Float32Array.of(1), inputShape: [1], targets: Float32Array.of(0) })
    const { model: after } = await trainTask(net, regression(data), {
      epochs: 1,
      batchSize: 1,
      optimizer: { kind: 'sgd' },
      schedule: { kind: 'constant', lr: 0.01 },
    })
    // loss (w^2)^2 = w^4 with derivative 4 w^3 = 32
    for (const { name, weight } of after.weights())
      if (name === 'weight') scope(() => expect(weight.dense().item()).toBeCloseTo(2 - 0.32, 5))
    after.dispose()
    net.dispose()
  })

  it('is one weight too where the other layer takes its transpose: a table that is also the head', async () => {
    const head: GraphInit = {
      input: [value('ids', ['batch', 'tokens'], 'i64')],
      output: [value('scores')],
      initializer: [w('table', 90, 64)],
      node: [
        node('Gather', ['table', 'ids'], ['e']),
        node('Tanh', ['e'], ['t']),
        node('Transpose', ['table'], ['turned'], { perm: [1, 0] }),
        node('MatMul', ['t', 'turned'], ['scores']),
      ],
    }
    const net = imported(head)
    expect(net.parameters()).toBe(90 * 64)
    expect(new Set(net.weights().map(({ weight }) => weight)).size).toBe(1)
    expect(net.weights().map(({ module }) => module.kind)).toEqual(['embedding', 'linear'])
    const ids = tensor(BigInt64Array.of(3n, 89n, 0n, 7n), [2, 2])
    const scores = (of: Model): number[] => scope(() => Array.from(of.forward(ids).read() as Float32Array))
    // The scores by their definition, from the table in the file.
    const table = parseOnnx(model(head)).graph.initializers.get('table')!.read()
    const rows = new Float32Array(table.buffer.slice(table.byteOffset, table.byteOffset + table.byteLength))
    const row = (i: number): number[] => Array.from(rows.subarray(64 * i, 64 * i + 64))
    const want = [3, 89, 0, 7].flatMap((i) =>
      Array.from({ length: 90 }, (_, j) => row(j).reduce((sum, v, k) => sum + v * Math.tanh(row(i)[k]!), 0)),
    )
    scores(net).forEach((v, i) => expect(Math.abs(v - want[i]!)).toBeLessThan(1e-4))
    // Exported and read again it is still one, and quantized too.
    const bytes = encodeOnnx(exportOnnx(net))
    expect(bytes.length).toBeLessThan(4 * 90 * 64 + 4000)
    const again = modelFromOnnx(parseOnnx(bytes))
    expect(again.parameters()).toBe(90 * 64)
    scores(again).forEach((v, i) => expect(Math.abs(v - want[i]!)).toBeLessThan(1e-4))
    const { model: small } = await compress(net, recipe([[quantize.rtn({ bits: 8 })]]))
    expect(new Set(small.weights().map(({ weight }) => weight)).size).toBe(1)
    const read = modelFromOnnx(parseOnnx(encodeOnnx(exportOnnx(small))))
    scores(read).forEach((v, i) => expect(Math.abs(v - scores(small)[i]!)).toBeLessThan(1e-4))
    for (const m of [again, read, small, net]) m.dispose()
  })

  it('that two branches prepare in the same way is one weight too', () => {
    const branch = (name: string): GraphInit => ({
      output: [value(`${name}y`)],
      initializer: [
        constant(`${name}from`, [1], [64], 'i64'),
        constant(`${name}to`, [1], [128], 'i64'),
        constant(`${name}axis`, [1], [0], 'i64'),
      ],
      node: [
        node('Slice', ['w', `${name}from`, `${name}to`, `${name}axis`], [`${name}s`]),
        node('MatMul', ['x', `${name}s`], [`${name}y`]),
      ],
    })
    const net = imported({
      input: [value('x', ['n', 64]), value('c', [], 'bool')],
      output: [value('y')],
      initializer: [w('w', 128, 70)],
      node: [node('If', ['c'], ['y'], { then_branch: branch('a'), else_branch: branch('b') })],
    })
    expect(net.parameters()).toBe(64 * 70)
    scope(() => {
      const x = tensor(Float32Array.from(draw(64)), [1, 64])
      const on = (v: number): Float32Array => net.predict({ x, c: ops.cast(tensor([v], []), 'bool') }).read() as Float32Array
      expect(on(1)).toEqual(on(0))
    })
    net.dispose()
  })
})
