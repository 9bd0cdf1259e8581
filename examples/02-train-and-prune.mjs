// Trains a small net, removes 80 % of its weights with learning-rate rewinding, stores the rest as sparse int8.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { architectures, compress, evaluate, load, Model, ops, prune, quantize, recipe, save, sparsify, train } from 'tersor'
import { numberDataset } from 'tersor/data'
import { build, freshValues } from 'tersor/nn'

// Random numbers by seed: the same run gives the same file on every machine.
function numbers(seed) {
  const [u, z] = [ops.randomUniform([2 ** 16], { seed }).read(), ops.randomNormal([2 ** 16], { seed, stream: 1 }).read()]
  let i = 0
  return { uniform: () => u[i++ % u.length], normal: () => z[i++ % z.length] }
}

// Points in 16 dimensions around four centres.
function points(size, seed) {
  const centre = numbers(1)
  const centres = Array.from({ length: 64 }, () => centre.normal())
  const random = numbers(seed)
  const labels = Int32Array.from({ length: size }, (_, i) => i % 4)
  const features = Float32Array.from({ length: size * 16 }, (_, i) => centres[(Math.floor(i / 16) % 4) * 16 + (i % 16)] + random.normal())
  return numberDataset({ name: 'points', features, inputShape: [16], labels, classes: ['a', 'b', 'c', 'd'] })
}
const data = points(800, 2)
const heldOut = points(400, 3)

const { spec, inputShape } = architectures.mlp({ inputShape: [16], classes: 4 })
const info = { name: 'points', task: 'classification', classes: data.classes, inputShape, history: [] }
const untrained = new Model(build(spec, freshValues(numbers(4))), info)
const { model } = await train(untrained, data, { epochs: 4, batchSize: 32, schedule: { kind: 'cosine', lr: 0.05 } })

const { model: small, report } = await compress(
  model,
  recipe([
    [prune.magnitude({ iterative: { fraction: 0.2, rounds: 7 }, scope: 'global', retrain: train.rewindLearningRate({ epochs: 2 }) })],
    [quantize.rtn({ bits: 8 })],
    [sparsify.csr()],
  ]),
  { data },
)

const folder = mkdtempSync(join(tmpdir(), 'tersor-example-'))
const [bytes, smallBytes] = [save(model, join(folder, 'model.safetensors')), save(small, join(folder, 'small.safetensors'))]
const loaded = load(join(folder, 'small.safetensors'))
rmSync(folder, { recursive: true })

const [before, after] = [await evaluate(model, heldOut), await evaluate(loaded, heldOut)]
console.log(`${report.nonzeros} of ${report.parameters} weights are left`)
console.log(`${bytes} -> ${smallBytes} bytes, ${(bytes / smallBytes).toFixed(1)}x smaller`)
console.log(`accuracy ${before.accuracy} -> ${after.accuracy} on ${after.n} examples`)
