/**
 * SmoothQuant (Xiao, Lin, Seznec, Wu, Demouth, Han 2023, section 4, eq. 4): a few channels of a transformer's activations are far larger than the others, and one
 * range for all rounds the others away. Each channel j of an input is divided by
 *
 *   s_j = max|X_j|^alpha / max|W_j|^(1 - alpha)
 *
 * and the column j of the weights that take it multiplied by it; the division is part of the norm, linear layer or convolution before. The floating function stays
 * what it is; quantization of weights and inputs comes in a stage after it.
 */
import { z } from 'zod'
import type { ScalableLink } from '../../graph/scalable.js'

import { channelMaxima } from '../observe/channels.js'
import { definePass, type PassContext } from '../pass.js'
import { checkedModel, linksOf, Rescaler } from './rescale.js'

const NAME = 'quantize/smooth'
/** Smallest factor, as in the authors' code. */
const LEAST = 1e-5

const options = z.strictObject({
  /** How much of the difficulty moves from inputs to weights: 0.5 for most models, up to 0.75 where outliers are extreme. */
  alpha: z.number().min(0).max(1).default(0.5),
  /** norm: only channels that a norm gives (queries, keys, values and the first layer of a feed-forward net, as in the paper); all: those of linear layers and convolutions too. */
  sources: z.enum(['norm', 'all']).default('all'),
  /** Examples to take the largest magnitudes of. */
  samples: z.int().positive().max(1e7).default(512),
})
type SmoothOptions = z.output<typeof options>

export const smooth = definePass({
  name: NAME,
  version: 1,
  summary: 'outliers of inputs move into weights; in a stage before quantizing both',
  options,
  needs: () => ({ calibration: true }),
  roles: ['matrix', 'kernel'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets.flatMap(({ layer, name, module }) => {
      const statistic = name === 'weight' ? channelMaxima(module) : undefined
      return statistic ? [{ path: layer, statistic }] : []
    }),
  }),
  apply: async (model, context) => {
    const { options: o, targets, data, breathe, figure, progress, note } = context
    const wanted = new Set(targets.map((t) => t.path))
    const links = linksOf(model, data).filter(
      ({ source, consumers }) => (o.sources === 'all' || source.kind === 'norm') && consumers.every((c) => wanted.has(c.weight)),
    )
    const rescaler = new Rescaler(model)
    const reached = new Set<string>()
    for (const [done, link] of links.entries()) {
      await breathe()
      const s = factors(rescaler, link, context)
      if (s) {
        rescaler.scale(link, s)
        for (const c of link.consumers) reached.add(c.weight)
      }
      progress(NAME, done + 1, links.length)
    }
    const left = targets.filter((t) => !reached.has(t.path))
    for (const { path } of left)
      note('left alone: its input does not come from one norm or layer alone through operations that factors pass', path)
    figure('links', links.length)
    figure('smoothed', reached.size)
    return checkedModel(NAME, model, rescaler, context)
  },
})

/** s of each channel; undefined where no example reached a layer that takes them. */
function factors(
  rescaler: Rescaler,
  link: ScalableLink,
  { options: { alpha }, statistic }: PassContext<SmoothOptions>,
): Float64Array | undefined {
  const inputs = new Float64Array(link.source.channels)
  for (const { weight, columns } of link.consumers) {
    const { layer, module } = rescaler.at(weight)!
    const maxima = channelMaxima(module)
    const seen = maxima && statistic(layer, maxima)
    if (seen?.length !== columns.length) return undefined
    columns.forEach((channel, i) => {
      if (channel >= 0) inputs[channel] = Math.max(inputs[channel]!, seen[i]!)
    })
  }
  return rescaler.columnMaxima(link).map((w, i) => {
    const x = inputs[i]!
    return x === 0 || w === 0 ? 1 : Math.max(x ** alpha / w ** (1 - alpha), LEAST)
  })
}
