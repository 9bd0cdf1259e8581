// The training loop with a task of your own: what a batch is, its loss, how good the model is. Everything else (optimizer, schedule, checkpoints,
// exact resume) is the loop's.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Model, ops, scope, tensor, trainTask } from 'tersor'
import { activation, build, freshValues, linear, sequential } from 'tersor/nn'

// A net that removes noise from waves; its batches are made as they are needed, from the seed and the step alone.
const wave = (phase) => Array.from({ length: 16 }, (_, t) => Math.sin(phase + t / 2))
function waves(step, seed) {
  const phases = ops.randomUniform([32], { seed, stream: step }).read()
  const clean = tensor(Float32Array.from([...phases].flatMap((p) => wave(6.28 * p))), [32, 16])
  return { clean, noisy: ops.add(clean, ops.scaleShift(ops.randomNormal([32, 16], { seed: seed + 1, stream: step }), 0.5, 0)) }
}
const denoise = {
  kind: 'denoise',
  name: 'waves',
  examples: 32 * 40,
  batches: () => ({ batchesPerEpoch: 40, next: () => Promise.resolve('any data: here the step says it all') }),
  count: () => 32,
  split: (batch) => [batch],
  loss: ({ forward, step, settings }) => {
    const { clean, noisy } = waves(step, settings.seed)
    return ops.mse(forward(noisy), clean)
  },
  goal: { name: 'mse', mode: 'min' },
  evaluate: (model) =>
    Promise.resolve({
      mse: scope(() => {
        const { clean, noisy } = waves(0, 1000)
        return ops.mse(model.forward(noisy), clean).item()
      }),
    }),
}

const normal = ops.randomNormal([2 ** 12], { seed: 1 }).read()
const uniform = ops.randomUniform([2 ** 12], { seed: 1 }).read()
let at = 0
const rng = { normal: () => normal[at++ % 4096], uniform: () => uniform[at++ % 4096] }
const root = sequential({
  in: linear({ in: 16, out: 32, bias: true, init: 'he' }),
  tanh: activation({ function: 'tanh' }),
  out: linear({ in: 32, out: 16, bias: true, init: 'fanIn' }),
})
const untrained = new Model(build(root, freshValues(rng)), { name: 'denoiser', task: 'regression', history: [] })

const folder = mkdtempSync(join(tmpdir(), 'tersor-example-'))
const settings = {
  epochs: 8,
  optimizer: { kind: 'adam' },
  schedule: { kind: 'cosine', lr: 0.01 },
  keepBest: true,
  checkpointDir: join(folder, 'checkpoints'),
}
// Interrupted in the fourth epoch ...
const stop = new AbortController()
const onEvent = (e) => e.type === 'train-epoch' && e.epoch === 3 && stop.abort()
await trainTask(untrained, denoise, { ...settings, onEvent, signal: stop.signal }).catch((e) => console.log(`stopped: ${e.code}`))
// ... and gone on with, to the same bits as without the interruption.
const resumed = await trainTask(untrained, denoise, { ...settings, resume: true })
const straight = await trainTask(untrained, denoise, { ...settings, checkpointDir: join(folder, 'other') })
const bits = (model) => Buffer.from(model.leaves().get('in.weight').value.read().buffer).toString('base64')
console.log(`same bits: ${bits(resumed.model) === bits(straight.model)}`)
const mse = straight.epochs.map((e) => e.metrics.mse)
console.log(`mse on held-out waves: ${mse[0].toFixed(3)} -> ${mse.at(-1).toFixed(3)}; noise: 0.250`)
console.log(`best epoch has the least: ${straight.best.value === Math.min(...mse)}`)
rmSync(folder, { recursive: true })
