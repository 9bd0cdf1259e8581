/** All families. */
import type { Family } from './case.js'
import { gemm } from './gemm.js'
import { qgemm } from './qgemm.js'
import { spmm } from './spmm.js'
import { topk } from './topk.js'

export const families: readonly Family[] = [gemm, qgemm, spmm, topk]
