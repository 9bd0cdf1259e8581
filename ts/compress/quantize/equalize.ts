/**
 * Cross-layer equalization (Nagel, van Baalen, Blankevoort, Welling 2019, "Data-free quantization through weight equalization and bias correction", section 4.1).
 * Where one layer's output goes into the next through ReLU and its kind, channel i of the first may be divided by
 *
 *   s_i = sqrt(r1_i r2_i) / r2_i        r1, r2: ranges of row i of the first weight, of column i of the second
 *
 * and multiplied in the second: both ranges are sqrt(r1 r2) then, and one scale per tensor fits all channels. Pairs are gone through until nothing changes. A batch
 * norm behind the first layer becomes part of its rows before. No data are needed; the floating function stays what it is.
 *
 * absorb (section 4.1.2): channels whose input of the ReLU lies above 0 by `sigmas` standard deviations, as the batch norm says, give c = max(0, beta - sigmas |gamma|) to
 * the bias behind; the rest of their range is smaller. That changes the function where a value was below c.
 */
import { z } from 'zod'
import { throughReluOnly, type ScalableLink } from '../../graph/scalable.js'
import { definePass } from '../pass.js'
import { checkedModel, linksOf, Rescaler } from './rescale.js'

const NAME = 'quantize/equalize'
/** Nothing changes: no factor is further from 1 than this. */
const SETTLED = 1e-4

const options = z.strictObject({
  /** Times that all pairs are gone through, at most. */
  iterations: z.int().positive().max(1000).default(50),
  /** High biases move behind the ReLU, where a batch norm says how high they are. */
  absorb: z.boolean().default(false),
  sigmas: z.number().positive().max(100).default(3),
})

export const equalize = definePass({
  name: NAME,
  version: 1,
  summary: 'ranges of channels are made alike from layer to layer, without data; before one scale per tensor',
  options,
  roles: ['matrix', 'kernel'],
  apply: async (model, context) => {
    const { options: o, targets, data, breathe, figure, progress, note } = context
    const wanted = new Set(targets.map((t) => t.path))
    const links = linksOf(model, data).filter(
      ({ source, consumers }) =>
        source.kind === 'product' && [source.weight, ...consumers.map((c) => c.weight)].every((path) => wanted.has(path)),
    )
    const rescaler = new Rescaler(model)
    const biases = links.map((link) => (o.absorb ? highBiases(rescaler, link, o.sigmas) : undefined))
    for (const link of links) rescaler.foldNorm(link)
    const before = spread(rescaler, links)
    let rounds = 0
    for (let moved = Infinity; moved > SETTLED && rounds < o.iterations; rounds++) {
      moved = 0
      for (const [i, link] of links.entries()) {
        await breathe()
        const [r1, r2] = [rescaler.rowMaxima(link), rescaler.columnMaxima(link)]
        const s = r1.map((r, c) => (r === 0 || r2[c] === 0 ? 1 : Math.sqrt(r * r2[c]!) / r2[c]!))
        for (const f of s) moved = Math.max(moved, Math.abs(f - 1))
        rescaler.scale(link, s)
        biases[i] = biases[i]?.map((c, channel) => c / s[channel]!)
      }
      progress(NAME, rounds + 1, o.iterations)
    }
    links.forEach((link, i) => {
      const high = biases[i]
      if (high?.some((c) => c > 0) && !absorb(rescaler, link, high))
        note('high biases stay: a layer behind has no bias, or pads with zeros', link.source.weight)
    })
    const reached = new Set(links.flatMap(({ source, consumers }) => [source.weight, ...consumers.map((c) => c.weight)]))
    for (const { path } of targets) if (!reached.has(path)) note('left alone: no pair of layers that factors can pass between', path)
    figure('pairs', links.length)
    figure('rounds', rounds)
    figure('spread', { before, after: spread(rescaler, links) })
    return checkedModel(NAME, model, rescaler, context, o.absorb)
  },
})

/** Largest over smallest range of rows that are not 0, the worst of all sources: what one scale per tensor suffers from. */
function spread(rescaler: Rescaler, links: readonly ScalableLink[]): number {
  const worst = links.map((link) => {
    const rows = [...rescaler.rowMaxima(link)].filter((r) => r > 0)
    return rows.length === 0 ? 1 : Math.max(...rows) / Math.min(...rows)
  })
  return Math.max(1, ...worst)
}

/** c of each channel; undefined where no batch norm stands right before the one ReLU. */
function highBiases(rescaler: Rescaler, link: ScalableLink, sigmas: number): Float64Array | undefined {
  const [norm] = link.norms
  if (!norm || link.norms.length > 1 || link.shifts.length > 0 || !throughReluOnly(link)) return undefined
  const [gamma, beta] = [rescaler.values(`${norm.path}.gamma`), rescaler.values(`${norm.path}.beta`)]
  return beta.map((b, i) => Math.max(0, b - sigmas * Math.abs(gamma[i]!)))
}

/** Takes c from the batch norm's shift and gives W c to the biases behind; false where one cannot take it. */
function absorb(rescaler: Rescaler, { norms, consumers }: ScalableLink, c: Float64Array): boolean {
  const takers = consumers.map((consumer) => {
    const { layer, module } = rescaler.at(consumer.weight)!
    const bias = rescaler.at(`${layer}.bias`)
    const pads = JSON.stringify(module.config.padding ?? 0)
    return bias?.weight.trainable().length && /^[[\],0]*$/.test(pads) ? { consumer, bias: bias.path } : undefined
  })
  if (takers.some((t) => !t)) return false
  const beta = rescaler.values(`${norms[0]!.path}.beta`)
  for (let i = 0; i < c.length; i++) beta[i]! -= c[i]!
  for (const taker of takers) {
    const bias = rescaler.values(taker!.bias)
    rescaler.each(taker!.consumer, (values, e, channel, row) => {
      bias[row]! += values[e]! * c[channel]!
    })
  }
  return true
}
