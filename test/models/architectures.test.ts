/** The built-in architectures: sizes, cost, shapes, and that they learn. */
import { describe, expect, it } from 'vitest'
import { cost } from '../../ts/analyze/index.js'
import { valueAndGrad } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import { architectures, type ArchitectureName } from '../../ts/models/index.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { crossEntropy, sgdStep } from '../../ts/ops/index.js'
import { scope, tensor, zeros } from '../../ts/tensor/index.js'
import { code, normal } from '../nn/lib.js'

const make = (name: ArchitectureName, inputShape: readonly number[], classes: number, seed = 1): Model => {
  const { spec, inputShape: shape } = architectures[name]({ inputShape, classes })
  return new Model(build(spec, freshValues(Rng.of(seed))), { name, task: 'classification', inputShape: shape, history: [] })
}
// The nets for larger images: vision.test.ts.
const names = ['mlp', 'lenet5', 'convnet'] as const satisfies readonly ArchitectureName[]

describe.each(names)('%s', (name) => {
  it('takes MNIST images and gives a score per class', () => {
    const model = make(name, [28, 28], 10)
    scope(() => expect(model.forward(normal([3, ...model.info.inputShape!])).shape).toEqual([3, 10]))
    model.dispose()
  })

  it('is fixed by its seed', () => {
    const [a, b, c] = [make(name, [28, 28], 10), make(name, [28, 28], 10), make(name, [28, 28], 10, 2)]
    const values = (m: Model): Float32Array => m.weights()[0]!.weight.dense().read() as Float32Array
    expect(values(a)).toEqual(values(b))
    expect(values(a)).not.toEqual(values(c))
    for (const m of [a, b, c]) m.dispose()
  })

  it('starts with a loss near that of guessing', () => {
    const model = make(name, [28, 28], 10, 3)
    const labels = tensor(Int32Array.from({ length: 64 }, (_, i) => i % 10))
    scope(() =>
      expect(crossEntropy(model.forward(normal([64, ...model.info.inputShape!], 6)), labels).item()).toBeLessThan(2 * Math.log(10)),
    )
    labels.dispose()
    model.dispose()
  })

  it('learns eight examples by heart', () => {
    const model = make(name, [28, 28], 4, 3)
    const x = normal([8, ...model.info.inputShape!], 6)
    const labels = tensor(new Int32Array([0, 1, 2, 3, 3, 2, 1, 0]))
    const leaves = [...model.leaves().values()].map(({ value }) => value)
    const velocity = leaves.map((p) => zeros(p.shape))
    let loss = 0
    for (let i = 0; i < 60; i++)
      scope(() => {
        const { value, grads } = valueAndGrad(() => crossEntropy(model.forward(x, { training: true, step: i }), labels), leaves)
        loss = value.item()
        leaves.forEach((p, k) => sgdStep(p, grads[k]!, velocity[k]!, null, { lr: 0.02, momentum: 0.9, weightDecay: 0, nesterov: false }))
      })
    expect(loss).toBeLessThan(0.05)
    for (const t of [x, labels, ...velocity]) t.dispose()
    model.dispose()
  })
})

describe('sizes', () => {
  const parameters = (name: ArchitectureName, shape = [28, 28]): number => {
    const model = make(name, shape, 10)
    const n = model.parameters()
    model.dispose()
    return n
  }

  it('are those of the papers where there are papers', () => {
    expect(parameters('lenet5')).toBe(61_706)
    expect(parameters('mlp')).toBe(266_610)
  })

  it('of convnet: most parameters in one layer, few multiply-adds', () => {
    const model = make('convnet', [28, 28], 10)
    const total = model.parameters()
    expect(total).toBeGreaterThan(100_000)
    expect(total).toBeLessThan(300_000)
    expect(
      model
        .weights()
        .find(({ path }) => path === 'fc1.weight')!
        .weight.dense().size / total,
    ).toBeGreaterThan(0.9)
    scope(() => expect(cost(model, zeros([1, 1, 28, 28])).macs).toBeLessThan(550_000))
    model.dispose()
  })

  it('follow the data', () => {
    expect(parameters('mlp', [4])).toBe(4 * 300 + 300 + 300 * 100 + 100 + 100 * 10 + 10)
    for (const name of ['lenet5', 'convnet'] as const) {
      const model = make(name, [3, 32, 32], 5)
      scope(() => expect(model.forward(normal([2, 3, 32, 32])).shape).toEqual([2, 5]))
      model.dispose()
      expect(() => make(name, [4], 5)).toThrowError(code('ERR_OPTION', /takes images/))
      expect(() => make(name, [6, 6], 5)).toThrowError(code('ERR_OPTION', /too small/))
    }
  })
})
