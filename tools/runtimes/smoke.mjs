/**
 * What a host must be able to do, one line of JSON for each part: { part, ok, note }. Plain JavaScript: it runs as it is in Node, Bun and Deno.
 * argv: the folder dist/ of a build.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

const dist = isMainThread ? process.argv[2] : workerData.dist
const module = (name) => import(pathToFileURL(join(dist, 'esm', name)).href)
const check = (holds, what) => {
  if (!holds) throw new Error(`wrong: ${what}`)
}
const close = (a, b, by = 1e-5) => a.length === b.length && a.every((v, i) => Math.abs(v - b[i]) <= by)

let [tersor, nn, data] = []
const lines = () => {
  let state = 1
  const uniform = () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()) }
}
function net(rng = lines()) {
  const { spec, inputShape } = tersor.architectures.mlp({ inputShape: [8], classes: 3 })
  return new tersor.Model(nn.build(spec, nn.freshValues(rng)), {
    name: 'mlp',
    task: 'classification',
    classes: ['a', 'b', 'c'],
    inputShape,
    history: [],
  })
}
const input = (rows = 1) => ({ data: Float32Array.from({ length: rows * 8 }, (_, i) => Math.sin(i)), shape: [rows, 8] })

const parts = {
  async load() {
    tersor = await module('index.js')
    nn = await module('nn/index.js')
    data = await module('data/index.js')
    const required = createRequire(import.meta.url)(join(dist, 'cjs', 'index.js'))
    const before = required.memory().tensors
    const t = tersor.tensor([1, 2, 3])
    check(required.memory().tensors === before + 1, 'import and require share one addon')
    t.dispose()
    const { levels } = tersor.isa()
    return levels.filter((l) => l.allowed).at(-1).name
  },
  async math() {
    const { ops, scope, session, tensor } = tersor
    const out = scope(() => ops.matmul(tensor([[1, 2], [3, 4]]), tensor([[5, 6], [7, 8]])).read()) // prettier-ignore
    check(close([...out], [19, 22, 43, 50]), 'a product of matrices')
    const grown = await Promise.all(
      [1, 2, 3].map((k) => session((x) => ops.mul(x, tensor([2, 3]))).run({ data: Float32Array.of(k, k), shape: [2] })),
    )
    check(close([...grown[2].output.data], [6, 9]), 'calls off the thread')
    let code
    try {
      ops.matmul(tensor([[1, 2]]), tensor([[1, 2]]))
    } catch (e) {
      code = e.code
    }
    check(code === 'ERR_SHAPE', 'a typed error')
  },
  async train() {
    const rng = lines()
    const labels = Int32Array.from({ length: 96 }, (_, i) => i % 3)
    const features = Float32Array.from({ length: 96 * 8 }, (_, i) => (i % 8 === labels[i >> 3] ? 2 : 0) + rng.normal() / 4)
    const set = data.numberDataset({ name: 'points', features, inputShape: [8], labels, classes: ['a', 'b', 'c'] })
    const { model, epochs } = await tersor.train(net(), set, { epochs: 4, batchSize: 16, schedule: { kind: 'constant', lr: 0.1 } }) // 24 steps
    check(epochs.at(-1).loss < epochs[0].loss / 2, 'the loss falls')
    const { accuracy } = await tersor.evaluate(model, set)
    check(accuracy > 0.95, `accuracy ${accuracy}`)
    const { model: small } = await tersor.compress(model, tersor.presets['int8-static'].recipe, { data: set })
    const again = await tersor.evaluate(small, set)
    check(again.accuracy > 0.95, `accuracy in int8 ${again.accuracy}`)
  },
  async session() {
    const s = tersor.session(net())
    const { output } = s.runSync(input())
    const many = await Promise.all(Array.from({ length: 50 }, () => s.run(input())))
    check(
      many.every((one) => close([...one.output.data], [...output.data], 0)),
      'fifty runs at once',
    )
    check(s.info().classes[0].planned, 'planned')
    const stop = new AbortController()
    stop.abort()
    const code = await s.run(input(), { signal: stop.signal }).catch((e) => e.code)
    check(code === 'ERR_ABORTED', `an aborted run: ${code}`)
    const x = input()
    const times = Array.from({ length: 300 }, () => {
      const began = performance.now()
      s.runSync(x)
      return performance.now() - began
    }).sort((a, b) => a - b)
    s.dispose()
    return `${(1000 * times[150]).toFixed(0)} us a run`
  },
  async worker() {
    const start = (mode) => new Worker(fileURLToPath(import.meta.url), { workerData: { mode, dist } })
    const first = (worker) =>
      new Promise((resolve, reject) => {
        worker.once('message', resolve)
        worker.once('error', reject)
      })
    const s = tersor.session(net())
    const here = s.runSync(input()).output.data
    const once = start('once')
    const ended = new Promise((resolve) => once.once('exit', resolve))
    check(close([...(await first(once))], [...here], 0), 'the same numbers in a worker')
    check((await ended) === 0, 'it ends by itself')
    const before = tersor.memory().bytes
    for (let i = 0; i < 6; i++) {
      const worker = start('flood')
      await first(worker)
      await worker.terminate()
    }
    for (let i = 0; i < 200 && tersor.memory().bytes > before; i++) await new Promise((resolve) => setTimeout(resolve, 10))
    check(tersor.memory().bytes <= before, `memory of six that were terminated: ${tersor.memory().bytes - before} bytes left`)
    s.dispose()
    return 'six terminated under way'
  },
  async files() {
    const dir = mkdtempSync(join(tmpdir(), 'tersor-smoke-'))
    try {
      const model = net()
      const expected = tersor.session(model).runSync(input(2)).output.data
      for (const name of ['model.safetensors', 'model.onnx']) {
        if (name.endsWith('.onnx')) await tersor.saveOnnx(model, join(dir, name), { check: false })
        else tersor.save(model, join(dir, name))
        const found = tersor.session(tersor.load(join(dir, name)))
        const value = name.endsWith('.onnx') ? await found.run({ x: input(2) }).catch(() => found.run(input(2))) : await found.run(input(2))
        check(close([...Object.values(value)[0].data], [...expected], 1e-5), name)
      }
    } finally {
      rmSync(dir, { recursive: true })
    }
  },
}

if (isMainThread) {
  for (const [part, run] of Object.entries(parts)) {
    try {
      console.log(JSON.stringify({ part, ok: true, note: (await run()) ?? '' }))
    } catch (e) {
      console.log(JSON.stringify({ part, ok: false, note: `${e.code ?? e.name}: ${e.message}\n${e.stack}` }))
    }
  }
} else {
  await parts.load()
  const s = tersor.session(net())
  parentPort.postMessage((await s.run(input())).output.data)
  while (workerData.mode === 'flood') await Promise.all(Array.from({ length: 8 }, () => s.run(input(64))))
}
