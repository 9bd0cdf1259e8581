/** Masks of exactly k weights of largest magnitude. The limit is one read of the scores. */
import { reads, type Case, type Family } from './case.js'

function one(n: number, keep: number, rare = false): Case {
  return {
    name: `mask ${n.toExponential().replace('e+', 'e')} keep ${keep * 100} %`,
    params: { n, keep },
    operations: 0,
    bytes: 4 * n,
    limits: [reads(4 * n)],
    parts: [
      { contender: 'tersor', kernel: 'topk' },
      { contender: 'stl', kernel: 'topk', label: 'nth_element' },
      { contender: 'numpy', kernel: 'topk', label: 'partition' },
      { contender: 'torch', kernel: 'topk', label: 'topk' },
      { contender: 'torch', kernel: 'topk.kthvalue', label: 'kthvalue' },
      { contender: 'javascript', kernel: 'topk', label: 'Float32Array.sort' },
    ],
    rare,
    ms: 10,
  }
}

export const topk: Family = {
  name: 'topk',
  title: 'top-k magnitude mask',
  unit: 'GB/s',
  cases: [one(1e6, 0.1), one(1e7, 0.1), one(1e7, 0.5, true), one(8.5e7, 0.1, true)],
}
