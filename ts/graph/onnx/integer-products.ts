/**
 * Matrix products of codes on Tersor's integer kernels: QLinearMatMul, MatMulInteger, and weights of few bits (MatMulNBits); convolutions: integer-convolution.ts. Sums are exact integers; what is narrowed to
 * codes again is multiplied by one f32 factor (x scale * w scale / y scale), as ONNX Runtime does, and rounded half to even.
 */
import { sizeOf, stridesOf } from '../../base/shape.js'
import { defaultDevice } from '../../native/device.js'
import {
  add,
  cast,
  concat,
  copy,
  mul,
  pad,
  permute,
  qgemmPack,
  qgemmS32,
  qmatmul,
  reshape,
  scaleShift,
  slice,
  wgemm,
  wgemmPack,
} from '../../ops/index.js'
import { full, keep, tensor, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, intAttribute, type InferContext, type RunContext, type Value, type ValueType } from '../define.js'
import type { ElementType } from '../graph.js'
import { type HostTensor } from '../host.js'
import { broadcastDims, valueType } from '../infer.js'
import { data } from './move.js'
import { dynamicCodes } from './quantize.js'
import { isHost } from './values.js'

export interface Packed {
  readonly packed: Tensor
  /** Added to the zero points of unsigned weights, whose codes were moved into i8. */
  readonly shift: number
  readonly out: number
}

/** What was made of a constant, on each device: it lives as long as the constant. */
const prepared = new WeakMap<object, Map<string, Packed>>()

export function cached(source: Value | undefined, key: string, make: () => Packed): Packed {
  if (!isHost(source) || !source.source) return make()
  const entries = prepared.get(source) ?? new Map<string, Packed>()
  prepared.set(source, entries)
  const own = `${key} ${defaultDevice()}` // packed where tensors are made
  let found = entries.get(own)
  if (found === undefined) {
    found = make()
    keep(found.packed)
    entries.set(own, found)
  }
  return found
}

export function checkCodes(ctx: RunContext, t: Tensor, what: string): Tensor {
  if (t.dtype !== 'u8' && t.dtype !== 'i8') ctx.fail('ERR_DTYPE', `${what} must hold 8-bit codes, got ${t}`)
  return t
}

/** Weights u8 or i8 [N, K] in the kernel's layout. */
export function pack(w: Tensor): Packed {
  const unsigned = w.dtype === 'u8'
  // A cast through f32 is exact for bytes.
  const signed = unsigned ? cast(scaleShift(cast(w, 'f32'), 1, -128), 'i8') : copy(w)
  return { packed: qgemmPack(signed), shift: unsigned ? 128 : 0, out: w.shape[0]! }
}

/** Zero points of the weights, moved like the codes; null where all are 0. */
export function weightZeros(ctx: RunContext, zero: Value | undefined, { shift, out }: Packed, from = 0): Tensor | null {
  if (zero === undefined && shift === 0) return null
  if (zero !== undefined && !isHost(zero)) {
    const z = cast(ctx.tensor(zero), 'f32')
    const part = z.size === 1 ? add(reshape(z, [1]), full([out], 0)) : slice(reshape(z, [z.size]), [from], [out])
    return cast(scaleShift(part, 1, -shift), 'i32')
  }
  const values = zero === undefined ? [0] : zero.data
  if (values.length !== 1 && values.length < from + out) ctx.fail('ERR_SHAPE', `${values.length} zero points for ${out} columns`)
  const list = Int32Array.from({ length: out }, (_, i) => (values.length === 1 ? values[0]! : values[from + i]!) - shift)
  return list.every((v) => v === 0) ? null : tensor(list)
}

/** The zero point of x as a number, or one per row, i32 [rows]. */
function inputZero(ctx: RunContext, zero: Value | undefined, rows: number, inner: number): { zero: number; zeros: Tensor | null } {
  if (zero === undefined) return { zero: 0, zeros: null }
  if (isHost(zero) && zero.size === 1) return { zero: zero.data[0]!, zeros: null }
  const z = cast(ctx.tensor(zero), 'f32')
  // A list of M stands for the rows of each matrix.
  const flat = reshape(z, z.size === 1 ? [1, 1] : z.size === rows ? [1, rows] : [1, z.size])
  const repeats = z.size === 1 ? rows : rows / z.size
  if (!Number.isInteger(repeats) || (z.size !== 1 && z.size !== rows && z.size !== inner))
    ctx.fail('ERR_SHAPE', `zero points ${z} for ${rows} rows`)
  const all =
    z.size === 1
      ? add(flat, full([1, rows], 0))
      : concat(
          Array.from({ length: repeats }, () => flat),
          1,
        )
  return { zero: 0, zeros: cast(reshape(all, [rows]), 'i32') }
}

