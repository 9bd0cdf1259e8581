/** Whole models through sessions: what a user of Node gets, typed arrays in and out. */
import { sumAbs } from '../lib/data.js'
import type { ServedCase } from '../lib/serve.js'
import { encoderInput, encoderWeights } from './encoder-weights.js'
import type { Api } from './tersor-kernels.js'

const encoders = new Map<string, any>()

/** One model for all jobs of a form. */
async function encoder(api: Api, p: any): Promise<any> {
  const key = JSON.stringify(p)
  if (encoders.has(key)) return encoders.get(key)
  const { layers, width, hidden, heads } = p
  const block = api.encoderBlock({ width, hidden, heads, norm: 'post' })
  const spec = api.sequential(Object.fromEntries(Array.from({ length: layers }, (_, i) => [String(i), block])))
  const weights = encoderWeights(p)
  const weight = (path: string, shape: readonly number[]): any => new api.DenseWeight(api.tensor(weights.get(path), shape))
  let model = new api.Model(api.build(spec, { weight }), { name: 'encoder', task: 'embedding', history: [] })
  if (p.form === 'int8 dynamic') model = (await api.compress(model, api.recipe([[api.quantize.dynamic()]]))).model
  encoders.set(key, model)
  return model
}

const served =
  (call: (s: any, inputs: any) => unknown) =>
  async (api: Api, p: any): Promise<ServedCase> => {
    const s = api.session(await encoder(api, p))
    const inputs = { data: encoderInput(p), shape: [1, p.tokens, p.width] }
    const check = sumAbs(s.runSync(inputs).output.data)
    return { calls: [() => call(s, inputs)], check, release: () => s.dispose() }
  }

export const modelKernels: Readonly<Record<string, (api: Api, p: any) => Promise<ServedCase>>> = {
  'model.encoder': served((s, inputs) => s.run(inputs)),
  'model.encoder.sync': served((s, inputs) => s.runSync(inputs)),
}
