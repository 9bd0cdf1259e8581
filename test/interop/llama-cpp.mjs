/**
 * node llama-cpp.mjs FOLDER IDS FILE...     GGUF files in node-llama-cpp of FOLDER/node_modules: a JSON line for each with the probabilities of the token
 * behind the ids (by id) and the tokens that follow them greedily.
 */
import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [folder, ids, ...files] = process.argv.slice(2)
const found = createRequire(path.join(folder, 'x.js')).resolve('node-llama-cpp')
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(found).href)
const llama = await getLlama({
  gpu: false,
  maxThreads: 1,
  build: 'never',
  skipDownload: true,
  logLevel: LlamaLogLevel.error,
  progressLogs: false,
})
const tokens = JSON.parse(ids)
for (const modelPath of files) {
  const model = await llama.loadModel({ modelPath, gpuLayers: 0 })
  const context = await model.createContext({ contextSize: 64, batchSize: 64 })
  const sequence = context.getSequence()
  const input = tokens.map((t, i) => (i < tokens.length - 1 ? t : [t, { generateNext: { probabilities: true } }]))
  const probabilities = (await sequence.controlledEvaluate(input)).at(-1).next.probabilities
  await sequence.clearHistory()
  const greedy = []
  for await (const t of sequence.evaluate(tokens, { temperature: 0 })) {
    greedy.push(t)
    if (greedy.length === 8) break
  }
  console.log(JSON.stringify({ probabilities: [...probabilities], greedy }))
  await context.dispose()
  await model.dispose()
}
process.exit(0)
