/** What Tersor calls for each kernel name of the cases. Data is made once; a call is what a user's program would do again and again. */
import { bellFloats, bytes, floats, signedBytes, sparseFloats, sumAbs, transposed } from '../lib/data.js'
import type { ServedCase } from '../lib/serve.js'

/** The package under test: of any revision, hence untyped. */
export type Api = any
type Params = Record<string, number>
type Make = (api: Api, p: Params) => ServedCase

/** One call per copy of the weights (params.copies). */
function copies(p: Params, make: (i: number) => () => unknown): (() => unknown)[] {
  return Array.from({ length: p.copies ?? 1 }, (_, i) => make(i))
}

/** A call of an op: into memory that is used again where the op offers it, else a result that is freed at once. */
function into(op: any, ...args: unknown[]): { call: () => unknown; out: any } {
  const out = op(...args)
  if (op.into) return { out, call: () => op.into(out, ...args) }
  return { out, call: () => op(...args).dispose() }
}

const activations = (api: Api, { m, k }: Params): any => api.tensor(floats(m! * k!, 11), [m, k])

/** B as [K, N], as libraries of linear algebra take it. */
const gemmF32Matmul: Make = (api, p) => {
  const { k, n } = p
  const x = activations(api, p)
  let check = 0
  const calls = copies(p, () => {
    const { call, out } = into(api.matmul, x, api.tensor(floats(k! * n!, 22), [k, n]), false, false)
    check = sumAbs(out.read())
    return call
  })
  return { calls, check }
}

/** A product of x with weights [N, K] in some packed form. `make` packs them and prepares the call over one copy. */
function layer(p: Params, make: () => { call: () => unknown; out: any }): ServedCase {
  let check = 0
  const calls = copies(p, () => {
    const { call, out } = make()
    check = sumAbs(out.read())
    return call
  })
  return { calls, check }
}
const weights = (p: Params): Float32Array => transposed(floats(p.k! * p.n!, 22), p.k!, p.n!)
const codes = (api: Api, p: Params): any => api.tensor(transposed(signedBytes(p.k! * p.n!, 22), p.k!, p.n!), [p.n, p.k])
const columnScales = (api: Api, { n }: Params): any => api.tensor(new Float32Array(n!).fill(0.01), [n])

/** Weights [N, K] as they lie: what needs packing is packed in every call. */
const gemmF32Plain: Make = (api, p) => {
  const x = activations(api, p)
  const w = weights(p)
  return layer(p, () => into(api.linear, x, api.tensor(w, [p.n, p.k]), null))
}

/** Packed beforehand, as oneDNN, ONNX Runtime and XNNPACK do with constant weights. */
const gemmF32: Make = (api, p) => {
  if (!api.packF32) return gemmF32Plain(api, p)
  const x = activations(api, p)
  const w = api.tensor(weights(p), [p.n, p.k])
  return layer(p, () => into(api.ops.linearPacked, x, api.packF32(w).packed, null, null, p.n, 'none'))
}

const gemmBf16: Make = (api, p) => {
  const x = activations(api, p)
  const w = api.tensor(weights(p), [p.n, p.k])
  return layer(p, () => into(api.ops.linearBf16, x, api.packBf16(w).packed, null, p.n, 'none', 'f32'))
}

const gemmGroups: Make = (api, p) => {
  const { k, n, bits, group } = p
  const x = activations(api, p)
  const q = api.quantize(api.tensor(weights(p), [n, k]), { bits, groups: k! / group! })
  return { calls: layer(p, () => into(api.ops.wgemm, x, api.packGroups(q, bits).packed, null, null, n, 'none')).calls }
}

/** Integers in, exact 32-bit integers out: what rivals call s8s8s32 and u8s8s32. */
const gemmIntegers =
  (isSigned: boolean): Make =>
  (api, p) => {
    const { m, k, n } = p
    const x = api.tensor(isSigned ? signedBytes(m! * k!, 11) : bytes(m! * k!, 11), [m, k])
    const w = codes(api, p)
    return layer(p, () => into(api.ops.qgemmS32, x, api.packWeights(w).packed, null, null, n, 0))
  }

/** f32 in, quantized by a step known beforehand, f32 out. */
const gemmInt8Static: Make = (api, p) => {
  const x = activations(api, p)
  const w = codes(api, p)
  const scale = columnScales(api, p)
  return { calls: layer(p, () => into(api.ops.qlinear, x, api.packWeights(w).packed, scale, null, p.n, 1 / 127, 128, 'none')).calls }
}

/** f32 in, each row quantized by its own range, f32 out. */
const gemmInt8Dynamic: Make = (api, p) => {
  const x = activations(api, p)
  const w = codes(api, p)
  const scale = columnScales(api, p)
  return { calls: layer(p, () => into(api.ops.qlinearDynamic, x, api.packWeights(w).packed, scale, null, null, p.n, true, 'none')).calls }
}

const sparseWeight = (api: Api, { m, k, sparsity }: Params): any =>
  api.CsrMatrix.fromDense(api.tensor(sparseFloats(m! * k!, 33, sparsity!), [m, k]))

/** Packed beforehand, as libxsmm and XNNPACK do; nothing where a revision does not know it. */
const grouped = (w: any): any[] => (w.pack ? [w.pack().packed] : [])

