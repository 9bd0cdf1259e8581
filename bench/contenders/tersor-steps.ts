/** Whole training steps and single eager operations through the public API. The data is that of rivals/python/torch_steps.py. */
import { floats, sumAbs } from '../lib/data.js'
import { resetPeak, withPeak, type ServedCase } from '../lib/serve.js'
import type { Api } from './tersor-kernels.js'

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** Weights in +-0.05 by the order of their names; a small rate, so that they hardly move. */
function language(api: Api, p: any): ServedCase {
  const { vocabulary, hidden, layers, batch, window } = p
  const ids = (shift: number): any =>
    api.tensor(
      Int32Array.from({ length: batch * window }, (_, i) => ((i + shift) * 7919) % vocabulary),
      [batch, window],
    )
  const [x, y] = [ids(0), ids(1)]
  resetPeak(api)
  const spec = api.languageModel({ vocabulary, width: hidden, hidden, layers })
  const shapes = new Map<string, readonly number[]>()
  const weight = (path: string, shape: readonly number[]): any => {
    shapes.set(path, shape)
    return new api.DenseWeight(api.zeros(shape))
  }
  const model = new api.Model(api.build(spec, { weight }), { name: 'lm', task: 'language', history: [] })
  const leaves = new Map<string, any>(model.leaves())
  ;[...leaves.keys()].sort().forEach((path, i) => {
    const { value } = leaves.get(path)
    const from = api.tensor(
      floats(product(value.shape), 100 + i).map((v) => v * 0.05),
      value.shape,
    )
    api.ops.axpby(value, from, 1, 0)
    from.dispose()
  })
  const optimizer = new api.optim.Optimizer({ kind: 'sgd' }, leaves)
  const paths = [...leaves.keys()]
  const values = paths.map((path) => leaves.get(path).value)
  const loss = (): any => api.ops.crossEntropy(model.forward(x, { training: true, seed: 0, step: 0 }), y)
  const call = (): void =>
    api.scope(() => {
      const { grads } = api.valueAndGrad(loss, values)
      const { grads: clipped } = api.optim.clipByNorm(new Map(paths.map((path, i) => [path, grads[i]])), 5)
      optimizer.step(clipped, 1e-4)
    })
  const check = api.scope(() => api.valueAndGrad(loss, values).grads.reduce((s: number, t: any) => s + sumAbs(t.read()), 0))
  return withPeak({ calls: [call], check, release: () => optimizer.dispose() }, api)
}

function eager(api: Api, n: number, kernel: string): ServedCase {
  const [a, b, c] = [11, 22, 33].map((seed) => api.tensor(floats(n, seed), [n]))
  const { add, mul, relu, sum } = api.ops
  const calls: Readonly<Record<string, () => any>> = {
    add: () => add(a, b),
    chain: () => {
      const ab = mul(a, b)
      const abc = add(ab, c)
      const y = relu(abc)
      ab.dispose()
      abc.dispose()
      return y
    },
    gradient: () => {
      const { value, grads } = api.valueAndGrad(() => sum(mul(a, a)), [a])
      value.dispose()
      return grads[0]
    },
  }
  const make = calls[kernel]!
  const first = make()
  const check = sumAbs(first.read())
  first.dispose()
  return { calls: [() => make().dispose()], check }
}

export const stepKernels: Readonly<Record<string, (api: Api, p: any) => ServedCase>> = {
  'language.step': language,
  'eager.add': (api, { n }) => eager(api, n, 'add'),
  'eager.chain': (api, { n }) => eager(api, n, 'chain'),
  'eager.gradient': (api, { n }) => eager(api, n, 'gradient'),
}
