// A small HTTP server: POST a JSON list of numbers, get scores. Runs happen off the event loop's thread; a client that leaves cancels its run.
// node examples/15-server.mjs [port] serves; without a port it asks itself a few times and ends.
import { createServer } from 'node:http'
import { architectures, Model, session } from 'tersor'
import { build, freshValues } from 'tersor/nn'

const rng = { uniform: Math.random, normal: () => Math.random() - 0.5 } // an untrained model: load('file') gives a real one
const { spec, inputShape } = architectures.mlp({ inputShape: [16], classes: 3 })
const s = session(new Model(build(spec, freshValues(rng)), { name: 'mlp', task: 'classification', history: [] }))
s.prepare({ data: new Float32Array(16), shape: [1, 16] }) // before the first request, not in it

const MOST = 1e5
async function body(request) {
  let text = ''
  for await (const chunk of request) if ((text += chunk).length > MOST) throw Object.assign(new Error('too long'), { status: 413 })
  const values = JSON.parse(text)
  if (!Array.isArray(values) || values.length !== 16 || !values.every(Number.isFinite))
    throw Object.assign(new Error('16 numbers are needed'), { status: 400 })
  return Float32Array.from(values)
}

const server = createServer(async (request, response) => {
  const gone = new AbortController()
  response.on('close', () => gone.abort())
  try {
    const { output } = await s.run({ data: await body(request), shape: [1, ...inputShape] }, { signal: gone.signal })
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ scores: [...output.data] }))
  } catch (error) {
    if (error.code === 'ERR_ABORTED') return
    response.statusCode = error.status ?? (error instanceof SyntaxError ? 400 : 500)
    response.end(JSON.stringify({ error: error.message }))
  }
})

const port = Number(process.argv[2] ?? 0)
await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
if (port === 0) {
  const url = `http://127.0.0.1:${server.address().port}/`
  const ask = async (values) => {
    const answer = await fetch(url, { method: 'POST', body: JSON.stringify(values) })
    return { status: answer.status, ...(await answer.json()) }
  }
  const answers = await Promise.all(Array.from({ length: 10 }, (_, i) => ask(new Array(16).fill(i / 10))))
  console.log('answers:', answers.filter((a) => a.status === 200 && a.scores.length === 3).length)
  console.log('wrong input:', JSON.stringify(await ask([1, 2])))
  server.close()
  server.closeAllConnections()
  s.dispose()
} else console.log(`listening on http://127.0.0.1:${port}/`)
