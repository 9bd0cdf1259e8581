// A data set read from a csv file in blocks, batches made in a worker, a classifier trained on them by hand, its figures batch by batch.
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { metrics, ops, scope, tensor, valueAndGrad, zeros } from 'tersor'
import { openLoader, streamData } from 'tersor/data'

// Three clouds of points, 1,200 rows.
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-example-'))
const file = path.join(dir, 'clouds.csv')
const row = (i) => [
  Math.sin(i * 12.9) * 1.1 + [-1.5, 1.5, 0][i % 3],
  Math.cos(i * 78.2) * 1.1 + [0, 0, 2][i % 3],
  ['left', 'right', 'top'][i % 3],
]
fs.writeFileSync(file, `x,y,place\n${Array.from({ length: 1200 }, (_, i) => row(i).join()).join('\n')}\n`)

const data = await streamData(`csv:${file},label=place`, { classes: ['left', 'right', 'top'] })
const loader = openLoader(data, { batchSize: 50, seed: 1 })
console.log(`${data.size} rows of ${data.inputShape}, ${loader.batchesPerEpoch} batches an epoch`)

// One linear layer, two epochs of plain gradient descent.
let [w, b] = [zeros([2, 3]), zeros([3])]
const scores = (x) => ops.add(ops.matmul(x, w), b)
for (let step = 0; step < 2 * loader.batchesPerEpoch; step++) {
  const { x, shape, labels } = await loader.next()
  ;[w, b] = scope(() => {
    const [inputs, targets] = [tensor(x, shape), tensor(labels, [labels.length])]
    const { grads } = valueAndGrad(() => ops.crossEntropy(scores(inputs), targets), [w, b])
    return [w, b].map((p, k) => ops.sub(p, ops.mul(tensor(0.5), grads[k])))
  })
}
console.log(`batches from ${loader.mode.thread}`)

const confusion = new metrics.ConfusionMatrix(3)
const held = openLoader(data, { batchSize: 100, order: 'sequential' })
for (let i = 0; i < held.batchesPerEpoch; i++) {
  const { x, shape, labels } = await held.next()
  const found = scope(() => metrics.argmaxRows(scores(tensor(x, shape)).read(), 3))
  confusion.update(found, labels)
}
const { accuracy, macro, matthews } = confusion.result()
console.log(`accuracy ${accuracy.toFixed(2)}, macro F1 ${macro.f1.toFixed(2)}, Matthews ${matthews.toFixed(2)}`)
loader.close()
held.close()
fs.rmSync(dir, { recursive: true })
