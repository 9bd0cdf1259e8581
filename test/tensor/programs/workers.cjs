// Two workers compute at once with the main thread; a handle of one thread means nothing in another.
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
const { native } = require(process.env.TERSOR_LOADER).loadAddon()
const op = Object.fromEntries(native.schemas.map((s, i) => [s.slice(0, s.indexOf('(')), i]))

function compute(seed) {
  native.ops[op.random_uniform]([120, 120], seed, 0)
  const x = native.out[0]
  let sum = 0
  for (let i = 0; i < 40; i++) {
    native.ops[op.matmul](x, x, false, false)
    const y = native.out[0]
    const out = new Float32Array(120 * 120)
    native.read(y, out)
    sum += out[i]
    native.release(y)
  }
  return { sum, x }
}

function foreign(handles) {
  const codes = handles.map((h) => (native.ops[op.neg](h) < 0 ? native.lastError().code : 'accepted'))
  return { codes, released: handles.map((h) => native.release(h)) }
}

async function main() {
  const mine = compute(1)
  const mineHandles = [mine.x, ...Array.from({ length: 50 }, () => native.create(1, [2]) && native.out[0])]
  const ask = (seed) =>
    new Promise((resolve, reject) => {
      const worker = new Worker(__filename, { workerData: { seed, handles: mineHandles } })
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  const [a, b] = await Promise.all([ask(1), ask(2)])
  console.log(
    JSON.stringify({
      mine: mine.sum,
      a,
      b,
      back: foreign([...a.handles, ...b.handles]),
      alive: mineHandles.every((h) => native.ops[op.neg](h) === 1),
    }),
  )
}

if (isMainThread) main()
else {
  const { seed, handles } = workerData
  const { sum, x } = compute(seed)
  const own = [x, ...Array.from({ length: 50 }, () => native.create(1, [2]) && native.out[0])]
  parentPort.postMessage({ sum, ...foreign(handles), handles: own, alive: own.every((h) => native.ops[op.neg](h) === 1) })
}
