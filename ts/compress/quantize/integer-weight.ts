/** 8-bit layers: int8 weights with a scale per output channel, and what it takes for their inputs to be codes too. */
import { QuantizedWeight, type InputQuantization, type PlacedWeight } from '../../nn/index.js'
import { tensor } from '../../tensor/index.js'
import { encode, scalesOf, type EncodeOptions, type Encoding } from './encode.js'

/** How weights of integer products are quantized: symmetric, so that the products need no correction. */
export const integerGrid = (range: 'max' | 'mse'): EncodeOptions => ({ bits: 8, symmetric: true, layout: 'channel', groupSize: 0, range })

/** Whether the layer's input is what this weight multiplies: of recurrent layers it is not, their steps see the state too. */
export const multipliesInput = ({ name }: PlacedWeight): boolean => name === 'weight'

/** Floating weights of layers that multiply. */
export const isProduct = ({ weight, role }: PlacedWeight): boolean =>
  (role === 'matrix' || role === 'kernel') && weight.trainable().length > 0

/** The weight at the grids that were found, to the nearest code or with these. Call inside a scope. */
export function integerWeight(
  { weight }: PlacedWeight,
  found: Encoding,
  input: InputQuantization | null,
  codes?: Int8Array,
): QuantizedWeight {
  const parts = codes
    ? { q: tensor(codes, [found.rows, found.cols]), scale: tensor(scalesOf(found), found.shape) }
    : encode(found, scalesOf(found), true)
  return new QuantizedWeight({ shape: weight.shape, bits: 8, layout: 'channel', input, ...parts })
}
