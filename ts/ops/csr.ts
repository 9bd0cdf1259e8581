/**
 * Sparse matrices W [rows, cols] in compressed rows: values f32 or i8 [nnz], indptr i32 [rows + 1], columns u16 or i32 [nnz] ascending in
 * each row. i8 values go with a scale [rows] or [1]. ts/kernels/csr-matrix.ts wraps the three arrays and validates them once.
 */
import { defineOp, reshape, sum } from '../autograd/index.js'
import { callOp, tensor, type Tensor } from '../tensor/index.js'
import { mul } from './arithmetic.js'
import { matmul, rows } from './matmul.js'
import { cast, inDType } from './memory.js'

/** [[0, v0, 0], [v1, 0, v2]] */
function example(values: Tensor): [values: Tensor, indptr: Tensor, columns: Tensor] {
  return [values, tensor(new Int32Array([0, 1, 3])), tensor(new Uint16Array([1, 0, 2]))]
}
const codes = (): Tensor => tensor(new Int8Array([-3, 100, 7]))

/** w f32 or i8 [rows, cols] -> values, indptr, columns of its elements that are not zero. */
export const csrFromDense = defineOp('csr_from_dense', {
  grad: null,
  samples: () => [
    [
      tensor([
        [0, 1.5, 0],
        [2, 0, -3],
      ]),
    ],
    [tensor(new Int8Array([0, 0, 5, 0, -7, 1]), [3, 2])],
  ],
})

/** The dense matrix, in the dtype of the values. Checks the whole structure (ERR_MODEL_FORMAT). */
export const csrToDense = defineOp('csr_to_dense', {
  grad: null,
  samples: (s) => [
    [...example(cast(s.normal(3), 'f32')), 3],
    [...example(codes()), 4],
  ],
})

/**
 * values f32 [nnz], indptr, columns u16 of a matrix with `cols` columns -> u8: its rows in groups of three or four that share loads of x, the last argument of
 * csrLinear and csrMultiply, which then compute many vectors faster (docs/performance/spmm.md). u8[0] where that does not pay: below 8 % of values, few values,
 * no AVX-512. The result belongs to this process and is no file format. ERR_MODEL_FORMAT unless columns ascend within the matrix, ERR_DTYPE for other dtypes, ERR_OPTION
 * for cols outside [0, 65536].
 *
 * @example
 * const w = CsrMatrix.from(tensor([[0, 2], [1, 0]]))
 * ops.csrGroup(w.values, w.indptr, w.columns, 2)   // u8[0] = []
 */
export const csrGroup = defineOp('csr_group', {
  grad: null,
  samples: (s) => [[...example(cast(s.normal(3), 'f32')), 3]],
})

/**
 * x f32 [..., cols] -> f32 [..., rows] = x W^T * scale + bias. `packed`: what csrGroup made of the same matrix, or null; many vectors use it. The gradient flows to x and bias;
 * W is a constant.
 */
export const csrLinear = defineOp('csr_linear', {
  grad: ({ args: [x, values, indptr, columns, scale] }, dy) => ({
    x: () => {
      const w = inDType(csrToDense(values, indptr, columns, x.shape[x.rank - 1]!), x.dtype)
      return reshape(matmul(rows(dy), scale ? mul(w, reshape(scale, [scale.size, 1])) : w), x.shape)
    },
    bias: () => sum(rows(dy), [0], false),
    values: null,
    indptr: null,
    columns: null,
    scale: null,
    packed: null,
  }),
  flops: ({ args: [x, values] }) => (2 * values.size * x.size) / Math.max(1, x.shape[x.rank - 1]!),
  samples: (s) => [
    [s.normal(2, 3), ...example(cast(s.normal(3), 'f32')), null, s.normal(2), tensor(new Uint8Array(0))],
    [s.normal(4, 2, 3), ...example(codes()), s.uniform([2], 0.01, 0.1), null, null],
    [s.normal(3), ...example(codes()), s.uniform([1], 0.01, 0.1), s.normal(2), null],
  ],
})

/** x f32 [cols, N] -> f32 [rows, N] = W x * scale + bias: the vectors of x are its columns. `packed` and gradients as in csrLinear. */
export const csrMultiply = defineOp('csr_multiply', {
  grad: ({ args: [values, indptr, columns, x, scale] }, dy) => ({
    x: () => {
      const w = inDType(csrToDense(values, indptr, columns, x.shape[0]!), x.dtype)
      return matmul(scale ? mul(w, reshape(scale, [scale.size, 1])) : w, dy, true, false)
    },
    bias: () => sum(dy, [1], false),
    values: null,
    indptr: null,
    columns: null,
    scale: null,
    packed: null,
  }),
  flops: ({ args: [values, , , x] }) => 2 * values.size * x.shape[1]!,
  samples: (s) => [
    [...example(cast(s.normal(3), 'f32')), s.normal(3, 2), null, s.normal(2), tensor(new Uint8Array(0))],
    [...example(codes()), s.normal(3, 5), s.uniform([2], 0.01, 0.1), null, null],
    [...example(codes()), s.normal(3, 1), s.uniform([1], 0.01, 0.1), s.normal(2), null],
  ],
})

/** i8 codes -> u8 [bytes]: run-length coded zeros, for storage. */
export const sparseEncode = defineOp('sparse_encode', {
  grad: null,
  samples: () => [[tensor(new Int8Array([0, 0, 5, 0, -7, 1, 0, 0]), [2, 4])]],
})

/** The codes of sparseEncode in `shape`. Damaged input is ERR_MODEL_FORMAT. */
export const sparseDecode = defineOp('sparse_decode', {
  grad: null,
  samples: () => [[callOp('sparse_encode', [tensor(new Int8Array([0, 0, 5, 0, -7, 1, 0, 0]), [2, 4])])[0]!, [2, 4]]],
})
