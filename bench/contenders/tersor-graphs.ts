/** Sessions of ONNX files: runs, and the way from the file to the first result. */
import { sumAbs } from '../lib/data.js'
import type { ServedCase } from '../lib/serve.js'
import { onnxFile, type OnnxFile } from './onnx-files.js'
import type { Api } from './tersor-kernels.js'

/** As a session takes them. */
const inputsOf = ({ feeds }: OnnxFile): Record<string, unknown> =>
  Object.fromEntries(Object.entries(feeds).map(([name, { data, dims }]) => [name, { data, shape: dims }]))
const check = (out: Readonly<Record<string, { readonly data: Float32Array }>>): number =>
  Object.values(out).reduce((n, { data }) => n + sumAbs(data), 0)

const runs =
  (call: (s: any, inputs: unknown) => unknown) =>
  async (api: Api, p: any): Promise<ServedCase> => {
    const of = await onnxFile(p.file, p.tokens)
    const s = api.session(of.file)
    const inputs = inputsOf(of)
    return { calls: [() => call(s, inputs)], check: check(s.runSync(inputs)), release: () => s.dispose() }
  }

async function loads(api: Api, p: any): Promise<ServedCase> {
  const of = await onnxFile(p.file, p.tokens)
  const inputs = inputsOf(of)
  const once = (): Readonly<Record<string, { readonly data: Float32Array }>> => {
    const s = api.session(of.file)
    const out = s.runSync(inputs)
    s.dispose()
    return out
  }
  return { calls: [once], check: check(once()) }
}

export const graphKernels: Readonly<Record<string, (api: Api, p: any) => Promise<ServedCase>>> = {
  'onnx.run': runs((s, inputs) => s.run(inputs)),
  'onnx.run.sync': runs((s, inputs) => s.runSync(inputs)),
  'onnx.load': loads,
}
