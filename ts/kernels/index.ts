/**
 * Kernels for other packages: int8 and sparse products, masks, codes, and what this machine offers, without models or training.
 *
 * @example
 * import { CsrMatrix, tensor } from 'tersor/kernels'
 * const w = CsrMatrix.fromDense(tensor([[0, 2], [1, 0]]))
 * w.matmul(tensor([[3, 4]])).toArray()   // [[8, 3]]
 */
export {
  PackedWeights,
  matmulInt8,
  matmulInt8Exact,
  matmulInt8Fixed,
  packWeights,
  type CodeOutput,
  type ExactOptions,
  type Int8FixedOptions,
  type Int8Options,
} from './int8.js'
export { PackedGroups, matmulGroups, packGroups, type GroupsOptions } from './groups.js'
export { PackedF32, matmulF32, packF32, type F32Options } from './f32.js'
export { PackedBf16, matmulBf16, packBf16, type Bf16Options } from './bf16.js'
export { CsrMatrix, type CsrOptions, type CsrParts } from './csr-matrix.js'
export {
  BitmaskMatrix,
  BlockMatrix,
  NmMatrix,
  type BitmaskParts,
  type BlockParts,
  type BlockSize,
  type NmParts,
  type QuantizedInput,
  type SparseOptions,
} from './sparse-matrix.js'
export { measureBreakEven, type BreakEven, type BreakEvenOptions, type SparseFormat } from './break-even.js'
export { TernaryProjection, maskToIndices, matmulRows, type RowsOptions, type TernaryOptions } from './rows.js'
export { dequantize, quantize, type QuantizeOptions, type QuantizedRows } from './quantize.js'
export { topKMask, type TopKOptions } from './topk-mask.js'
export {
  gemm,
  histogram,
  linear,
  maskApply,
  maskCount,
  maskPack,
  maskSlice,
  maskUnpack,
  matmul,
  packBits,
  unpackBits,
  type GemmOptions,
} from '../ops/index.js'
export { isa, kernelRows, memory, resetPeakMemory, setMemoryBudget, setThreads, threads } from '../native/devices.js'
export { Tensor, fromRaw, full, keep, ones, scope, tensor, toRaw, zeros } from '../tensor/index.js'
export { TersorError, isTersorError } from '../base/errors.js'
export type { DType, TypedArray } from '../base/dtype.js'
export type { Shape } from '../base/shape.js'
export type { Activation } from '../native/ops.gen.js'
export type { NativeIsa, NativeMemory, NativeRow } from '../native/addon.js'
