/**
 * Dense f32 products: what the int8 and sparse kernels are measured against. oneDNN, ONNX Runtime and XNNPACK get their weights packed beforehand,
 * and so does Tersor's first part; OpenBLAS and the parts `plain weights` ([N, K]) and `matmul` ([K, N]) take them as they lie.
 */
import { BEYOND_CACHES, copiesBeyondCaches, parts, reads, type Case, type Family } from './case.js'

const shapes: readonly (readonly [number, number, number])[] = [
  [128, 768, 768],
  [128, 768, 3072],
  [128, 3072, 768],
  [512, 512, 512],
  [1024, 1024, 1024],
  [2048, 2048, 2048],
  [1, 768, 3072],
  [8, 768, 768],
  [32, 768, 768],
  [16, 4096, 4096],
]

function warm([m, k, n]: readonly [number, number, number]): Case {
  const bytes = 4 * (m * k + k * n + m * n)
  return {
    name: `f32 ${m}x${k}x${n}`,
    params: { m, k, n },
    operations: 2 * m * k * n,
    bytes,
    limits: [{ kernel: 'limit.f32', amount: 2 * m * k * n }, ...(m <= 16 ? [reads(4 * k * n)] : [])],
    parts: [
      { contender: 'tersor', kernel: 'gemm.f32' },
      { contender: 'tersor', kernel: 'gemm.f32.plain', label: 'plain weights' },
      { contender: 'tersor', kernel: 'gemm.f32.matmul', label: 'matmul' },
      ...parts('gemm.f32', 'onednn', 'openblas', 'xnnpack', 'onnxruntime', 'torch'),
    ],
    // A sample holds several calls.
    ...(2 * m * k * n > 5e8 ? { ms: 12 } : {}),
    rare: m === 2048,
  }
}

function cold(k: number, n: number): Case {
  const bytes = 4 * k * n
  return {
    name: `f32 1x${k}x${n} cold`,
    params: { m: 1, k, n, copies: copiesBeyondCaches(bytes) },
    operations: 2 * k * n,
    bytes,
    limits: [reads(bytes, BEYOND_CACHES)],
    parts: [{ contender: 'tersor', kernel: 'gemm.f32' }, ...parts('gemm.f32', 'onednn', 'openblas')],
    ms: 30,
  }
}

export const gemm: Family = { name: 'gemm', title: 'f32 GEMM', unit: 'GFLOP/s', cases: [...shapes.map(warm), cold(4096, 4096)] }
