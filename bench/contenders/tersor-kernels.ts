/** What Tersor calls for each kernel name of the cases. Data is made once; a call is what a user's program would do again and again. */
import { bellFloats, floats, signedBytes, sparseFloats, sumAbs, transposed } from '../lib/data.js'
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

const gemmF32: Make = (api, p) => {
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

/** The weights of a layer: [N, K]. */
const gemmF32Linear: Make = (api, p) => {
  const { k, n } = p
  const x = activations(api, p)
  const w = transposed(floats(k! * n!, 22), k!, n!)
  let check = 0
  const calls = copies(p, () => {
    const { call, out } = into(api.linear, x, api.tensor(w, [n, k]), null)
    check = sumAbs(out.read())
    return call
  })
  return { calls, check }
}

const gemmInt8Static: Make = (api, p) => {
  const { k, n } = p
  const x = activations(api, p)
  const codes = api.tensor(transposed(signedBytes(k! * n!, 22), k!, n!), [n, k])
  const wScale = api.tensor(new Float32Array(n!).fill(0.01), [n])
  const calls = copies(p, () => {
    const w = api.packWeights(codes)
    return () => api.matmulInt8(x, w, { xScale: 1 / 127, wScale }).dispose()
  })
  return { calls }
}

const spmm: Make = (api, p) => {
  const { m, k, n, sparsity } = p
  const w = api.CsrMatrix.fromDense(api.tensor(sparseFloats(m! * k!, 33, sparsity!), [m, k]))
  const x = api.tensor(transposed(floats(k! * n!, 22), k!, n!), [n, k])
  const y = w.matmul(x)
  return { calls: [() => w.matmul(x).dispose()], check: sumAbs(y.read()) }
}

const gemmBf16: Make = (api, p) => {
  const { k, n } = p
  const x = activations(api, p)
  const w = api.tensor(transposed(floats(k! * n!, 22), k!, n!), [n, k])
  let check = 0
  const calls = copies(p, () => {
    const packed = api.packBf16(w)
    check = sumAbs(api.matmulBf16(x, packed).read())
    return () => api.matmulBf16(x, packed).dispose()
  })
  return { calls, check }
}

const gemmGroups: Make = (api, p) => {
  const { k, n, bits, group } = p
  const x = activations(api, p)
  const codes = api.quantize(api.tensor(transposed(floats(k! * n!, 22), k!, n!), [n, k]), { bits, groups: k! / group! })
  return {
    calls: copies(p, () => {
      const w = api.packGroups(codes, bits)
      return () => api.matmulGroups(x, w).dispose()
    }),
  }
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
  'gemm.f32.linear': gemmF32Linear,
  'gemm.int8.static': gemmInt8Static,
  'gemm.bf16': gemmBf16,
  'gemm.groups': gemmGroups,
  'spmm.f32': spmm,
  topk,
  'quant.range': overMatrix((api, x) => [() => disposed(api.ops.rangeRows(x, 1))]),
  'quant.quantize': overMatrix((api, x, p) => [into(api.ops.quantizeRows, x, rowScales(api, p), null, -127, 127).call]),
  'quant.dequantize': overMatrix((api, x, p) => {
    const scale = rowScales(api, p)
    return [into(api.ops.dequantizeRows, api.ops.quantizeRows(x, scale, null, -127, 127), scale, null).call]
  }),
  'quant.histogram': overMatrix((api, x) => [into(api.histogram, x, -1, 1, 2048).call]),
  'call.empty': (api) => ({ calls: [() => api.threads()] }),
  'call.handle': (api) => ({ calls: [into(api.ops.argmax, api.tensor([[1]]), 0).call] }),
  'call.tensors': (api) => ({ calls: [into(api.ops.linear, api.tensor([[1]]), api.tensor([[1]]), api.tensor([1])).call] }),
}
