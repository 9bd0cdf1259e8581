/**
 * Bias correction (Nagel, van Baalen, Blankevoort, Welling 2019, "Data-free quantization through weight equalization and bias correction", section 4.2; Banner et
 * al. 2018): rounding a weight shifts the mean of a layer's output by (W' - W) E[x]; the bias takes it back. For weights that an earlier pass of the recipe
 * changed, by whatever means; W is that of the model the recipe began with, E[x] the mean input of the compressed one on calibration data.
 */
import { z } from 'zod'
import { DenseWeight, placesOf, type PlacedWeight, type Weight } from '../../nn/index.js'
import { tensor } from '../../tensor/index.js'
import { columnMeans } from '../observe/columns.js'
import { definePass } from '../pass.js'
import { denseValues } from '../values.js'

const NAME = 'quantize/bias-correction'

const options = z.strictObject({
  /** Examples to take the mean over. */
  samples: z.int().positive().max(1e7).default(256),
})

export const biasCorrection = definePass({
  name: NAME,
  version: 1,
  summary: 'biases take back what rounded weights do to the mean of their outputs; in a stage after the rounding',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets.filter(isWeight).flatMap(({ layer, module }) => {
      const statistic = columnMeans(module)
      return statistic ? [{ path: layer, statistic }] : []
    }),
  }),
  apply: async (model, context) => {
    const { targets, source, statistic, note, progress, breathe } = context
    const before = new Map(source.weights().map((w) => [w.path, w.weight]))
    const all = new Map(model.weights().map((w) => [w.path, w]))
    const places = placesOf(model)
    const changed = new Map<string, Weight>()
    let done = 0
    try {
      for (const target of targets.filter(isWeight)) {
        await breathe()
        const { path, layer, weight, module } = target
        const old = before.get(path)
        const bias = all.get(path.slice(0, -'weight'.length) + 'bias')
        const means = columnMeans(module)
        const seen = means && statistic(layer, means)
        if (old === weight) note('left alone: no pass changed this weight', path)
        else if (!old || !bias || bias.weight.trainable().length === 0) note('left alone: the layer has no floating bias', path)
        else if (places.get(weight)!.length !== places.get(bias.weight)!.length)
          note('left alone: layers with inputs and biases of their own share this weight', path)
        else if (!seen || seen.count === 0) note('left alone: no calibration example reached this layer', path)
        else {
          const b = denseValues(bias.weight)
          const shift = meanShift(denseValues(old), denseValues(weight), seen)
          for (let r = 0; r < b.length; r++) b[r]! -= shift[r]!
          changed.set(bias.path, new DenseWeight(tensor(b, bias.weight.shape)))
        }
        progress(NAME, ++done, targets.length)
      }
    } catch (error) {
      for (const w of changed.values()) w.dispose()
      throw error
    }
    return changed.size === 0 ? model : model.withWeights(changed)
  },
})

/** (W' - W) E[x] by row. */
function meanShift(
  before: Float32Array,
  after: Float32Array,
  { groups, width, sums, count }: { readonly groups: number; readonly width: number; readonly sums: Float64Array; readonly count: number },
): Float64Array {
  const rows = before.length / width
  const out = new Float64Array(rows)
  for (let r = 0; r < rows; r++) {
    const g = Math.floor((r * groups) / rows) * width
    for (let i = 0; i < width; i++) out[r]! += ((after[r * width + i]! - before[r * width + i]!) * sums[g + i]!) / count
  }
  return out
}

const isWeight = ({ name }: PlacedWeight): boolean => name === 'weight'
