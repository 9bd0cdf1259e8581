/** Layers whose weights are codes and whose products are written out in integers. What is no such layer stays a product of integers (onnx/integer-products.ts). */
import { embedding, linear } from '../nn/index.js'
import { intAttribute } from './define.js'
import { biasBehind, type Finder } from './finder-lib.js'
import type { GraphNode, GraphTensor } from './graph.js'
import { HostTensor } from './host.js'
import type { Found, FinderContext, LayerValue } from './modules.js'
import { codesOf, codeShift, isCodeType, quantizedFrom, signedCodes, turnedStored, type Codes } from './stored.js'

const numbers = (t: GraphTensor): readonly number[] => new HostTensor(t.dtype, t.shape, t).data

/** A linear layer [out, in] of codes, its bias behind it. */
function layer(
  node: GraphNode,
  codes: Codes,
  weight: LayerValue,
  at: { x: string; last: GraphNode; others: GraphNode[]; bias?: string },
  ctx: FinderContext,
): Found {
  const [out, input] = codes.shape as [number, number]
  const given = at.bias ? ctx.floats(at.bias) : undefined
  const behind = given ? undefined : biasBehind(at.last, ctx, out, 'last')
  const bias = given ?? behind?.bias
  return {
    spec: linear({ in: input, out, bias: bias !== undefined, init: 'he' }),
    values: { weight, ...(bias ? { bias: bias.read } : {}) },
    inputs: [at.x],
    outputs: behind ? behind.add.outputs : at.last.outputs,
    others: [...at.others, ...(behind ? [behind.add] : [])],
    constants: [codes.name, ...(given ? [at.bias!] : behind ? [behind.name] : [])],
    key: `codes ${node.op}`,
  }
}

/** Codes [K, N] with scales of columns, as the layer [N, K] that quantizes its input while it runs. */
function dynamicLayer(
  w: string | undefined,
  scale: string | undefined,
  zero: string | undefined,
  ctx: FinderContext,
): { codes: Codes; weight: LayerValue } | undefined {
  const [t, s, z] = [ctx.constant(w), ctx.constant(scale), ctx.constant(zero)]
  if (w === undefined || t?.shape.length !== 2 || !s || (zero && !z)) return undefined
  const flat: GraphTensor = s.shape.length > 1 ? { ...s, shape: [s.shape.reduce((a, b) => a * b, 1)] } : s
  if (s.shape.length > 1 && s.shape.at(-1) !== flat.shape[0]) return undefined
  const columns = codesOf(w, t, flat, z, 1, 0)
  const { codes } = columns ? turnedStored({ codes: columns }) : {}
  const made = codes && quantizedFrom(codes, 'dynamic')
  return made && { codes, weight: { weight: made } }
}

/** DynamicQuantizeLinear -> MatMulInteger -> Cast -> Mul by both scales, in one step or two. */
const matMulInteger: Finder = (node, ctx) => {
  const [q, w, zero, weightZero] = node.inputs
  const codes = ctx.maker(q)
  if (codes?.op !== 'DynamicQuantizeLinear' || codes.outputs[0] !== q || codes.outputs[2] !== zero) return undefined
  const cast = ctx.onlyUser(node.outputs[0]!)
  const to = cast?.attributes.to
  if (cast?.op !== 'Cast' || to?.type !== 'int' || to.value !== 1) return undefined
  const others = [cast]
  const scales: string[] = []
  let inputScale = false
  let last = cast
  for (let i = 0; i < 2; i++) {
    const mul = ctx.onlyUser(last.outputs[0]!)
    const factor = mul?.op === 'Mul' ? mul.inputs.find((name) => name !== last.outputs[0]) : undefined
    if (mul?.op !== 'Mul' || factor === undefined) break
    const inner = ctx.maker(factor)
    const pair =
      inner?.op === 'Mul' && inner.inputs.includes(codes.outputs[1]!) ? inner.inputs.find((n) => n !== codes.outputs[1]) : undefined
    if (factor === codes.outputs[1] && !inputScale) inputScale = true
    else if (pair !== undefined && !inputScale && scales.length === 0) {
      inputScale = true
      scales.push(pair)
    } else if (scales.length === 0 && ctx.floats(factor)) scales.push(factor)
    else break
    others.push(mul)
    last = mul
  }
  const found = inputScale && scales.length === 1 ? dynamicLayer(w, scales[0], weightZero, ctx) : undefined
  return found && layer(node, found.codes, found.weight, { x: codes.inputs[0]!, last, others }, ctx)
}

/** One node for the same. */
const dynamicQuantizeMatMul: Finder = (node, ctx) => {
  const [x, w, scale, zero, bias] = node.inputs as [string, string, string, string?, string?]
  const found = dynamicLayer(w, scale, zero || undefined, ctx)
  if (!found || (bias && ctx.floats(bias)?.shape.length !== 1)) return undefined
  return layer(node, found.codes, found.weight, { x, last: node, others: [], ...(bias ? { bias } : {}) }, ctx)
}

