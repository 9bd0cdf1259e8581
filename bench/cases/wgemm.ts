/** Weights of 8, 4, 3 and 2 bits in groups, f32 activations. At M = 1 the weights' bytes are the limit; ONNX Runtime's MatMulNBits is the rival. */
import { BEYOND_CACHES, copiesBeyondCaches, reads, type Case, type Family } from './case.js'

const GROUP = 128

function one(bits: number, m: number, k: number, n: number, cold = false): Case {
  const bytes = Math.ceil((k * n * bits) / 8) + (4 * k * n) / GROUP
  const operations = 2 * m * k * n
  const name = `${bits} bit ${m}x${k}x${n}${cold ? ' cold' : ''}`
  return {
    name,
    params: { m, k, n, bits, group: GROUP, ...(cold ? { copies: copiesBeyondCaches(bytes) } : {}) },
    operations,
    bytes,
    limits: [reads(bytes, cold ? BEYOND_CACHES : bytes), { kernel: 'limit.int8', amount: operations }],
    parts: [
      { contender: 'tersor', kernel: 'gemm.groups' },
      { contender: 'tersor', kernel: 'gemm.int8.dynamic', label: 'int8' },
      ...(bits === 4 ? [{ contender: 'onnxruntime', kernel: 'gemm.groups', label: 'MatMulNBits' }] : []),
      { contender: 'onednn', kernel: 'gemm.u8s8', label: 'u8s8' },
      { contender: 'onednn', kernel: 'gemm.f32', label: 'f32' },
    ],
    ...(cold ? { ms: 30 } : {}),
  }
}

export const wgemm: Family = {
  name: 'wgemm',
  title: 'weights of few bits',
  unit: 'GOP/s',
  cases: [
    ...[8, 4, 3, 2].map((bits) => one(bits, 1, 4096, 4096, true)),
    one(4, 1, 768, 3072),
    one(4, 16, 4096, 4096),
    one(4, 128, 768, 3072),
  ],
}
