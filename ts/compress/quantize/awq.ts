/**
 * AWQ (Lin, Tang, Tang, Yang, Chen, Wang, Xiao, Dang, Gan, Han 2023, "AWQ: Activation-aware weight quantization for LLM compression and acceleration"): channels that
 * carry large inputs get larger weights, which rounding hurts less. W becomes W diag(s), s = mean|x|^r, and the layer that gives the channels is divided by s (equation 4);
 * r is the one of 20 with the smallest error of the outputs. Then ranges of groups are clipped where that lowers it further.
 *
 * Which layer can take over 1/s is found on a trace (ts/graph/scalable.ts): norms, linear layers and convolutions with ReLU, pools or attention between, written by hand or
 * imported. Elsewhere s stays 1, with a note. Memory: K^2 numbers per layer.
 */
import { z } from 'zod'
import type { ScalableConsumer, ScalableLink } from '../../graph/scalable.js'
import type { Model, PlacedWeight } from '../../nn/index.js'
import { convertWeights } from '../convert.js'
import type { Gram } from '../observe/gram.js'
import { columnSizes } from '../observe/columns.js'
import { definePass, type PassContext } from '../pass.js'
import { release } from '../release.js'
import { denseValues } from '../values.js'
import { columnFactors, searchClips, searchScales } from './awq-search.js'
import { askGrams, codeOptions, codesWeight, gramFor } from './by-gram.js'
import { codeRange, groupCount } from './grid.js'
import type { MatrixGrid } from './output-error.js'
import { checkedModel, linksOf, Rescaler } from './rescale.js'
import { codesFor, groupsOf, type LayerCodes } from './awq-codes.js'

const NAME = 'quantize/awq'

const options = z.strictObject({
  ...codeOptions,
  layout: z.enum(['channel', 'group']).default('group'),
  /** Search clipped ranges too. */
  clip: z.boolean().default(true),
  /** How codes are chosen on the grids that were found: the nearest, as the authors do, or with feedback as GPTQ does. */
  rounding: z.enum(['nearest', 'feedback']).default('nearest'),
  /** Of 'feedback': added to the diagonal of the second moments, as a share of its mean. */
  damping: z.number().positive().max(10).default(0.01),
})
type AwqOptions = z.output<typeof options>

export const awq = definePass({
  name: NAME,
  version: 1,
  summary: 'scales channels by the size of their inputs, clips ranges, and rounds weights to 2 to 8 bits',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => askGrams(o, targets, [columnSizes]),
  apply: async (model, context) => {
    const { scaled, factors } = await channelScales(model, context)
    try {
      const now = new Map(scaled.weights().map((w) => [w.path, w]))
      const result = await convertWeights<AwqOptions, LayerCodes | string>(
        scaled,
        { ...context, targets: context.targets.map(({ path }) => now.get(path)!) },
        {
          task: NAME,
          prepare: async (target) => {
            const gram = gramFor(target, context)
            if (typeof gram === 'string') return gram
            if (!factors.has(target.path))
              context.note('channels of its input not scaled: no layer before it can take the factors', target.path)
            return roundLayer(target, rescaled(gram, factors.get(target.path)), context)
          },
          convert: (target, codes) => (typeof codes === 'string' ? { left: codes } : codesWeight(target, codes, context)),
        },
      )
      release(scaled, [model, result])
      return result
    } catch (error) {
      release(scaled, [model])
      throw error
    }
  },
})

const gridFor = (cols: number, { bits, mode, layout, groupSize }: AwqOptions): MatrixGrid => {
  const symmetric = mode === 'symmetric'
  return { groups: layout === 'group' ? groupCount(cols, groupSize) : 1, symmetric, codes: codeRange(bits, symmetric, 'max') }
}

/** For each column of a layer's second moments, by group, the channel of the link that it is. */
function channelsOf({ columns, groups }: ScalableConsumer, { width }: Gram): Int32Array[] {
  const features = columns.length / groups
  const taps = width / features
  return Array.from({ length: groups }, (_, g) =>
    Int32Array.from({ length: width }, (_, i) => columns[g * features + Math.floor(i / taps)]!),
  )
}

