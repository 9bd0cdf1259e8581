/**
 * Sparse weights times dense activations: CSR f32 W [M, K] times X [K, N]; effective operations count the nonzeros only. 'Tersor' computes W X as the other
 * libraries do, from columns to columns; 'Tersor linear' X^T W^T, from rows to rows: it transposes X and the result.
 */
import { parts, reads, type Case, type Family, type Part } from './case.js'

const dense = (m: number, k: number, n: number): Part[] => {
  // The dense product of the same layer: N rows of activations times K x M weights.
  const params = { m: n, k, n: m }
  return [
    { contender: 'onednn', kernel: 'gemm.f32', label: 'dense f32', params },
    { contender: 'openblas', kernel: 'gemm.f32', label: 'dense f32', params },
    { contender: 'onednn', kernel: 'gemm.u8s8', label: 'dense int8', params },
  ]
}

function one(m: number, k: number, n: number, sparsity: number, rare = false): Case {
  const nonzeros = Math.round(m * k * (1 - sparsity))
  const bytes = 6 * nonzeros // 4-byte value, 2-byte column
  return {
    name: `csr f32 ${m}x${k} ${Math.round(sparsity * 100)} % x ${n}`,
    params: { m, k, n, sparsity },
    operations: 2 * nonzeros * n,
    bytes,
    limits: [...(n >= 16 ? [{ kernel: 'limit.spmm' as const, amount: 2 * nonzeros * n }] : []), reads(bytes)],
    parts: [
      ...parts('spmm.f32', 'tersor'),
      ...(n > 1 ? [{ contender: 'tersor', kernel: 'spmm.linear', label: 'linear' }] : []),
      ...parts('spmm.f32', 'eigen', 'libxsmm', 'xnnpack', 'scipy', 'torch'),
      ...dense(m, k, n),
    ],
    rare,
  }
}

function blocks(m: number, k: number, n: number, sparsity: number): Case {
  const nonzeros = Math.round(m * k * (1 - sparsity))
  const dense = { m: n, k, n: m }
  return {
    name: `block int8 ${m}x${k} ${Math.round(sparsity * 100)} % x ${n}`,
    params: { m, k, n, sparsity },
    operations: 2 * nonzeros * n,
    bytes: nonzeros,
    limits: [{ kernel: 'limit.int8', amount: 2 * nonzeros * n }],
    parts: [
      { contender: 'tersor', kernel: 'spmm.block' },
      { contender: 'tersor', kernel: 'gemm.int8.static', label: 'dense int8', params: dense },
      { contender: 'onednn', kernel: 'gemm.u8s8', label: 'dense int8', params: dense },
    ],
  }
}

export const spmm: Family = {
  name: 'spmm',
  title: 'sparse x dense',
  unit: 'GFLOP/s',
  cases: [
    ...[0.5, 0.7, 0.8, 0.9, 0.95, 0.98].map((s) => one(3072, 768, 128, s)),
    ...[0.8, 0.9, 0.95].map((s) => blocks(3072, 768, 128, s)),
    one(4096, 4096, 1, 0.9),
    one(4096, 4096, 16, 0.9),
    one(4096, 4096, 1, 0.7),
    one(4096, 4096, 1, 0.5, true),
  ],
}
