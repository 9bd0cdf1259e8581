/** Products with bf16 weights and f32 sums. */
import { BEYOND_CACHES, copiesBeyondCaches, parts, reads, type Case, type Family, type Limit } from './case.js'

function one(m: number, k: number, n: number, cold = false): Case {
  const bytes = 2 * k * n
  const operations = 2 * m * k * n
  const peak: Limit = { kernel: 'limit.bf16', amount: operations }
  return {
    name: `bf16 ${m}x${k}x${n}${cold ? ' cold' : ''}`,
    params: { m, k, n, ...(cold ? { copies: copiesBeyondCaches(bytes) } : {}) },
    operations,
    bytes,
    limits: m === 1 ? [peak, reads(bytes, cold ? BEYOND_CACHES : bytes)] : [peak],
    parts: [...parts('gemm.bf16', 'tersor', 'onednn'), { contender: 'onednn', kernel: 'gemm.f32', label: 'f32' }],
    ...(cold ? { ms: 30 } : {}),
  }
}

export const gemmBf16: Family = {
  name: 'gemm_bf16',
  title: 'bf16 GEMM',
  unit: 'GFLOP/s',
  cases: [one(128, 768, 768), one(128, 768, 3072), one(1024, 1024, 1024), one(1, 768, 3072), one(1, 4096, 4096, true)],
}
