/** Small nets through the public API: gradients, and power iteration on a kept graph. The data is that of rivals/python/torch_nets.py. */
import { floats, sumAbs } from '../lib/data.js'
import { resetPeak, withPeak, type ServedCase } from '../lib/serve.js'
import type { Api } from './tersor-kernels.js'

const inputs: Readonly<Record<string, readonly number[]>> = { mlp: [784], lenet5: [1, 28, 28] }

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** A net with weights uniform in +-1 / sqrt(fan in) and biases in +-0.1: the i-th parameter from seed 100 + i. */
function network(api: Api, name: string): any {
  const { spec } = api.architectures[name]({ inputShape: inputs[name], classes: 10 })
  let i = 0
  const weight = (_path: string, shape: readonly number[]): any => {
    const limit = shape.length === 1 ? 0.1 : 1 / Math.sqrt(product(shape.slice(1)))
    const values = floats(product(shape), 100 + i++).map((v) => v * limit)
    return new api.DenseWeight(api.tensor(values, shape))
  }
  const info = { name, task: 'classification', history: [] }
  return new api.Model(api.build(spec, { weight }), info)
}

function make(api: Api, { net: name, batch }: Readonly<Record<string, any>>): { params: any[]; loss: () => any } {
  const shape = [batch, ...inputs[name as string]!]
  const x = api.tensor(floats(product(shape), 7), shape)
  const labels = api.tensor(
    Int32Array.from({ length: batch }, (_, i) => (i * 7) % 10),
    [batch],
  )
  resetPeak(api)
  const net = network(api, name)
  const params = [...net.leaves().values()].map((leaf: any) => leaf.value)
  return { params, loss: () => api.ops.crossEntropy(net.forward(x), labels) }
}
const total = (list: readonly any[]): number => list.reduce((s, t) => s + sumAbs(t.read()), 0)

export const netKernels: Readonly<Record<string, (api: Api, p: any) => ServedCase>> = {
  'net.gradient': (api, p) => {
    const { params, loss } = make(api, p)
    const call = (): void => {
      const { value, grads } = api.valueAndGrad(loss, params)
      for (const t of [value, ...grads]) t.dispose()
    }
    return withPeak({ calls: [call], check: total(api.scope(() => api.grad(loss, params))) }, api)
  },
  'net.hessian': (api, p) => {
    const { params, loss } = make(api, p)
    const operator = api.hvpOperator(loss, params)
    const { innerProduct, axpby } = api.ops
    const v = params.map((t, i) => api.tensor(floats(product(t.shape), 200 + i), t.shape))
    const check = total(operator.apply(v))
    const norm = (list: readonly any[]): number => Math.sqrt(list.reduce((s, t) => s + innerProduct(t, t), 0))
    const scale = (from: readonly any[]): void => {
      const by = 1 / (norm(from) + 1e-6)
      from.forEach((t, i) => axpby(v[i], t, by, 0))
    }
    scale(v)
    // Eigenvalue v' H v, then v := H v / |H v|.
    const call = (): number => {
      const product = operator.apply(v)
      const value = v.reduce((s: number, t, i) => s + innerProduct(t, product[i]), 0)
      scale(product)
      for (const t of product) t.dispose()
      return value
    }
    return withPeak({ calls: [call], check, release: () => operator.dispose() }, api)
  },
}
