// Sessions: a model's native calls are recorded once and replayed off the main thread. Overlapping runs, other shapes, times of the steps.
import { architectures, Model, session } from 'tersor'
import { build, freshValues } from 'tersor/nn'

const rng = { uniform: Math.random, normal: () => Math.random() - 0.5 } // an untrained model: load('file') gives a real one
const { spec, inputShape } = architectures.lenet5({ inputShape: [28, 28], classes: 10 })
const model = new Model(build(spec, freshValues(rng)), { name: 'lenet5', task: 'classification', inputShape, history: [] })

const s = session(model)
const images = (n) => ({ data: new Float32Array(n * 784).fill(0.5), shape: [n, ...inputShape] })
const { output } = await s.run(images(1))
console.log(`scores ${output.dtype}[${output.shape.join(',')}]`)

const many = await Promise.all(Array.from({ length: 20 }, () => s.run(images(1))))
console.log(
  'twenty at once, all alike:',
  many.every((one) => one.output.data.every((v, i) => v === output.data[i])),
)

await s.run(images(4)) // another shape: another class, recorded when it comes
for (const c of s.info().classes)
  console.log(`${c.inputs}: plan of ${c.steps} steps, ${c.runs} runs, arena smaller than its tensors: ${c.arenaBytes < c.separateBytes}`)

const profile = s.profile(images(4))
console.log(
  `dearest op takes a share: ${profile.byOp()[0].share > 0}; trace has ${JSON.parse(profile.trace()).traceEvents.length / profile.runs} events a run`,
)
s.dispose()
