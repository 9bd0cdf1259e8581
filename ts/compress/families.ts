/** The passes of the package by family, as programs call them: the one list that the registry and the public names are made of. */
import { distillTrain } from './distill/train.js'
import { dual as buildDual } from './dual/build.js'
import { svd } from './factorize/svd.js'
import { csr } from './sparsify/csr.js'
import { layout } from './sparsify/layout.js'

export { prune } from './prune/index.js'
export { quantize } from './quantize/index.js'
/** Passes that train a smaller net on what a larger one says. */
export const distill = { train: distillTrain } as const
/** Passes that give layers a little twin (dual-module inference). */
export const dual = { build: buildDual } as const
/** Passes that make two smaller matrices of one. */
export const factorize = { svd } as const
/** Passes that store only what is not 0. */
export const sparsify = { csr, layout } as const
