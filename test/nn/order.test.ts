/** A clamp and a selection that change places give the same bits, forwards and backwards. */
import { describe, expect, it } from 'vitest'
import { valueAndGrad, watchCalls } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import { activation, build, conv2d, freshValues, maxPool2d, Model, sequential } from '../../ts/nn/index.js'
import { maxPool2d as pool, mul, relu, sum } from '../../ts/ops/index.js'
import { scope, type Tensor } from '../../ts/tensor/index.js'
import { normal } from './lib.js'

const squares = (x: Tensor): Tensor => sum(mul(x, x))

/** Names of the primitives that fn calls. */
function watchOrder(fn: () => unknown): string[] {
  const names: string[] = []
  watchCalls(({ primitive }) => void names.push(primitive.name), fn)
  return names
}

const net = (f: 'relu' | 'tanh'): Model =>
  new Model(
    build(
      sequential({
        conv: conv2d({ in: 1, out: 3, kernel: [3, 3], stride: [1, 1], padding: [1, 1], bias: true }),
        act: activation({ function: f }),
        pool: maxPool2d({ kernel: [2, 2], stride: [2, 2] }),
      }),
      freshValues(Rng.of(5)),
    ),
    { name: 'net', task: 'embedding', history: [] },
  )

describe('sequential', () => {
  it('runs max pooling before a relu: the same values and gradients from a quarter of the elements', () =>
    scope(() => {
      const model = net('relu')
      const x = normal([2, 1, 8, 8], 3)
      const { kernel, bias } = { kernel: model.leaves().get('conv.weight')!.value, bias: model.leaves().get('conv.bias')!.value }
      const conv = new Model(model.root.children.conv!, model.info)
      let result!: ReturnType<typeof valueAndGrad<[typeof kernel, typeof bias], undefined>>
      const order = watchOrder(() => (result = valueAndGrad(() => squares(model.forward(x)), [kernel, bias])))
      expect(order.indexOf('conv2d_max_pool')).toBeLessThan(order.indexOf('relu'))
      expect(order).not.toContain('conv2d')
      const want = valueAndGrad(() => squares(pool(relu(conv.forward(x)), [2, 2])), [kernel, bias])
      expect(result.value.item()).toBe(want.value.item())
      const [got, expected] = [result.grads, want.grads] as const
      // Sums without the zeros of positions that pooling left out: in another order.
      const values = expected[0]!.read()
      Array.from(got[0].read(), Number).forEach((g, i) => expect(g).toBeCloseTo(Number(values[i]), 3))
      expect(got[1].read()[0]).toBeCloseTo(Number(expected[1]!.read()[0]), 3)
    }))

  it('leaves other activations where they are', () =>
    scope(() => {
      const order = watchOrder(() => net('tanh').forward(normal([1, 1, 4, 4], 3)))
      expect(order.indexOf('tanh')).toBeLessThan(order.indexOf('max_pool2d'))
    }))
})
