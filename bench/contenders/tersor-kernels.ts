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
    const { call, out } = into(api.matmul, x, api.tensor(floats(k! * n!, 22), [k, n]))
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
    const { call, out } = into(api.linear, x, api.tensor(w, [n, k]))
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

const topk: Make = (api, p) => {
  const x = api.tensor(bellFloats(p.n!, 44), [p.n])
  const size = api.scope(() => api.keep(api.abs(x)))
  const count = Math.floor(p.n! * p.keep!)
  const mask = api.topKMask(size, count)
  return { calls: [() => api.topKMask(size, count).dispose()], check: Number(api.maskCount(mask, p.n).read()[0]) }
}

export const kernels: Readonly<Record<string, Make>> = {
  'gemm.f32': gemmF32,
  'gemm.f32.linear': gemmF32Linear,
  'gemm.int8.static': gemmInt8Static,
  'spmm.f32': spmm,
  topk,
}
