/** Small nets through the public API: gradients, and power iteration on a kept graph. The data is that of rivals/python/torch_nets.py. */
import { floats, sumAbs } from '../lib/data.js'
import type { ServedCase } from '../lib/serve.js'
import type { Api } from './tersor-kernels.js'

interface Net {
  readonly input: readonly number[]
  readonly shapes: readonly (readonly number[])[]
  readonly forward: (api: Api, x: any, p: readonly any[]) => any
}

const nets: Readonly<Record<string, Net>> = {
  mlp: {
    input: [784],
    shapes: [[300, 784], [300], [100, 300], [100], [10, 100], [10]],
    forward: ({ ops }, x, [w1, b1, w2, b2, w3, b3]) => ops.linear(ops.relu(ops.linear(ops.relu(ops.linear(x, w1, b1)), w2, b2)), w3, b3),
  },
  lenet5: {
    input: [1, 28, 28],
    shapes: [[6, 1, 5, 5], [6], [16, 6, 5, 5], [16], [120, 400], [120], [84, 120], [84], [10, 84], [10]],
    forward: ({ ops }, x, [k1, c1, k2, c2, w1, b1, w2, b2, w3, b3]) => {
      const y1 = ops.maxPool2d(ops.relu(ops.conv2d(x, k1, c1, { padding: 2 })), 2)
      const y2 = ops.maxPool2d(ops.relu(ops.conv2d(y1, k2, c2)), 2)
      return ops.linear(ops.relu(ops.linear(ops.relu(ops.linear(ops.reshape(y2, [x.shape[0], 400]), w1, b1)), w2, b2)), w3, b3)
    },
  },
}

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** Weights uniform in +-1 / sqrt(fan in), biases in +-0.1: the i-th parameter from seed 100 + i. */
export function parameters(api: Api, net: Net): any[] {
  return net.shapes.map((shape, i) => {
    const limit = shape.length === 1 ? 0.1 : 1 / Math.sqrt(product(shape.slice(1)))
    return api.tensor(
      floats(product(shape), 100 + i).map((v) => v * limit),
      shape,
    )
  })
}

function make(api: Api, { net: name, batch }: Readonly<Record<string, any>>): { params: any[]; loss: () => any } {
  const net = nets[name as string]!
  const x = api.tensor(floats(batch * product(net.input), 7), [batch, ...net.input])
  const labels = api.tensor(
    Int32Array.from({ length: batch }, (_, i) => (i * 7) % 10),
    [batch],
  )
  const params = parameters(api, net)
  return { params, loss: () => api.ops.crossEntropy(net.forward(api, x, params), labels) }
}
const total = (list: readonly any[]): number => list.reduce((s, t) => s + sumAbs(t.read()), 0)

export const netKernels: Readonly<Record<string, (api: Api, p: any) => ServedCase>> = {
  'net.gradient': (api, p) => {
    const { params, loss } = make(api, p)
    const call = (): void => {
      const { value, grads } = api.valueAndGrad(loss, params)
      for (const t of [value, ...grads]) t.dispose()
    }
    return { calls: [call], check: total(api.scope(() => api.grad(loss, params))) }
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
    return { calls: [call], check, release: () => operator.dispose() }
  },
}