export const asI32 = (t: Tensor): Tensor => (t.dtype === 'i32' ? t : cast(t, 'i32'))

type MatrixProduct = (x: Tensor, w: Packed, rows: number, inner: number, from: number) => Tensor

/** a [..., M, K] times b [K, N], or batches of both; `product` multiplies one matrix of b. */
function matrixProduct(ctx: RunContext, a: Value | undefined, b: Value | undefined, product: MatrixProduct): Tensor {
  const x = checkCodes(ctx, ctx.tensor(a), 'A')
  const { shape } = data(ctx, b)
  if (x.rank < 1 || shape.length < 2 || x.shape.at(-1) !== shape.at(-2))
    ctx.fail('ERR_SHAPE', `${x} and [${shape.join(',')}] do not multiply`)
  const inner = x.rank > 1 ? x.shape.at(-2)! : 1
  if (shape.length === 2) {
    const w = cached(b, 'matmul', () => pack(permute(checkCodes(ctx, ctx.tensor(b), 'B'), [1, 0])))
    return product(x, w, sizeOf(x.shape.slice(0, -1)), inner, 0)
  }
  const w = checkCodes(ctx, ctx.tensor(b), 'B')
  const batch = broadcastDims(ctx as unknown as InferContext, [x.shape.slice(0, -2), shape.slice(0, -2)]) as number[]
  const n = shape.at(-1)!
  const at = (t: Tensor, i: number): Tensor => {
    const lead = t.shape.slice(0, -2)
    const [own, all] = [stridesOf(lead), stridesOf(batch)]
    let position = 0
    lead.forEach((d, j) => {
      const q = Math.floor(i / all[j + batch.length - lead.length]!) % batch[j + batch.length - lead.length]!
      position += (d === 1 ? 0 : q) * own[j]!
    })
    const [r, c] = t.shape.slice(-2) as [number, number]
    return reshape(slice(reshape(t, [sizeOf(lead), r, c]), [position, 0, 0], [1, r, c]), [r, c])
  }
  const parts = Array.from({ length: sizeOf(batch) }, (_, i) => product(at(x, i), pack(permute(at(w, i), [1, 0])), inner, inner, 0))
  return reshape(concat(parts.map((p) => reshape(p, [1, p.size]))), [...batch, inner, n])
}

/** Shape of a matrix product. */
function productType(ctx: InferContext, a: ValueType | undefined, b: ValueType | undefined, dtype: ElementType | undefined): ValueType {
  const [p, q] = [a?.shape, b?.shape]
  if (!p || !q || p.length < 1 || q.length < 2) return valueType(dtype)
  const lead = broadcastDims(ctx, [p.slice(0, -2), q.slice(0, -2)])
  return valueType(dtype, lead && [...lead, ...p.slice(-2, -1), q.at(-1)!])
}

defineOnnxOp('MatMulInteger', {
  since: [10],
  inputs: [2, 4],
  infer: (ctx, [a, b]) => [productType(ctx, a, b, 'i32')],
  run: (ctx, [a, b, az, bz]) =>
    asI32(matrixProduct(ctx, a, b, (x, w, rows, inner, from) => integerProduct(ctx, x, w, rows, inner, from, az, bz))),
})

function integerProduct(
  ctx: RunContext,
  x: Tensor,
  w: Packed,
  rows: number,
  inner: number,
  from: number,
  az: Value | undefined,
  bz: Value | undefined,
): Tensor {
  const { zero, zeros } = inputZero(ctx, az, rows, inner)
  return qgemmS32(x, w.packed, zeros, weightZeros(ctx, bz, w, from), w.out, zero)
}

