// What fewer bits cost: sizes and errors of every weight. `node 03-quantize-a-model.mjs [MODEL]` takes any model file that Tersor reads.
import { architectures, compress, load, Model, ops, quantize, recipe } from 'tersor'
import { build, freshValues } from 'tersor/nn'

function lenet() {
  const { spec, inputShape } = architectures.lenet5({ inputShape: [28, 28], classes: 10 })
  const values = ops.randomUniform([100_000], { seed: 1 }).read()
  let i = 0
  const random = { uniform: () => values[i++], normal: () => 0 }
  return new Model(build(spec, freshValues(random)), { name: 'untrained LeNet-5', task: 'classification', inputShape, history: [] })
}
const model = process.argv[2] ? load(process.argv[2]) : lenet()

const ways = {
  '8 bits per channel': { bits: 8 },
  '4 bits per channel': { bits: 4 },
  '4 bits, groups of 32': { bits: 4, layout: 'group', groupSize: 32, scales: 'f16' },
  '2 bits, groups of 16': { bits: 2, layout: 'group', groupSize: 16, range: 'mse', scales: 'f16' },
}
console.log(`${model.info.name}, ${model.parameters()} parameters`)
for (const [name, options] of Object.entries(ways)) {
  const { report } = await compress(model, recipe([[quantize.rtn(options)]]))
  const errors = report.layers.map((l) => l.error)
  console.log(
    `${name}: ${(report.bytesBefore / report.bytesAfter).toFixed(2)}x smaller, largest error ${(100 * Math.max(...errors)).toFixed(1)} %`,
  )
}
