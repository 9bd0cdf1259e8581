/** All families. */
import type { Family } from './case.js'
import { call } from './call.js'
import { gemm } from './gemm.js'
import { gemmBf16 } from './gemm-bf16.js'
import { eager } from './eager.js'
import { hessian, training } from './nets.js'
import { models } from './models.js'
import { qgemm } from './qgemm.js'
import { quant } from './quant.js'
import { rows } from './rows.js'
import { spmm } from './spmm.js'
import { topk } from './topk.js'
import { wgemm } from './wgemm.js'

export const families: readonly Family[] = [gemm, gemmBf16, qgemm, wgemm, spmm, rows, topk, quant, training, hessian, eager, call, models]