/** One number per column of the result: product of a scalar and one or N scales. */
export function columnScale(ctx: RunContext, scale: Value | undefined, factor: number, out: number, from = 0): Tensor {
  const values = ctx.host(scale).data
  if (values.length !== 1 && values.length < from + out) ctx.fail('ERR_SHAPE', `${values.length} scales for ${out} columns`)
  return tensor(
    Float32Array.from(
      values.length === 1 ? [values[0]! * factor] : { length: out },
      (_, i) => values[values.length === 1 ? 0 : from + i]! * factor,
    ),
  )
}

export const scalar = (ctx: RunContext, v: Value | undefined, what: string): number => {
  const h = ctx.host(v)
  return h.size === 1 ? h.data[0]! : ctx.fail('ERR_UNSUPPORTED', `${what} must be one number, got ${h}`)
}

for (const domain of ['', 'com.microsoft'])
  defineOnnxOp('QLinearMatMul', {
    domain,
    since: domain === '' ? [10, 21] : [1],
    inputs: [8, 8],
    hostInputs: [1, 2, 4, 5, 6, 7],
    infer: (ctx, [a, , , b, , , , yz]) => [productType(ctx, a, b, yz?.dtype)],
    run: (ctx, [a, as, az, b, bs, bz, ys, yz]) => {
      const dtype = codeType(ctx, yz)
      const [yScale, yZero] = [scalar(ctx, ys, 'y_scale'), scalar(ctx, yz, 'y_zero_point')]
      return matrixProduct(ctx, a, b, (x, w, rows, inner, from) => {
        const { zero, zeros } = inputZero(ctx, az, rows, inner)
        const aScale = ctx.host(as)
        const rowScales = aScale.size === 1 ? null : rowList(ctx, aScale, rows)
        const wScale = columnScale(ctx, bs, (aScale.size === 1 ? aScale.data[0]! : 1) / yScale, w.out, from)
        const zs = rowScales && !zeros ? tensor(new Int32Array(rows).fill(zero)) : zeros
        return qmatmul(
          x,
          w.packed,
          wScale,
          null,
          null,
          rowScales,
          zs,
          weightZeros(ctx, bz, w, from),
          w.out,
          1,
          zs ? 0 : zero,
          'none',
          dtype,
          1,
          yZero,
        )
      })
    },
  })

function rowList(ctx: RunContext, scales: HostTensor, rows: number): Tensor {
  if (rows % scales.size !== 0) ctx.fail('ERR_SHAPE', `${scales.size} scales for ${rows} rows`)
  return tensor(Float32Array.from({ length: rows }, (_, i) => scales.data[i % scales.size]!))
}

export function codeType(ctx: RunContext, zero: Value | undefined): 'u8' | 'i8' {
  const { dtype } = data(ctx, zero)
  return dtype === 'u8' || dtype === 'i8' ? dtype : ctx.fail('ERR_DTYPE', `codes must be u8 or i8, got ${dtype}`)
}

// com.microsoft: products of codes that give floats.

const biasOf = (ctx: RunContext, bias: Value | undefined): Tensor | null => (bias === undefined ? null : ctx.tensor(bias))

defineOnnxOp('MatMulIntegerToFloat', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [4, 7],
  infer: (ctx, [a, b]) => [productType(ctx, a, b, 'f32')],
  run: (ctx, [a, b, as, bs, az, bz, bias]) => {
    const y = matrixProduct(ctx, a, b, (x, w, rows, inner, from) => cast(integerProduct(ctx, x, w, rows, inner, from, az, bz), 'f32'))
    const scaled = mul(y, mul(ctx.tensor(as), ctx.tensor(bs)))
    const b1 = biasOf(ctx, bias)
    return b1 ? add(scaled, b1) : scaled
  },
})

/** Codes of bits 2, 4 or 8 side by side in bytes, the first in the low bits. */
function unpackCodes(bytes: readonly number[], bits: number, size: number, start: number): Int8Array {
  const per = 8 / bits
  return Int8Array.from(
    { length: size },
    (_, i) => ((bytes[start + Math.floor(i / per)]! >> (bits * (i % per))) & (2 ** bits - 1)) - 2 ** (bits - 1),
  )
}

