/** What plans combine in transformers: integer products of one input, the tanh form of GELU, attention on parts of a wider product. */
import { describe, expect, test } from 'vitest'
import { compress, grad, ops, quantize, recipe, scope, session, tensor, transformerSpec, type Tensor } from '../../ts/index.js'
import { encoderBlock, sequential } from '../../ts/nn/index.js'
import { track } from '../clean-up.js'
import { floats, ids, modelOf } from './models.js'
import { namesOf, planSteps } from './plan-steps.js'

const stepsOf = (...[model, inputs, tolerance = 0]: Parameters<typeof planSteps>): string[] => namesOf(planSteps(model, inputs, tolerance))

describe('an encoder with int8 weights and inputs', () => {
  const blocks = async (width: number, heads: number): Promise<Parameters<typeof session>[0]> => {
    const block = encoderBlock({ width, heads, hidden: 2 * width + 1, norm: 'post' })
    const dense = track(modelOf(sequential({ a: block, b: block })))
    return track((await compress(dense, recipe([[quantize.dynamic()]]))).model)
  }
  test('is seven steps a block, with the same bits', async () => {
    const model = await blocks(48, 3)
    const block = ['qlinear_dynamic', 'attention', 'qlinear_dynamic', 'layer_norm', 'qlinear_dynamic', 'qlinear_dynamic', 'layer_norm']
    for (const tokens of [1, 2, 17, 70]) expect(stepsOf(model, floats(1, tokens, 48))).toEqual([...block, ...block])
    expect(stepsOf(model, floats(3, 5, 48))).toEqual([...block, ...block])
  })
  test('of a width that is no whole panel keeps its products apart', async () => {
    const model = await blocks(33, 3)
    for (const tokens of [1, 19]) expect(stepsOf(model, floats(2, tokens, 33)).filter((op) => op === 'qlinear_dynamic')).toHaveLength(12)
  })
  test('shares what it joined between classes of inputs', async () => {
    const model = await blocks(32, 2)
    const s = track(session(model))
    for (const tokens of [3, 40]) {
      const input = floats(1, tokens, 32)
      const want = track(session(model, { fuse: false })).runSync(input).output!.data
      expect(s.runSync(input).output!.data).toEqual(want)
    }
    s.dispose()
  })
})

describe('integer products of one input', () => {
  const K = 20
  const packed = (n: number, seed: number): Tensor =>
    track(
      scope(() =>
        ops.qgemmPack(
          tensor(
            Int8Array.from({ length: n * K }, (_, i) => ((i * 37 + seed * 11) % 255) - 127),
            [n, K],
          ),
        ),
      ),
      'file',
    )
  const scales = (n: number): Tensor => track(tensor(Float32Array.from({ length: n }, (_, i) => 0.001 * (1 + (i % 7)))), 'file')
  const [one, columns, bias] = [scales(1), scales(32), floats(32)]
  const weights = [1, 2, 3].map((seed) => packed(32, seed)) as [Tensor, Tensor, Tensor]
  const offset = track(tensor(bias.data), 'file')
  const product = (x: Tensor, w: Tensor, scale: Tensor, b: Tensor | null, symmetric = false): Tensor =>
    ops.qlinearDynamic(x, w, scale, b, null, 32, symmetric, 'none')
  const heard = (q: Tensor, k: Tensor, v: Tensor): Tensor => ops.multiHeadAttention(q, k, v, { heads: 4 })

  test('are one, with scales of the tensor or of columns and with or without a bias', () => {
    const model = (x: Tensor): Tensor => {
      const [q, k, v] = [product(x, weights[0], one, null), product(x, weights[1], columns, offset), product(x, weights[2], columns, null)]
      return heard(q, k, v)
    }
    for (const rows of [1, 9]) expect(stepsOf(model, floats(2, rows, K))).toEqual(['qlinear_dynamic', 'attention'])
  })
  test('with one weight for keys and values are one', () => {
    const model = (x: Tensor): Tensor =>
      heard(product(x, weights[0], one, null), product(x, weights[1], one, null), product(x, weights[1], one, null))
    expect(stepsOf(model, floats(1, 5, K))).toEqual(['qlinear_dynamic', 'attention'])
  })
  test('of a part of the input are one', () => {
    const model = (x: Tensor): Tensor => {
      const part = ops.slice(x, [0, 1, 0], [1, 4, K])
      return heard(product(part, weights[0], one, null), product(part, weights[1], one, null), product(part, weights[2], one, null))
    }
    expect(stepsOf(model, floats(1, 7, K)).filter((op) => op === 'qlinear_dynamic')).toHaveLength(1)
  })
  test('stay apart where codes differ, somebody else reads one, or inputs differ', () => {
    const codes = (x: Tensor): Tensor =>
      heard(product(x, weights[0], one, null, true), product(x, weights[1], one, null), product(x, weights[2], one, null))
    expect(stepsOf(codes, floats(1, 5, K))).toEqual(['qlinear_dynamic', 'qlinear_dynamic', 'attention'])
    const read = (x: Tensor): Tensor => {
      const [q, k, v] = [product(x, weights[0], one, null), product(x, weights[1], one, null), product(x, weights[2], one, null)]
      return ops.mul(heard(q, k, v), ops.tanh(v))
    }
    expect(stepsOf(read, floats(1, 5, K)).filter((op) => op === 'qlinear_dynamic')).toHaveLength(2)
    const other = (x: Tensor): Tensor =>
      heard(product(x, weights[0], one, null), product(ops.neg(x), weights[1], one, null), product(x, weights[2], one, null))
    expect(stepsOf(other, floats(1, 5, K)).filter((op) => op === 'qlinear_dynamic')).toHaveLength(2)
  })
})

test('the tanh form of GELU belongs to its product', () => {
  const config = { model_type: 'gpt2', vocab_size: 61, n_embd: 32, n_layer: 2, n_head: 4, n_positions: 40 }
  const model = track(modelOf(transformerSpec(config)))
  for (const tokens of [1, 5, 33]) {
    const steps = stepsOf(model, { ids: ids(61, 1, tokens) }, 2e-6)
    expect(steps).not.toContain('nonlinear')
  }
  const w = track(tensor(floats(6, 4).data, [6, 4]))
  expect(stepsOf((x: Tensor) => ops.geluTanh(ops.linear(x, w, null)), floats(5, 4), 2e-6)).toEqual(['linear_packed'])
  expect(stepsOf((x: Tensor) => ops.silu(ops.linear(x, w, null)), floats(5, 4), 2e-6)).toEqual(['linear_packed', 'nonlinear'])
})

test('a product with the tanh form of GELU has the gradient of the two', () =>
  scope(() => {
    const [x, w, b] = [floats(5, 4), floats(3, 4), floats(3)].map(({ data, shape }) => tensor(data, shape)) as [Tensor, Tensor, Tensor]
    const [got, want] = [
      (): Tensor => ops.sum(ops.linearFused(x, w, b, null, 'gelu_tanh')),
      (): Tensor => ops.sum(ops.geluTanh(ops.linear(x, w, b))),
    ].map((f) => grad(f, [x, w, b]).map((g) => [...(g.read() as Float32Array)])) as [number[][], number[][]]
    got.forEach((g, i) => g.forEach((v, j) => expect(v).toBeCloseTo(want[i]![j]!, 5)))
  }))
