/** Writes a model of bench/cases/transformers.ts as `saveOnnx` does: a process of its own, so that the rival's holds nothing of Tersor's. Arguments: sizes as JSON, the file. */
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { transformerIds, transformerModel, type TransformerSizes } from './transformers.js'

const folder = join(import.meta.dirname, '..', '..')
const load = (entry: string): Promise<any> => import(pathToFileURL(join(folder, 'dist', 'esm', entry)).href)
const index = await load('index.js')
const api = { ...(await load('nn/index.js')), ...index, passes: index.quantize }
const [sizes, file] = process.argv.slice(2)
const p = JSON.parse(sizes!) as TransformerSizes
const model = await transformerModel(api, p)
const ids = api.tensor(transformerIds(p), [1, p.tokens])
// Sizes that are fixed are what a runtime can plan best with.
await api.saveOnnx(model, file, { example: { ids }, dynamic: {}, integers: 'i32', check: false, dynamicQuantization: p.form !== 'f32' })
