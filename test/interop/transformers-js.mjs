/** node transformers-js.mjs FOLDER MODELS RUNS     RUNS: a list of { name, task, dtype, texts, options }; pipelines of @huggingface/transformers on local files alone, a JSON line for each. */
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, models, runs] = process.argv.slice(2)
const found = createRequire(path.join(folder, 'x.js')).resolve('@huggingface/transformers')
const { pipeline, env } = await import(pathToFileURL(found).href)
env.localModelPath = models
env.allowRemoteModels = false
for (const { name, task, dtype, texts, options } of JSON.parse(runs)) {
  const run = await pipeline(task, name, { dtype })
  const result = await run(texts, options)
  console.log(JSON.stringify(result.tolist ? result.tolist() : result))
}
process.exit(0)
