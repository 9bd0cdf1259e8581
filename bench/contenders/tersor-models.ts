/** Whole models through sessions: what a user of Node gets, typed arrays in and out. */
import { sumAbs } from '../lib/data.js'
import type { ServedCase } from '../lib/serve.js'
import { encoderInput, encoderWeights } from './encoder-weights.js'
import type { Api } from './tersor-kernels.js'
import { transformerIds, transformerModel } from './transformers.js'

/** One model for all jobs of a form; that of another form goes first, for the large ones take a gigabyte. */
let kept: { readonly key: string; readonly model: Promise<any> } | undefined
async function once(p: any, make: () => Promise<any>): Promise<any> {
  const key = JSON.stringify(p)
  if (kept?.key !== key) {
    await kept?.model.then((model) => model.dispose())
    kept = { key, model: make() }
  }
  return kept.model
}

async function encoder(api: Api, p: any): Promise<any> {
  const { layers, width, hidden, heads } = p
  const block = api.encoderBlock({ width, hidden, heads, norm: 'post' })
  const spec = api.sequential(Object.fromEntries(Array.from({ length: layers }, (_, i) => [String(i), block])))
  const weights = encoderWeights(p)
  const weight = (path: string, shape: readonly number[]): any => new api.DenseWeight(api.tensor(weights.get(path), shape))
  let model = new api.Model(api.build(spec, { weight }), { name: 'encoder', task: 'embedding', history: [] })
  if (p.form === 'int8 dynamic') model = (await api.compress(model, api.recipe([[api.passes.dynamic()]]))).model
  return model
}

interface Subject {
  readonly model: (api: Api, p: any) => Promise<any>
  readonly inputs: (p: any) => any
}
const subjects: Readonly<Record<string, Subject>> = {
  encoder: { model: encoder, inputs: (p) => ({ data: encoderInput(p), shape: [1, p.tokens, p.width] }) },
  transformer: { model: transformerModel, inputs: (p) => ({ ids: { data: transformerIds(p), shape: [1, p.tokens] } }) },
}

const served =
  (subject: Subject, call: (s: any, inputs: any) => unknown) =>
  async (api: Api, p: any): Promise<ServedCase> => {
    const s = api.session(await once(p, () => subject.model(api, p)))
    const inputs = subject.inputs(p)
    const check = sumAbs(s.runSync(inputs).output.data)
    return { calls: [() => call(s, inputs)], check, release: () => s.dispose() }
  }

export const modelKernels: Readonly<Record<string, (api: Api, p: any) => Promise<ServedCase>>> = Object.fromEntries(
  Object.entries(subjects).flatMap(([name, subject]) => [
    [`model.${name}`, served(subject, (s, inputs) => s.run(inputs))],
    [`model.${name}.sync`, served(subject, (s, inputs) => s.runSync(inputs))],
  ]),
)
