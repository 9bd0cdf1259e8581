// A pass of one's own, used beside the built-in ones, in programs and in JSON recipes: outliers are cut before quantization.
import { architectures, compress, definePass, Model, ops, parseRecipe, quantize, recipe, scope } from 'tersor'
import { build, DenseWeight, freshValues } from 'tersor/nn'
import { z } from 'zod'

const outliers = definePass({
  name: 'clip/outliers',
  version: 1,
  summary: 'limits weights to some standard deviations around 0',
  // Unknown keys are refused, and the nearest known one is named.
  options: z.strictObject({ deviations: z.number().positive().default(3) }),
  // Where a recipe names no targets: matrices and kernels, no biases.
  roles: ['matrix', 'kernel'],
  apply: async (model, context) => {
    const changed = new Map()
    for (const { path, weight } of context.targets) {
      await context.breathe() // Ctrl-C and progress bars get their turn
      if (weight.kind !== 'dense') {
        context.note(`left alone: ${weight.description}`, path) // the report says what was not done
        continue
      }
      const limited = scope(() => {
        const w = weight.dense()
        const limit = context.options.deviations * Math.sqrt(ops.mean(ops.square(w)).item())
        context.figure(path, limit)
        return ops.clip(w, -limit, limit)
      })
      changed.set(path, new DenseWeight(limited))
    }
    return model.withWeights(changed) // the model given stays as it is
  },
})

// A net with a few far-away weights, as trained ones have them.
const { spec, inputShape } = architectures.mlp({ inputShape: [32], classes: 2 }, [64])
const values = ops.randomUniform([10_000], { seed: 1 }).read()
let i = 0
const random = { uniform: () => (i % 400 === 0 ? 6 : 1) * values[i++], normal: () => 0 }
const model = new Model(build(spec, freshValues(random)), { name: 'net', task: 'classification', inputShape, history: [] })

const coarse = quantize.rtn({ bits: 4, layout: 'tensor' })
for (const [name, stages] of [
  ['plain', [[coarse]]],
  ['clipped', [[outliers({ deviations: 3 })], [coarse]]],
]) {
  const { report } = await compress(model, recipe(stages))
  console.log(`${name}: fc1 is off by ${(100 * report.layers.find((l) => l.path === 'fc1.weight').error).toFixed(1)} %`)
}

// Once it is defined, recipes know it by name.
const parsed = parseRecipe('{ "recipe": 1, "stages": [[{ "pass": "clip/outliers" }]] }')
console.log(JSON.stringify(parsed.stages[0][0]))
try {
  parseRecipe('{ "recipe": 1, "stages": [[{ "pass": "clip/outliers", "options": { "deviation": 2 } }]] }')
} catch (error) {
  console.log(error.code, error.message)
}
