// A net of half the layers learns from a larger one; pruning that distils at the same time; how loyal each is to the net that it came from.
import {
  architectures,
  classification,
  compress,
  cutLayers,
  distill,
  distilled,
  loyalty,
  Model,
  ops,
  prune,
  recipe,
  train,
  trainTask,
} from 'tersor'
import { numberDataset } from 'tersor/data'
import { activation, build, freshValues, linear, sequential } from 'tersor/nn'

// Random numbers by seed: the same run gives the same figures on every machine.
function numbers(seed) {
  const [u, z] = [ops.randomUniform([2 ** 16], { seed }).read(), ops.randomNormal([2 ** 16], { seed, stream: 1 }).read()]
  let i = 0
  return { uniform: () => u[i++ % u.length], normal: () => z[i++ % z.length] }
}

// Points in 16 dimensions around four centres, near enough to be mistaken for one another.
function points(size, seed) {
  const centre = numbers(1)
  const centres = Array.from({ length: 64 }, () => 0.7 * centre.normal())
  const random = numbers(seed)
  const labels = Int32Array.from({ length: size }, (_, i) => i % 4)
  const features = Float32Array.from({ length: size * 16 }, (_, i) => centres[(Math.floor(i / 16) % 4) * 16 + (i % 16)] + random.normal())
  return numberDataset({ name: 'points', features, inputShape: [16], labels, classes: ['a', 'b', 'c', 'd'] })
}
const data = points(800, 2)
const heldOut = points(400, 3)

// The teacher: four blocks of the same kind, which can be cut out one by one.
const dense = (from, to) => linear({ in: from, out: to, bias: true, init: 'he' })
const block = sequential({ dense: dense(48, 48), act: activation({ function: 'relu' }) })
const net = sequential({ first: dense(16, 48), block0: block, block1: block, block2: block, block3: block, last: dense(48, 4) })
const info = { name: 'points', task: 'classification', classes: data.classes, inputShape: [16], history: [] }
const settings = { epochs: 4, batchSize: 32, schedule: { kind: 'cosine', lr: 0.02 } }
const { model: teacher } = await train(new Model(build(net, freshValues(numbers(4))), info), data, settings)

const percent = (x) => `${(100 * x).toFixed(1)} %`
async function show(name, model) {
  const { label, probability } = await loyalty(model, teacher, heldOut)
  console.log(`${name}: ${model.parameters()} parameters, loyalty of labels ${percent(label)}, of probabilities ${percent(probability)}`)
  return probability
}
await show('teacher', teacher)

// As a pass: two of the four blocks stay, and learn logits and hidden states.
const half = {
  student: { layers: 2 },
  distill: { temperature: 4, alpha: 0.9, match: [{ loss: 'hidden', layers: 'uniform', weight: 0.1 }] },
}
const { model: small } = await compress(teacher, recipe([[distill.train(half)]]), { data })
const taught = await show('half of the blocks', small)

// The same net without its teacher, from the same beginning.
const { model: alone } = await train(cutLayers(teacher, [0, 3]), data, settings)
console.log(`nearer to the teacher than from labels: ${taught > (await show('the same, from labels', alone))}`)

// While pruning: the uncompressed model teaches, unless another teacher is given.
const pass = prune.magnitude({
  sparsity: 0.8,
  scope: 'global',
  retrain: train.finetune({ epochs: 4, lr: 0.02 }),
  distill: { temperature: 4 },
})
await show('80 % pruned', (await compress(teacher, recipe([[pass]]), { data })).model)

// In a program: any task, any student for the same inputs and classes.
const { spec, inputShape } = architectures.mlp({ inputShape: [16], classes: 4 })
const student = new Model(build(spec, freshValues(numbers(5))), { ...info, inputShape })
const { model: other } = await trainTask(student, distilled(classification(data), { teacher, convention: 'textbrewer' }), settings)
await show('another architecture', other)
