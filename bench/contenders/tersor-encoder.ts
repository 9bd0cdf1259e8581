/** A training step of a transformer encoder through the public API. The data is that of rivals/python/torch_encoder.py. */
import { floats, sumAbs } from '../lib/data.js'
import { resetPeak, withPeak, type ServedCase } from '../lib/serve.js'
import type { Api } from './tersor-kernels.js'

const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** Weights in +-0.05 (scales of norms: 1 more) by the order of their names; the loss is the mean of y times fixed numbers. */
function encoder(api: Api, p: any): ServedCase {
  const { layers, width, hidden, heads, batch, tokens, precision = 'f32' } = p
  const shape = [batch, tokens, width]
  const [x, t] = [7, 8].map((seed) => api.tensor(floats(product(shape), seed), shape))
  resetPeak(api)
  const block = api.encoderBlock({ width, hidden, heads, norm: 'post' })
  const spec = api.sequential(Object.fromEntries(Array.from({ length: layers }, (_, i) => [String(i), block])))
  const weight = (_path: string, shape: readonly number[]): any => new api.DenseWeight(api.zeros(shape))
  const model = new api.Model(api.build(spec, { weight }), { name: 'encoder', task: 'embedding', history: [] })
  const leaves = new Map<string, any>(model.leaves())
  ;[...leaves.keys()].sort().forEach((path, i) => {
    const { value } = leaves.get(path)
    const base = path.endsWith('gamma') ? 1 : 0
    value.write(floats(product(value.shape), 100 + i).map((v) => base + v * 0.05))
  })
  const paths = [...leaves.keys()]
  const values = paths.map((path) => leaves.get(path).value)
  const optimizer = new api.optim.Optimizer({ kind: 'adam' }, leaves)
  const { mul, scaleShift, sum, widened, withPrecision } = api.ops
  const forward = (): any => withPrecision(precision, () => widened(model.forward(x, { training: true, seed: 0, step: 0 })))
  const loss = (): any => scaleShift(sum(mul(forward(), t)), 1 / product(shape), 0)
  const call = (): void =>
    api.scope(() => {
      const { grads } = api.valueAndGrad(loss, values)
      optimizer.step(new Map(paths.map((path, i) => [path, grads[i]])), 1e-4)
    })
  const check = api.scope(() => api.valueAndGrad(loss, values).grads.reduce((s: number, g: any) => s + sumAbs(g.read()), 0))
  return withPeak({ calls: [call], check, release: () => optimizer.dispose() }, api)
}

export const encoderKernels: Readonly<Record<string, (api: Api, p: any) => ServedCase>> = { 'encoder.step': encoder }
