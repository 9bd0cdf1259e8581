/** One weight at any number of bits, by the grids of `quantize/rtn`: what mixed precision chooses from. */
import { z } from 'zod'
import type { Quantize } from '../../analyze/sensitivity/index.js'
import { pacer } from '../../base/pace.js'
import { QuantizedWeight, type PlacedWeight } from '../../nn/index.js'
import { scope, tensor } from '../../tensor/index.js'
import type { Gram } from '../observe/gram.js'
import { encode, findGrids, scalesOf } from './encode.js'
import { halfScales } from './half.js'
import { outputCodes } from './output-codes.js'

/** How the codes of a weight are made, whatever their bits. */
export const gridOptions = {
  mode: z.enum(['symmetric', 'affine']).default('affine'),
  layout: z.enum(['tensor', 'channel', 'group']).default('group'),
  /** Most values that share a scale where layout is 'group'; rows that it does not divide are cut evenly. */
  groupSize: z
    .int()
    .min(2)
    .max(2 ** 20)
    .default(32),
  range: z.enum(['max', 'mse']).default('mse'),
  scales: z.enum(['f32', 'f16']).default('f16'),
}
const gridSchema = z.strictObject(gridOptions)
export type GridOptions = z.output<typeof gridSchema>
export type GridOptionsInput = z.input<typeof gridSchema>

/** `gram`: second moments of the layer's input; then the codes are those that disturb its output least, at the same scales. */
export async function roundTo(
  where: string,
  { path, weight }: PlacedWeight,
  bits: number,
  o: GridOptions,
  breathe: () => Promise<void>,
  gram?: Gram,
): Promise<QuantizedWeight> {
  const symmetric = o.mode === 'symmetric'
  const found = await findGrids(where, path, weight, { bits, symmetric, layout: o.layout, groupSize: o.groupSize, range: o.range }, breathe)
  const halves = o.scales === 'f16' ? halfScales(scalesOf(found)) : undefined
  const scales = halves ?? scalesOf(found)
  const codes =
    gram && gram.count > 0
      ? (await outputCodes(`${where}: ${path}`, weight, found, scales, gram, { damping: 0.01, order: 'activation', breathe })).q
      : undefined
  return scope(() => {
    const { q, scale, zero } = encode(found, scales, symmetric)
    return new QuantizedWeight({
      shape: weight.shape,
      bits,
      layout: o.layout,
      scaleDtype: halves ? 'f16' : 'f32',
      q: codes ? tensor(codes, [found.rows, found.cols]) : q,
      scale,
      zero,
    })
  })
}

/**
 * What `sensitivities` takes as `quantize`: weights by the grids of `quantize/rtn` at any bits.
 *
 * @example
 * const found = await sensitivity.sensitivities(model, data, { quantize: gridQuantizer({ layout: 'group', groupSize: 32 }) })
 */
export function gridQuantizer(options: GridOptionsInput = {}, signal?: AbortSignal): Quantize {
  const o = gridSchema.parse(options)
  const breathe = pacer('sensitivities', signal)
  return (target, bits) => roundTo('sensitivities', target, bits, o, breathe)
}
