/** What an entry of the tables is made of. */
import type { ErrorCode } from '../../../ts/base/codes.gen.js'
import { sizeOf } from '../../../ts/base/shape.js'
import { callOp, tensor, type Tensor } from '../../../ts/tensor/index.js'

/** Arguments; then a shape for each result (with its elements where they are known), or a code. */
export type Edge = readonly [
  args: () => readonly unknown[],
  want: ErrorCode | readonly (readonly [shape: readonly number[], elements?: readonly number[]])[],
]

export const f = (...shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => i + 1),
    shape,
  )
export const half = (...shape: number[]): Tensor => callOp('cast', [f(...shape), 'bf16'])[0]!
export const i32 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor => tensor(Int32Array.from(values), shape)
export const i8 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor => tensor(Int8Array.from(values), shape)
export const u8 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor => tensor(Uint8Array.from(values), shape)
export const u16 = (values: readonly number[]): Tensor => tensor(Uint16Array.from(values))
export const pack = (n: number, k: number): Tensor => callOp('qgemm_pack', [i8(new Array<number>(n * k).fill(1), [n, k])])[0]!
export const packHalf = (n: number, k: number): Tensor => callOp('bf16_pack', [tensor(new Float32Array(n * k).fill(1), [n, k])])[0]!
export const packSingle = (n: number, k: number): Tensor => callOp('gemm_pack', [tensor(new Float32Array(n * k).fill(1), [n, k])])[0]!
/** Weights of ones, 4 bits. */
export const pack4 = (n: number, k: number): Tensor =>
  callOp('wgemm_pack', [i8(new Array<number>(n * k).fill(1), [n, k]), tensor([[1]]), null, 4])[0]!
export const project = (out: number, cols: number): Tensor => callOp('ternary_pack', [out, cols, 1, 0])[0]!