/** W X with the vectors of X as its columns, as the other libraries compute it. */
const spmm: Make = (api, p) => {
  const { k, n } = p
  const w = sparseWeight(api, p)
  const { call, out } = into(
    api.ops.csrMultiply,
    w.values,
    w.indptr,
    w.columns,
    api.tensor(floats(k! * n!, 22), [k, n]),
    null,
    null,
    ...grouped(w),
  )
  return { calls: [call], check: sumAbs(out.read()) }
}

/** X^T W^T: the vectors of X are rows, as in a linear layer. */
const spmmLinear: Make = (api, p) => {
  const { k, n } = p
  const w = sparseWeight(api, p)
  const x = api.tensor(transposed(floats(k! * n!, 22), k!, n!), [n, k])
  const { call, out } = into(api.ops.csrLinear, x, w.values, w.indptr, w.columns, null, null, ...grouped(w))
  return { calls: [call], check: sumAbs(out.read()) }
}

/** Blocks of 4 x 4 weights in int8, a share of which is zero; f32 in, quantized on the way. */
const spmmBlocks: Make = (api, p) => {
  const { m, k, n, sparsity } = p
  const w = floats(m! * k!, 33)
  const blockOf = (i: number): number => Math.floor(i / k! / 4) * (k! / 4) + ((i % k!) >> 2)
  const kept = sparseFloats((m! * k!) / 16, 55, sparsity!)
  const zeroed = w.map((v, i) => (kept[blockOf(i)] === 0 ? 0 : v))
  const blocked = api.BlockMatrix.from(api.tensor(zeroed, [m, k]), [4, 4], { values: 'i8' })
  const x = api.tensor(transposed(floats(k! * n!, 22), k!, n!), [n, k])
  return { calls: [() => blocked.matmul(x, null, { xScale: 1 / 127 }).dispose()] }
}

/** Every tenth row of a weight times one x: the others' memory is not read. */
const selectedRows =
  (isInt8: boolean): Make =>
  (api, p) => {
    const { k, n } = p
    const index = api.tensor(Int32Array.from({ length: Math.floor(n! / 10) }, (_, i) => i * 10))
    const x = activations(api, p)
    const w = isInt8 ? codes(api, p) : api.tensor(weights(p), [n, k])
    const scale = isInt8 ? columnScales(api, p) : null
    const copy = (): any => (isInt8 ? codes(api, p) : api.tensor(weights(p), [n, k]))
    const calls = copies(p, (i) => {
      const own = i ? copy() : w
      return () => api.matmulRows(x, own, index, { scale }).dispose()
    })
    return { calls }
  }

const topk: Make = (api, p) => {
  const size = api.tensor(bellFloats(p.n!, 44).map(Math.abs), [p.n])
  const { call, out } = into(api.topKMask, size, Math.floor(p.n! * p.keep!))
  return { calls: [call], check: Number(api.maskCount(out, p.n).read()[0]) }
}

/** An op over a matrix [rows, cols]. */
const overMatrix =
  (make: (api: Api, x: any, p: Params) => (() => unknown)[]): Make =>
  (api, p) => ({ calls: make(api, api.tensor(floats(p.rows! * p.cols!, 22), [p.rows, p.cols]), p) })

const disposed = (list: readonly { dispose(): void }[]): void => list.forEach((t) => t.dispose())
const rowScales = (api: Api, { rows }: Params): any => api.tensor(new Float32Array(rows!).fill(1 / 127), [rows, 1])

export const kernels: Readonly<Record<string, Make>> = {
  'gemm.f32': gemmF32,
  'gemm.f32.plain': gemmF32Plain,
  'gemm.f32.matmul': gemmF32Matmul,
  'gemm.bf16': gemmBf16,
  'gemm.s8s8': gemmIntegers(true),
  'gemm.u8s8': gemmIntegers(false),
  'gemm.int8.static': gemmInt8Static,
  'gemm.int8.dynamic': gemmInt8Dynamic,
  'gemm.groups': gemmGroups,
  'spmm.f32': spmm,
  'spmm.linear': spmmLinear,
  'spmm.block': spmmBlocks,
  'rows.f32': selectedRows(false),
  'rows.int8': selectedRows(true),
  topk,
  'quant.range': overMatrix((api, x) => [() => disposed(api.ops.rangeRows(x, 1))]),
  'quant.quantize': overMatrix((api, x, p) => [into(api.ops.quantizeRows, x, rowScales(api, p), null, -127, 127).call]),
  'quant.dequantize': overMatrix((api, x, p) => {
    const scale = rowScales(api, p)
    return [into(api.ops.dequantizeRows, api.ops.quantizeRows(x, scale, null, -127, 127), scale, null).call]
  }),
  'quant.histogram': overMatrix((api, x) => [into(api.histogram, x, -1, 1, 2048).call]),
  'call.empty': (api) => ({ calls: [() => api.threads()] }),
  'call.handle': (api) => ({ calls: [into(api.ops.scaleShift, api.tensor([[1]]), 2, 1).call] }),
  'call.tensors': (api) => ({ calls: [into(api.ops.linear, api.tensor([[1]]), api.tensor([[1]]), api.tensor([1])).call] }),
}
