/** What finders of layers share: the bias behind a product, and weights that are taken as they are stored. */
import type { InputQuantization, Weight } from '../nn/index.js'
import type { GraphNode, GraphTensor } from './graph.js'
import { HostTensor } from './host.js'
import type { Floats, Found, FinderContext } from './modules.js'
import { quantizedFrom, turnedStored } from './stored.js'

export type Finder = (node: GraphNode, ctx: FinderContext) => Found | undefined

export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

/** A constant that adds one value per entry of the last axis (linear), or of axis 1 of `rank` (convolution). */
export function isBias(t: Floats | undefined, width: number, axis: 'last' | { readonly rank: number }): boolean {
  if (!t || sizeOf(t.shape) !== width) return false
  if (axis === 'last') return t.shape.at(-1) === width
  return t.shape.length <= axis.rank && t.shape[t.shape.length - axis.rank + 1] === width
}

/** The Add behind a node that is nothing but its bias. */
export function biasBehind(
  node: GraphNode,
  ctx: FinderContext,
  width: number,
  axis: 'last' | { readonly rank: number },
): { add: GraphNode; name: string; bias: Floats } | undefined {
  const add = ctx.onlyUser(node.outputs[0]!)
  if (add?.op !== 'Add' || add.domain !== '') return undefined
  const name = add.inputs.find((n) => n !== node.outputs[0])
  const bias = ctx.floats(name)
  const rank = ctx.rank(node.outputs[0]!)
  if (name === undefined || !bias || !isBias(bias, width, axis) || rank === undefined || bias.shape.length > rank) return undefined
  return { add, name, bias }
}

/**
 * The weight of a layer: one that a model has already, or codes, where they lie as the layer wants them; `turned`: the layer wants the transpose of the constant. With
 * codes, the input of the layer may be codes too: its DequantizeLinear is part of the layer then.
 */
export function storedWeight(
  t: Floats,
  turned: boolean,
  input: string,
  ctx: FinderContext,
): { readonly weight: () => Weight; readonly input: string; readonly key: string } | undefined {
  const { weight, codes } = turned ? turnedStored(t) : t
  if (weight) return weight.turned ? undefined : { weight: () => weight.of, input, key: '' }
  if (!codes) return undefined
  const coded = codedInput(input, ctx)
  const whole = coded && quantizedFrom(codes, coded.grid)
  if (whole) return { weight: whole, input: coded.from, key: JSON.stringify(coded.grid) }
  const alone = quantizedFrom(codes, null)
  return alone && { weight: alone, input, key: 'codes' }
}

/** x where a value is x rounded to 8-bit codes with one scale: DequantizeLinear, and the QuantizeLinear before it if there is one. */
function codedInput(name: string, ctx: FinderContext): { readonly grid: InputQuantization; readonly from: string } | undefined {
  const back = ctx.maker(name)
  const grid = back?.op === 'DequantizeLinear' ? gridOf(back, ctx) : undefined
  if (!back || !grid) return undefined
  const there = ctx.maker(back.inputs[0])
  const first = there?.op === 'QuantizeLinear' ? gridOf(there, ctx) : undefined
  const same = first?.scale === grid.scale && first.zero === grid.zero
  return { grid, from: same ? there!.inputs[0]! : name }
}

/** One scale and zero point as constants, for codes in u8 (those in i8 moved up). */
function gridOf(node: GraphNode, ctx: FinderContext): InputQuantization | undefined {
  const [s, z] = [ctx.constant(node.inputs[1]), ctx.constant(node.inputs[2])]
  const one = (t: GraphTensor | undefined): number | undefined =>
    t?.shape.every((d) => d === 1) ? new HostTensor(t.dtype, t.shape, t).data[0] : undefined
  const scale = s?.dtype === 'f32' ? one(s) : undefined
  if (scale === undefined || !(scale > 0 && scale < Infinity) || (node.inputs[2] && !z)) return undefined
  if (z && z.dtype !== 'u8' && z.dtype !== 'i8') return undefined
  const type = node.attributes.output_dtype
  if (!z && type?.type === 'int' && type.value !== 0 && type.value !== 2) return undefined
  const zero = z ? one(z) : 0
  return zero === undefined ? undefined : { scale, zero: zero + (z?.dtype === 'i8' ? 128 : 0) }
}
