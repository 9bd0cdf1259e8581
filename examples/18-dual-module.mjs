// A little twin for an LSTM: half of its gates are predicted, the exact weights are read for the others only.
import { compress, dual, language, languageModel, languagePerplexity, Model, recipe, tensor, trainTask } from 'tersor'
import { build, freshValues, watchDual } from 'tersor/nn'

// A text that repeats itself with some noise, so that a few seconds of training are enough.
let state = 1
const random = () => (state = (state * 48271) % 2147483647) / 2147483647
const text = Int32Array.from({ length: 6000 }, (_, i) => (random() < 0.1 ? Math.floor(random() * 20) : (i * 7) % 20))
const task = language(text.slice(0, 5000), { window: 20 })

const spec = languageModel({ vocabulary: 20, width: 32, hidden: 64, layers: 1 })
const uniform = { uniform: random, normal: () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()) }
const untrained = new Model(build(spec, freshValues(uniform)), { name: 'words', task: 'language', history: [] })
const { model } = await trainTask(untrained, task, {
  epochs: 3,
  batchSize: 8,
  optimizer: { kind: 'adam' },
  schedule: { kind: 'cosine', lr: 0.01, end: 0, warmup: 0.05 },
})

const held = text.slice(5000)
console.log('dense: perplexity', (await languagePerplexity(model, held)).toFixed(2))
for (const ratio of [0.3, 0.5, 0.9]) {
  const made = recipe([[dual.build({ ratio, k: 24, rule: 'adaptive', bound: 'strict' }, { targets: ['rnn.**'] })]])
  const { model: fast } = await compress(model, made, { task })
  let steps = []
  watchDual(
    (_, count, outputs) => (steps = Array.from(count.read(), (n) => `${Math.round((100 * n) / outputs)}`)),
    () => fast.forward(tensor(held.slice(0, 12), [1, 12])),
  )
  console.log(
    `${100 * ratio} % insensitive: perplexity ${(await languagePerplexity(fast, held)).toFixed(2)}; by step: ${steps.join(' ')} %`,
  )
}
