/** What worker threads of the tests do: sessions in a loop until somebody ends them. workerData: { mode, library }. */
import { parentPort, workerData } from 'node:worker_threads'

const { mode, library } = workerData
const { ops, session, tensor } = await import(library)
const n = mode === 'once' ? 8 : 96
const w = tensor(new Float32Array(n * n).fill(0.01), [n, n])
const make = () => session((x) => ops.relu(ops.linear(ops.linear(x, w, null), w, null)))
const inputs = { data: new Float32Array(n * n).fill(1), shape: [n, n] }
const s = make()
parentPort.postMessage((await s.run(inputs)).output.data[0])
while (mode !== 'once') {
  if (mode === 'async') await Promise.all(Array.from({ length: 8 }, () => s.run(inputs)))
  else if (mode === 'sync') s.runSync(inputs)
  else {
    const other = make()
    other.prepare(inputs)
    void other.run(inputs)
    other.dispose()
  }
}
