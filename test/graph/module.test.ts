/** Imported graphs as models: layers under names, training, pruning, quantization, files. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  compress,
  load,
  memory,
  ops,
  prune,
  quantize,
  recipe,
  regression,
  regressionData,
  save,
  scope,
  tensor,
  trainTask,
  type Model,
} from '../../ts/index.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { modelFromOnnx } from '../../ts/graph/index.js'
import { constant, model, node, oracle, ort, random, value, type GraphInit } from './build.js'

const draw = random(11)
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-graph-'))
afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const w = (name: string, dims: readonly number[], scale = 0.5): ReturnType<typeof constant> =>
  constant(
    name,
    dims,
    draw(
      dims.reduce((a, b) => a * b, 1),
      scale,
    ),
  )

/** Embedding, LSTM, linear, a learned scale, two outputs. */
const sequence: GraphInit = {
  input: [value('ids', ['batch', 5], 'i64'), value('start', [1, 'batch', 4])],
  output: [value('y'), value('last')],
  initializer: [
    w('embed.weight', [9, 6]),
    w('rnn_w', [1, 16, 6]),
    w('rnn_r', [1, 16, 4]),
    w('rnn_b', [1, 32]),
    w('scale', [4]),
    w('head.weight', [4, 3]),
    w('head.bias', [3]),
    constant('zero', [1, 1, 4], [0, 0, 0, 0]),
  ],
  node: [
    node('Gather', ['embed.weight', 'ids'], ['e']),
    node('Transpose', ['e'], ['t'], { perm: [1, 0, 2] }),
    node('Add', ['start', 'zero'], ['h0']),
    node('LSTM', ['t', 'rnn_w', 'rnn_r', 'rnn_b', '', 'h0', 'start'], ['seq', 'last'], { hidden_size: 4 }, { name: '/encoder/rnn/LSTM' }),
    node('Squeeze', ['seq', 'one'], ['s']),
    node('Mul', ['s', 'scale'], ['m']),
    node('MatMul', ['m', 'head.weight'], ['l']),
    node('Add', ['head.bias', 'l'], ['y']),
  ],
}
sequence.initializer!.push(constant('one', [1], [1], 'i64'))

const mlp: GraphInit = {
  input: [value('x', ['batch', 4])],
  output: [value('y', ['batch', 2])],
  initializer: [w('fc1.weight', [16, 4]), w('fc1.bias', [16]), w('fc2.weight', [2, 16]), w('fc2.bias', [2])],
  node: [
    node('Gemm', ['x', 'fc1.weight', 'fc1.bias'], ['h'], { transB: 1 }),
    node('Relu', ['h'], ['r']),
    node('Gemm', ['r', 'fc2.weight', 'fc2.bias'], ['y'], { transB: 1 }),
  ],
}

const files = (m: Model, name: string): string => {
  const file = path.join(folder, name)
  save(m, file)
  return file
}

describe('layers of an imported graph', () => {
  it('stand under the names of the file, and nothing leaks', () => {
    const before = memory().tensors
    const net = modelFromOnnx(parseOnnx(model(sequence)))
    expect(net.weights().map((p) => `${p.path} ${p.role} [${p.weight.shape.join(',')}]`)).toEqual([
      'scale vector [4]',
      'zero vector [1,1,4]',
      'embed.weight table [9,6]',
      'encoder.rnn.weight_ih_l0 matrix [16,6]',
      'encoder.rnn.weight_hh_l0 matrix [16,4]',
      'encoder.rnn.bias_ih_l0 vector [16]',
      'encoder.rnn.bias_hh_l0 vector [16]',
      'head.weight matrix [3,4]',
      'head.bias vector [3]',
    ])
    net.dispose()
    expect(memory().tensors).toBe(before)
  })

  it.skipIf(!ort)('compute what onnxruntime computes, before and after a file', async () => {
    const bytes = model(sequence)
    const ids = [0, 3, 8, -1, 2, 5, 5, 1, 7, -9]
    const start = draw(8)
    const want = await oracle(bytes, {
      ids: { type: 'int64', data: BigInt64Array.from(ids.map(BigInt)), dims: [2, 5] },
      start: { type: 'float32', data: Float32Array.from(start), dims: [1, 2, 4] },
    })
    const check = (net: Model): void =>
      scope(() => {
        const out = net.predictAll({
          ids: tensor(BigInt64Array.from(ids.map(BigInt)), [2, 5]),
          start: tensor(Float32Array.from(start), [1, 2, 4]),
        })
        for (const name of ['y', 'last']) {
          expect(out[name]!.shape).toEqual(want[name]!.dims)
          Array.from(out[name]!.read() as Float32Array).forEach((v, i) => expect(v).toBeCloseTo(want[name]!.data[i]!, 5))
        }
      })
    const net = modelFromOnnx(parseOnnx(bytes))
    check(net)
    const again = load(files(net, 'sequence.safetensors'))
    check(again)
    net.dispose()
    again.dispose()
  })

  it('is pruned, quantized and fine-tuned like one written by hand', async () => {
    const file = path.join(folder, 'mlp.onnx')
    fs.writeFileSync(file, model(mlp))
    const net = load(file, { task: 'regression' })
    expect(net.info.name).toBe('mlp')
    const x = Float32Array.from(draw(64 * 4))
    const targets = Float32Array.from({ length: 64 * 2 }, (_, i) => x[4 * (i >> 1)]! * (i % 2 ? 0.5 : -1))
    const data = regressionData({ name: 'lines', features: x, inputShape: [4], targets, outputs: 2 })
    const { model: sparse } = await compress(net, recipe([[prune.magnitude({ sparsity: 0.5 })]]))
    const loss = (m: Model): number => scope(() => ops.mse(m.predict(tensor(x, [64, 4])), tensor(targets, [64, 2])).item())
    const before = loss(sparse)
    const { model: tuned } = await trainTask(sparse, regression(data), {
      epochs: 20,
      optimizer: { kind: 'adam' },
      schedule: { kind: 'constant', lr: 0.01 },
    })
    expect(loss(tuned)).toBeLessThan(before / 2)
    const { model: small } = await compress(tuned, recipe([[quantize.rtn({ bits: 8 })]]))
    const rows = small.weights().filter((p) => p.role === 'matrix')
    expect(rows.map((p) => p.path)).toEqual(['fc1.weight', 'fc2.weight'])
    for (const { weight } of rows) expect(weight.nonzeros()).toBeLessThanOrEqual(weight.shape[0]! * weight.shape[1]! * 0.5)
    const again = load(files(small, 'small.safetensors'))
    scope(() => {
      const input = tensor(x.slice(0, 8), [2, 4])
      expect(again.predict(input).toArray()).toEqual(small.predict(input).toArray())
    })
  })
})