/** Blocks of codes of 2, 4 or 8 bits, unsigned around half of their range. */
const matMulNBits: Finder = (node, ctx) => {
  const [x, b, scales, zeros, order, bias] = node.inputs as [string, string, string, string?, string?, string?]
  const [n, k, bits, block] = [
    intAttribute(node, 'N'),
    intAttribute(node, 'K'),
    intAttribute(node, 'bits', 4),
    intAttribute(node, 'block_size'),
  ]
  const [t, s, z] = [ctx.constant(b), ctx.constant(scales), ctx.constant(zeros || undefined)]
  const half = 2 ** (bits - 1)
  const groups = Math.ceil(k / block)
  const sane = n >= 1 && k >= 1 && [2, 4, 8].includes(bits) && block >= 16 && block <= 2 ** 20 && k % block === 0
  if (!sane || t?.dtype !== 'u8' || s?.dtype !== 'f32' || order || (zeros && !z) || (bias && ctx.floats(bias)?.shape.length !== 1))
    return undefined
  const size = (c: GraphTensor): number => c.shape.reduce((p, q) => p * q, 1)
  const zeroRow = Math.ceil((groups * bits) / 8)
  if (size(t) !== (n * k * bits) / 8 || size(s) !== n * groups || (z && size(z) !== n * (z.dtype === 'u8' ? zeroRow : groups)))
    return undefined
  const dtype = bits === 2 ? 'u2' : bits === 4 ? 'u4' : 'u8'
  const perRow =
    z?.dtype === 'u8' ? new HostTensor(dtype, [n, (zeroRow * 8) / bits], { ...z, dtype, shape: [n, (zeroRow * 8) / bits] }).data : undefined
  const width = (zeroRow * 8) / bits
  const zero = !z
    ? undefined
    : perRow
      ? Array.from({ length: n * groups }, (_, i) => perRow[Math.floor(i / groups) * width + (i % groups)]! - half)
      : numbers(z).map((v) => v - half)
  const codes: Codes = {
    name: b,
    shape: [n, k],
    read: () => signedCodes(dtype, t.read(), [n, k]),
    bits,
    scaleShape: [n, groups],
    scale: numbers(s),
    zero: zero?.every((v) => v === 0) ? undefined : zero,
    axis: 1,
    block,
  }
  const made = quantizedFrom(codes, null)
  return made && layer(node, codes, { weight: made }, { x, last: node, others: [], ...(bias ? { bias } : {}) }, ctx)
}

/**
 * Rows of a table of codes, made floats behind the Gather: Cast, Sub of zero points, Mul by scales (numbers, or tables [rows, 1] with the same positions), or
 * DequantizeLinear by one scale.
 */
export const codedTable: Finder = (node, ctx) => {
  const [table, ids] = node.inputs as [string, string]
  const t = ctx.constant(table)
  if (t?.shape.length !== 2 || !isCodeType(t.dtype) || t.shape.includes(0) || intAttribute(node, 'axis', 0) !== 0 || ctx.constant(ids))
    return undefined
  const rows = t.shape[0]!
  const others: GraphNode[] = []
  /** One number, or one for each row. */
  const perRow = (name: string | undefined): GraphTensor | undefined => {
    const c = ctx.constant(name)
    if (c) return c.shape.every((d) => d === 1) ? { ...c, shape: [] } : undefined
    const lookup = ctx.maker(name)
    const list =
      lookup?.op === 'Gather' && lookup.inputs[1] === ids && intAttribute(lookup, 'axis', 0) === 0
        ? ctx.constant(lookup.inputs[0])
        : undefined
    if (!lookup || list?.shape.length !== 2 || list.shape[0] !== rows || list.shape[1] !== 1) return undefined
    if (ctx.onlyUser(name!)) others.push(lookup)
    return { ...list, shape: [rows] }
  }
  const first = ctx.onlyUser(node.outputs[0]!)
  if (!first) return undefined
  let codes: Codes | undefined
  let last = first
  others.push(first)
  if (first.op === 'DequantizeLinear' && first.inputs[0] === node.outputs[0]) {
    const [scale, zero] = [perRow(first.inputs[1]), first.inputs[2] ? perRow(first.inputs[2]) : undefined]
    codes = scale?.shape.length === 0 && (zero || !first.inputs[2]) ? codesOf(table, t, scale, zero, 0, 0) : undefined
  } else if (first.op === 'Cast' && first.attributes.to?.value === 1) {
    let next = ctx.onlyUser(last.outputs[0]!)
    const shift = next?.op === 'Sub' && next.inputs[0] === last.outputs[0] ? perRow(next.inputs[1]) : undefined
    if (next && shift) {
      others.push(next)
      last = next
      next = ctx.onlyUser(last.outputs[0]!)
    }
    const scale = next?.op === 'Mul' ? perRow(next.inputs.find((name) => name !== last.outputs[0])) : undefined
    if (!next || !scale) return undefined
    others.push(next)
    last = next
    const plain = codesOf(table, t, scale, undefined, 0, 0)
    const moved = shift && numbers(shift).map((z) => z - codeShift(t.dtype))
    const spread = moved?.length === 1 ? plain?.scale.map(() => moved[0]!) : moved
    codes = plain && (!spread || spread.length === plain.scale.length) ? { ...plain, ...(spread ? { zero: spread } : {}) } : undefined
  }
  const made = codes && quantizedFrom(codes, null)
  return (
    made && {
      spec: embedding({ rows, width: t.shape[1]! }),
      values: { weight: { weight: made } },
      inputs: [ids],
      outputs: last.outputs,
      others,
      constants: [table],
      call: { use: 'lookup', rows },
      key: 'codes',
    }
  )
}

export const quantizedFinders: Readonly<Record<string, Finder>> = {
  MatMulInteger: matMulInteger,
  'com.microsoft.DynamicQuantizeMatMul': dynamicQuantizeMatMul,
  'com.microsoft.MatMulNBits': matMulNBits,
}
