/** What onnxruntime says of a written file, held against the model's results: a stand-in for it gives results of every kind. */
import { expect, it } from 'vitest'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { modelFromOnnx } from '../../ts/graph/index.js'
import { checkOnnx, type OnnxRuntime } from '../../ts/runtime/onnx-check.js'
import { tensor } from '../../ts/tensor/index.js'
import { rejectionOf } from '../formats/lib.js'
import { model as onnxModel, node, value } from '../graph/build.js'

const net = modelFromOnnx(parseOnnx(onnxModel({ input: [value('x', [4])], output: [value('y')], node: [node('Log', ['x'], ['y'])] })))

/** An onnxruntime whose every result is `data`. */
const giving = (data: readonly number[]): OnnxRuntime => ({
  InferenceSession: {
    create: () =>
      Promise.resolve({
        inputNames: ['x'],
        outputNames: ['y'],
        run: () => Promise.resolve({ y: { data, dims: [data.length] } }),
        release: () => Promise.resolve(),
      }),
  },
  Tensor: class {
    readonly data: ArrayLike<number> = []
    readonly dims: readonly number[] = []
  },
  env: { versions: { common: '0' } },
})
const check = (data: readonly number[], x: readonly number[]) =>
  checkOnnx(net, 'file', { x: tensor(Float32Array.from(x), [4]) }, { x: { name: 'x', integer: false } }, 1e-3, giving(data))

it('a NaN that the model does not give fails, wherever it stands', async () => {
  for (const data of [
    [NaN, 0, 0, 0],
    [0, NaN, 0, 0],
    [0, 0, 0, NaN],
  ]) {
    const { code, message } = await rejectionOf(() => check(data, [1, 1, 1, 1]))
    expect([code, message]).toEqual(['ERR_NUMERIC', expect.stringMatching(/by NaN/)])
  }
})

it('infinities and NaN of both are the same, and do not hide what differs beside them', async () => {
  expect((await check([-Infinity, NaN, 0, 0], [0, -1, 1, 1]))!.difference).toBe(0)
  const { code } = await rejectionOf(() => check([-Infinity, 0, 0, 1], [0, 1, 1, 1]))
  expect(code).toBe('ERR_NUMERIC')
  expect((await rejectionOf(() => check([0, 0, 0, 0], [0, 1, 1, 1]))).code).toBe('ERR_NUMERIC')
})