defineOnnxOp('MatMulNBits', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [3, 6],
  hostInputs: [1, 2, 3, 4],
  infer: (_, [x], node) => [valueType(x?.dtype, x?.shape && [...x.shape.slice(0, -1), intAttribute(node, 'N')])],
  run: (ctx, [x, b, scales, zeros, groupIndex, bias], node) => {
    const [n, k, bits, block] = [
      intAttribute(node, 'N'),
      intAttribute(node, 'K'),
      intAttribute(node, 'bits', 4),
      intAttribute(node, 'block_size'),
    ]
    if (![2, 4, 8].includes(bits)) ctx.fail('ERR_UNSUPPORTED', `${bits} bits: 2, 4 and 8 are supported`)
    if (!(n >= 1 && k >= 1 && block >= 16 && block <= 2 ** 20 && Number.isInteger(Math.log2(block))))
      ctx.fail('ERR_MODEL_FORMAT', `N, K and block_size must be sizes and block_size a power of two >= 16, got ${n}, ${k}, ${block}`)
    if (groupIndex !== undefined) ctx.fail('ERR_UNSUPPORTED', 'g_idx (rows in another order) is not supported')
    const t = ctx.tensor(x)
    if (t.shape.at(-1) !== k) ctx.fail('ERR_SHAPE', `x must end in ${k}, got ${t}`)
    const groups = Math.ceil(k / block)
    const wide = groups * block
    const { packed } = cached(b, `bits ${bits} ${n} ${k} ${block}`, () => {
      const [codes, scale] = [ctx.host(b), ctx.host(scales)]
      const blob = (block * bits) / 8
      if (codes.size !== n * groups * blob)
        ctx.fail('ERR_MODEL_FORMAT', `B must have ${n * groups * blob} bytes for N ${n}, K ${k}, block_size ${block}, got ${codes}`)
      if (scale.size !== n * groups) ctx.fail('ERR_MODEL_FORMAT', `scales must have ${n * groups} numbers, got ${scale}`)
      const zero = zeros === undefined ? undefined : zeroPoints(ctx, ctx.host(zeros), n, groups, bits)
      const q = tensor(unpackCodes(codes.data, bits, n * wide, 0), [n, wide])
      const s = tensor(Float32Array.from(scale.data), [n, groups])
      return { packed: wgemmPack(q, s, zero ?? null, bits), shift: 0, out: n }
    })
    const padded = wide === k ? t : pad(t, [[0, wide - k]])
    return wgemm(padded, packed, biasOf(ctx, bias), null, n, 'none')
  },
})

/** Zero points as f32 [N, groups] for codes around 0: packed like the codes, row by row, or floats. */
function zeroPoints(ctx: RunContext, zeros: HostTensor, n: number, groups: number, bits: number): Tensor {
  if (zeros.dtype !== 'u8') {
    if (zeros.size !== n * groups) ctx.fail('ERR_MODEL_FORMAT', `zero_points must have ${n * groups} numbers, got ${zeros}`)
    return tensor(
      Float32Array.from(zeros.data, (z) => z - 2 ** (bits - 1)),
      [n, groups],
    )
  }
  const row = Math.ceil((groups * bits) / 8)
  if (zeros.size !== n * row) ctx.fail('ERR_MODEL_FORMAT', `zero_points must have ${n * row} bytes, got ${zeros}`)
  const out = new Float32Array(n * groups)
  for (let i = 0; i < n; i++) out.set(unpackCodes(zeros.data, bits, groups, i * row), i * groups)
  return tensor(out, [n, groups])
}

/** x quantized over the whole tensor while it runs, times codes. */
defineOnnxOp('DynamicQuantizeMatMul', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [3, 5],
  infer: (ctx, [a, b]) => [productType(ctx, a, b, 'f32')],
  run: (ctx, [a, b, bs, bz, bias]) => {
    const x = ctx.tensor(a)
    const { codes, scale, zero } = dynamicCodes(x)
    const y = matrixProduct(ctx, codes, b, (rows, w, count, inner, from) =>
      cast(integerProduct(ctx, rows, w, count, inner, from, zero, bz), 'f32'),
    )
    const scaled = mul(y, mul(scale, ctx.tensor(bs)))
    const b1 = biasOf(ctx, bias)
    return b1 ? add(scaled, b1) : scaled
  },
})
