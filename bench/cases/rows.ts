/** Exact products of a tenth of the rows of a weight, in memory: the time should be that of the rows that are read. */
import { BEYOND_CACHES, copiesBeyondCaches, reads, type Case, type Family } from './case.js'

function one(type: 'f32' | 'int8', k: number, n: number): Case {
  const whole = k * n * (type === 'f32' ? 4 : 1)
  const params = { m: 1, k, n, copies: copiesBeyondCaches(whole) }
  return {
    name: `${type} 10 % of ${n} rows of ${k} cold`,
    params,
    operations: 2 * k * Math.floor(n / 10),
    bytes: whole / 10,
    limits: [reads(whole / 10, BEYOND_CACHES)],
    parts: [
      { contender: 'tersor', kernel: `rows.${type}` },
      { contender: 'tersor', kernel: type === 'f32' ? 'gemm.f32' : 'gemm.s8s8', label: 'all rows' },
      { contender: 'onednn', kernel: type === 'f32' ? 'gemm.f32' : 'gemm.u8s8', label: 'all rows' },
    ],
    ms: 20,
  }
}

export const rows: Family = { name: 'rows', title: 'selected rows', unit: 'GB/s', cases: [one('f32', 4096, 4096), one('int8', 4096, 4096)] }
