// A pool of worker threads, each with a model and a session of its own: for programs whose own JavaScript around the runs is the load. (Runs of one session
// overlap without workers; all workers share the native threads of the process.) A worker may be ended at any time.
import { once } from 'node:events'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { architectures, memory, Model, session } from 'tersor'
import { build, freshValues } from 'tersor/nn'

if (isMainThread) {
  const before = memory().bytes
  const workers = Array.from({ length: 2 }, (_, id) => new Worker(new URL(import.meta.url), { workerData: { id } }))
  const tasks = Array.from({ length: 12 }, (_, i) => i)
  const results = []
  await Promise.all(
    workers.map(async (worker) => {
      await once(worker, 'message') // ready
      for (let task = tasks.shift(); task !== undefined; task = tasks.shift()) {
        worker.postMessage(task)
        const [{ best }] = await once(worker, 'message')
        results.push({ task, best })
      }
    }),
  )
  console.log('tasks done:', results.length)
  for (const worker of workers) await worker.terminate()
  console.log('native memory left by workers:', memory().bytes - before)
} else {
  const rng = { uniform: Math.random, normal: () => Math.random() - 0.5 } // an untrained model: load('file') gives a real one
  const { spec } = architectures.mlp({ inputShape: [16], classes: 3 })
  const s = session(new Model(build(spec, freshValues(rng)), { name: `worker ${workerData.id}`, task: 'classification', history: [] }))
  parentPort.on('message', async (task) => {
    const { output } = await s.run({ data: new Float32Array(16).fill(task), shape: [1, 16] })
    parentPort.postMessage({ best: output.data.indexOf(Math.max(...output.data)) })
  })
  parentPort.postMessage('ready')
}
