// Terminates workers with calls in flight, in the middle of synchronous work, and while creating; then looks at what is left.
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
const { native } = require(process.env.TERSOR_LOADER).loadAddon()

const F32 = 1
const op = Object.fromEntries(native.schemas.map((s, i) => [s.slice(0, s.indexOf('(')), i]))

function work(mode) {
  const make = (n) => {
    if (native.create(F32, [n, n]) < 0) throw new Error(native.lastError().message)
    return native.out[0]
  }
  const x = make(256)
  parentPort.postMessage('ready')
  if (mode === 'async') {
    const next = () => native.callAsync(op.matmul, x, x, false, false)?.then((r) => (native.release(r[0]), next()))
    for (let i = 0; i < 6; i++) next()
  } else if (mode === 'sync') {
    for (;;) {
      native.ops[op.matmul](x, x, false, false)
      native.release(native.out[0])
    }
  } else {
    for (let i = 0; i < 1e6; i++) native.callAsync(op.neg, make(8))
  }
}

async function main() {
  const trials = Number(process.argv[2])
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
  const own = native.create(F32, [64, 64]) && native.out[0]
  const before = native.memory().bytes
  let slowest = 0
  for (let i = 0; i < trials; i++) {
    const worker = new Worker(__filename, { workerData: ['async', 'sync', 'create'][i % 3] })
    await new Promise((resolve, reject) => (worker.once('message', resolve), worker.once('error', reject)))
    await wait((i * 7) % 12)
    const start = performance.now()
    await worker.terminate()
    slowest = Math.max(slowest, performance.now() - start)
    if (native.ops[op.matmul](own, own, false, false) !== 1) throw new Error('the main thread is broken')
    native.release(native.out[0])
  }
  for (let i = 0; i < 500 && native.memory().bytes !== before; i++) await wait(10)
  console.log(JSON.stringify({ trials, before, after: native.memory().bytes, tensors: native.memory().tensors, slowest }))
}

if (isMainThread) main()
else work(workerData)