/** Mean |x| of each channel over the layers that read it. */
function sizesOf(
  link: ScalableLink,
  layers: readonly PlacedWeight[],
  grams: readonly Gram[],
  { statistic }: PassContext<AwqOptions>,
): Float64Array {
  const [sums, counts] = [new Float64Array(link.source.channels), new Float64Array(link.source.channels)]
  link.consumers.forEach((consumer, i) => {
    const sizes = statistic(layers[i]!.layer, columnSizes(layers[i]!.module)!)!
    channelsOf(consumer, grams[i]!)
      .flatMap((c) => [...c])
      .forEach((channel, at) => {
        if (channel < 0) return
        sums[channel]! += sizes.sums[at]!
        counts[channel]! += sizes.count
      })
  })
  return sums.map((v, i) => (counts[i]! > 0 ? v / counts[i]! : 0))
}

/** The same function with channels scaled where that helps, and the factors of the columns of its layers by path, group by group. */
async function channelScales(
  model: Model,
  context: PassContext<AwqOptions>,
): Promise<{ readonly scaled: Model; readonly factors: ReadonlyMap<string, readonly Float32Array[]> }> {
  const { options, targets, data, breathe, note } = context
  const wanted = new Map(targets.filter((t) => typeof gramFor(t, context) !== 'string').map((t) => [t.path, t]))
  const rescaler = new Rescaler(model)
  const factors = new Map<string, readonly Float32Array[]>()
  for (const link of linksOf(model, data)) {
    const layers = link.consumers.flatMap(({ weight }) => wanted.get(weight) ?? [])
    if (layers.length !== link.consumers.length) continue
    await breathe()
    const grams = layers.map((t) => gramFor(t, context) as Gram)
    const readers = layers.flatMap((target, i) => {
      const channels = channelsOf(link.consumers[i]!, grams[i]!)
      const values = denseValues(target.weight)
      return groupsOf(values, values.length / grams[i]!.width, grams[i]!, gridFor(grams[i]!.width, options)).map((part, g) => ({
        ...part,
        channels: channels[g]!,
      }))
    })
    const { scales, exponent, share } = await searchScales(readers, sizesOf(link, layers, grams, context), breathe)
    note(
      `channels of its output scaled by mean|x|^${exponent}: output error of ${link.consumers.map((c) => c.weight).join(', ')} ${share.toFixed(3)} of that of rounding to nearest`,
      link.source.weight,
    )
    link.consumers.forEach((consumer, i) => {
      // A layer behind a concatenation takes channels of several links: each has its own columns, the others count 1.
      const before = factors.get(consumer.weight)
      const own = channelsOf(consumer, grams[i]!).map((channels) => columnFactors(scales, channels))
      factors.set(consumer.weight, before ? own.map((s, g) => s.map((v, c) => v * before[g]![c]!)) : own)
    })
    if (exponent > 0) rescaler.scale(link, Float64Array.from(scales))
  }
  const scaled = checkedModel(NAME, model, rescaler, context)
  return { scaled, factors: scaled === model ? new Map([...factors].filter(([, f]) => f.every((s) => s.every((v) => v === 1)))) : factors }
}

/** The second moments that a layer sees once its channels are divided by their factors. */
function rescaled(gram: Gram, factors: readonly Float32Array[] | undefined): Gram {
  if (!factors || factors.every((s) => s.every((v) => v === 1))) return gram
  const { width, products } = gram
  const divided = products.map((v, i) => {
    const s = factors[Math.floor(i / (width * width))]!
    return v / (s[Math.floor(i / width) % width]! * s[i % width]!)
  })
  return { ...gram, products: divided }
}

async function roundLayer(target: PlacedWeight, gram: Gram, context: PassContext<AwqOptions>): Promise<LayerCodes> {
  const { clip, rounding } = context.options
  const grid = gridFor(gram.width, context.options)
  const done = await codesFor(NAME, target, gram, grid, {
    ...context.options,
    breathe: context.breathe,
    grids: clip ? searchClips : undefined,
    feedback: rounding === 'feedback',
  })
  context.note(`output error ${done.share.toFixed(3)} of that of rounding to nearest with these channels`, target.path)
  return done
}
