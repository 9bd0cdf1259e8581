/**
 * Products with 8-bit weights (M x K x N). The bare integer product (s8s8, u8s8: weights packed once, 32-bit
 * results), and whole layers: f32 in, quantized on the way (static: by a known step; dynamic: each row by its own range), f32 out.
 */
import { BEYOND_CACHES, copiesBeyondCaches, reads, type Case, type Family, type Part } from './case.js'

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

const own: readonly Part[] = [
  { contender: 'tersor', kernel: 'gemm.s8s8', label: 's8s8' },
  { contender: 'tersor', kernel: 'gemm.u8s8', label: 'u8s8' },
  { contender: 'tersor', kernel: 'gemm.int8.dynamic', label: 'dynamic' },
  { contender: 'tersor', kernel: 'gemm.int8.static', label: 'static' },
]
const rivals: readonly Part[] = [
  { contender: 'onednn', kernel: 'gemm.u8s8', label: 'u8s8' },
  { contender: 'onednn', kernel: 'gemm.s8s8', label: 's8s8' },
  { contender: 'xnnpack', kernel: 'gemm.s8s8', label: 'qs8' },
  { contender: 'onnxruntime', kernel: 'gemm.u8s8', label: 'u8s8' },
  { contender: 'onnxruntime', kernel: 'gemm.int8.dynamic', label: 'dynamic' },
]

function warm([m, k, n]: readonly [number, number, number]): Case {
  const operations = 2 * m * k * n
  return {
    name: `int8 ${m}x${k}x${n}`,
    params: { m, k, n },
    operations,
    bytes: m * k + k * n + 4 * m * n,
    limits: [{ kernel: 'limit.int8', amount: operations }, ...(m <= 16 ? [reads(k * n)] : [])],
    parts: [...own, ...rivals],
    // A sample holds several calls.
    ...(operations > 5e8 ? { ms: 12 } : {}),
    rare: m === 2048,
  }
}

function cold(m: number, k: number, n: number): Case {
  return {
    name: `int8 ${m}x${k}x${n} cold`,
    params: { m, k, n, copies: copiesBeyondCaches(k * n) },
    operations: 2 * m * k * n,
    bytes: k * n,
    limits: [reads(k * n, BEYOND_CACHES), { kernel: 'limit.int8', amount: 2 * m * k * n }],
    parts: [
      own[0]!,
      own[2]!,
      { contender: 'onednn', kernel: 'gemm.u8s8', label: 'u8s8' },
      { contender: 'onednn', kernel: 'gemm.s8s8', label: 's8s8' },
      { contender: 'onnxruntime', kernel: 'gemm.u8s8', label: 'u8s8' },
    ],
    ms: 30,
  }
}

export const qgemm: Family = {
  name: 'qgemm',
  title: 'int8 GEMM',
  unit: 'GOP/s',
  capsMatter: true,
  cases: [...shapes.map(warm), cold(1, 4096, 4096)],
}
