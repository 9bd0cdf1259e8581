/** Training of nets for images through the public API, SGD with momentum. The data is that of rivals/python/torch_images.py. */
import { floats, sumAbs } from '../lib/data.js'
import { resetPeak, withPeak, type ServedCase } from '../lib/serve.js'
import type { Api } from './tersor-kernels.js'

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** Weights uniform in +-1 / sqrt(fan in) by the order of their names, vectors as the net makes them: 1 in scales, 0 in shifts. */
function network(api: Api, name: string, inputShape: readonly number[]): any {
  const { spec } = api.architectures[name]({ inputShape, classes: 10 })
  const weight = (path: string, shape: readonly number[]): any => {
    const values = new Float32Array(product(shape)).fill(shape.length === 1 && /(weight|gamma)$/.test(path) ? 1 : 0)
    return new api.DenseWeight(api.tensor(values, shape))
  }
  const state = (_path: string, shape: readonly number[], value: number): any =>
    api.tensor(new Float32Array(product(shape)).fill(value), shape)
  const net = new api.Model(api.build(spec, { weight, state }), { name, task: 'classification', history: [] })
  const leaves = new Map<string, any>(net.leaves())
  ;[...leaves.keys()].sort().forEach((path, i) => {
    const { value } = leaves.get(path)
    if (value.shape.length === 1) return
    const limit = 1 / Math.sqrt(product(value.shape.slice(1)))
    const from = api.tensor(
      floats(value.size, 100 + i).map((v) => v * limit),
      value.shape,
    )
    api.ops.axpby(value, from, 1, 0)
    from.dispose()
  })
  return net
}

function train(api: Api, p: any): ServedCase {
  const shape = [p.channels, p.side, p.side]
  const data = api.tensor(floats(p.images * product(shape), 7), [p.images, ...shape])
  const all = api.tensor(
    Int32Array.from({ length: p.images }, (_, i) => (i * 7) % 10),
    [p.images],
  )
  resetPeak(api)
  const net = network(api, p.net, shape)
  const leaves = net.leaves()
  const paths = [...leaves.keys()]
  const values = paths.map((path) => leaves.get(path).value)
  const optimizer = new api.optim.Optimizer({ kind: 'sgd', momentum: 0.9 }, leaves)
  let step = 0
  const gradients = (from: number, count: number): any => {
    const x = api.ops.slice(data, [from, 0, 0, 0], [count, ...shape])
    const y = api.ops.slice(all, [from], [count])
    return api.valueAndGrad(() => api.ops.crossEntropy(net.forward(x, { training: true, seed: 0, step }), y), values).grads
  }
  const call = (): void => {
    for (let from = 0; from < p.images; from += p.batch)
      api.scope(() => {
        const grads = gradients(from, Math.min(p.batch, p.images - from))
        optimizer.step(new Map(paths.map((path, i) => [path, grads[i]])), 1e-6)
        step++
      })
  }
  const check = api.scope(() => gradients(0, p.batch).reduce((s: number, t: any) => s + sumAbs(t.read()), 0))
  return withPeak({ calls: [call], check, release: () => optimizer.dispose() }, api)
}

export const imageKernels: Readonly<Record<string, (api: Api, p: any) => ServedCase>> = { 'images.train': train }
