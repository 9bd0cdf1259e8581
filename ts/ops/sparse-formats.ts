/**
 * Sparse matrices W [rows, cols] in blocks (BSR), with a bit set, and 2:4: made from dense, back, and y = x W^T * scale + bias. Values are f32, or i8 with a
 * scale [rows] or [1]. ts/kernels/sparse-matrix.ts wraps them. The layouts: native/ops/bsr_shape.h, bitmask.cc, nm_sparse.cc.
 */
import { defineOp, reshape, sum } from '../autograd/index.js'
import { callOp, tensor, type Tensor } from '../tensor/index.js'
import { mul } from './arithmetic.js'
import { matmul, rows } from './matmul.js'
import { cast, inDType } from './memory.js'

/** dx of y = x W^T * scale, from the dense form of W. */
function throughDense(x: Tensor, dy: Tensor, dense: Tensor, scale: Tensor | null): Tensor {
  const w = inDType(dense, x.dtype)
  return reshape(matmul(rows(dy), scale ? mul(w, reshape(scale, [scale.size, 1])) : w), x.shape)
}

type Three = [values: Tensor, indptr: Tensor, index: Tensor]
const bsr = (w: Tensor, blockRows: number, blockCols: number): Three => callOp('bsr_from_dense', [w, blockRows, blockCols]) as Three
const bitmask = (w: Tensor): Three => callOp('bitmask_from_dense', [w]) as Three
const nm = (w: Tensor): [values: Tensor, indices: Tensor] => callOp('nm_from_dense', [w]) as [Tensor, Tensor]

/** [[0, v0, 0, 0, v1], [v2, 0, 0, 0, 0], [0, 0, 0, 0, 0]] with two of each four at most. */
const example = (values: Tensor): Tensor => {
  const [a, b, c] = Array.from(values.read() as Float32Array)
  return tensor([
    [0, a!, 0, 0, b!],
    [c!, 0, 0, 0, 0],
    [0, 0, 0, 0, 0],
  ])
}
const codes = (): Tensor => tensor(new Int8Array([0, -3, 0, 0, 100, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]), [3, 5])

/** w f32 or i8 [rows, cols] -> the blocks (1x16, 4x4 or 16x1) that hold a nonzero: values [16 * blocks], indptr i32 per block row, columns u16. */
export const bsrFromDense = defineOp('bsr_from_dense', {
  grad: null,
  samples: (s) => [
    [example(cast(s.normal(3), 'f32')), 16, 1],
    [codes(), 1, 16],
  ],
})

/** The dense matrix [rows, cols] in the dtype of the values. Checks the whole structure (ERR_MODEL_FORMAT). */
export const bsrToDense = defineOp('bsr_to_dense', {
  grad: null,
  samples: (s) => [
    [...bsr(example(cast(s.normal(3), 'f32')), 4, 4), 3, 5, 4, 4],
    [...bsr(codes(), 16, 1), 3, 5, 16, 1],
  ],
})

/**
 * x f32 [..., cols] -> f32 [..., rows] = x W^T * scale + bias. With xScale > 0 (i8 values only) x is quantized to u8 codes round(x / xScale) + xZero and the product
 * is taken in integers. The gradient flows to x and bias (as if x were not quantized); W is a constant.
 */
export const bsrLinear = defineOp('bsr_linear', {
  grad: ({ args: [x, values, indptr, columns, scale, , n, blockRows, blockCols] }, dy) => ({
    x: () => throughDense(x, dy, bsrToDense(values, indptr, columns, n, x.shape[x.rank - 1]!, blockRows, blockCols), scale),
    bias: () => sum(rows(dy), [0], false),
    values: null,
    indptr: null,
    columns: null,
    scale: null,
  }),
  flops: ({ args: [x, values] }) => (2 * values.size * x.size) / Math.max(1, x.shape[x.rank - 1]!),
  samples: (s) => [
    [s.normal(2, 5), ...bsr(example(cast(s.normal(3), 'f32')), 4, 4), null, s.normal(3), 3, 4, 4, 0, 0],
    [s.normal(5, 5), ...bsr(codes(), 1, 16), s.uniform([3], 0.01, 0.1), null, 3, 1, 16, 0, 0],
    [s.normal(5), ...bsr(codes(), 16, 1), s.uniform([1], 0.01, 0.1), s.normal(3), 3, 16, 1, 0, 0],
  ],
})

/** w f32 or i8 [rows, cols] -> values [nnz], indptr i32 [rows + 1], bits u8 [rows, ceil(cols / 8)]. At most 65536 columns. */
export const bitmaskFromDense = defineOp('bitmask_from_dense', {
  grad: null,
  samples: (s) => [[example(cast(s.normal(3), 'f32'))], [codes()]],
})

/** The dense matrix [rows, cols] in the dtype of the values. Rows whose bits do not match their values: ERR_MODEL_FORMAT. */
export const bitmaskToDense = defineOp('bitmask_to_dense', {
  grad: null,
  samples: (s) => [
    [...bitmask(example(cast(s.normal(3), 'f32'))), 5],
    [...bitmask(codes()), 5],
  ],
})

/** x f32 [..., cols] -> f32 [..., rows] = x W^T * scale + bias. The gradient flows to x and bias; W is a constant. */
export const bitmaskLinear = defineOp('bitmask_linear', {
  grad: ({ args: [x, values, indptr, bits, scale] }, dy) => ({
    x: () => throughDense(x, dy, bitmaskToDense(values, indptr, bits, x.shape[x.rank - 1]!), scale),
    bias: () => sum(rows(dy), [0], false),
    values: null,
    indptr: null,
    bits: null,
    scale: null,
  }),
  flops: ({ args: [x, values] }) => (2 * values.size * x.size) / Math.max(1, x.shape[x.rank - 1]!),
  samples: (s) => [
    [s.normal(2, 5), ...bitmask(example(cast(s.normal(3), 'f32'))), null, s.normal(3)],
    [s.normal(5, 5), ...bitmask(codes()), s.uniform([3], 0.01, 0.1), null],
  ],
})

/** w f32 or i8 [rows, cols] with at most two of each four columns nonzero (else ERR_DATA) -> values [rows, 2 * groups], indices u8 [rows, ceil(groups / 2)]. */
export const nmFromDense = defineOp('nm_from_dense', {
  grad: null,
  samples: (s) => [[example(cast(s.normal(3), 'f32'))], [codes()]],
})

/** The dense matrix [rows, cols] in the dtype of the values. Places that do not ascend, or values beyond cols: ERR_MODEL_FORMAT. */
export const nmToDense = defineOp('nm_to_dense', {
  grad: null,
  samples: (s) => [
    [...nm(example(cast(s.normal(3), 'f32'))), 5],
    [...nm(codes()), 5],
  ],
})

/** x f32 [..., cols] -> f32 [..., rows] = x W^T * scale + bias. The gradient flows to x and bias; W is a constant. */
export const nmLinear = defineOp('nm_linear', {
  grad: ({ args: [x, values, indices, scale] }, dy) => ({
    x: () => throughDense(x, dy, nmToDense(values, indices, x.shape[x.rank - 1]!), scale),
    bias: () => sum(rows(dy), [0], false),
    values: null,
    indices: null,
    scale: null,
  }),
  flops: ({ args: [x, values] }) => (2 * values.size * x.size) / Math.max(1, x.shape[x.rank - 1]!),
  samples: (s) => [
    [s.normal(2, 5), ...nm(example(cast(s.normal(3), 'f32'))), null, s.normal(3)],
    [s.normal(5, 5), ...nm(codes()), s.uniform([3], 0.01, 0.1), null],
  ],
})
