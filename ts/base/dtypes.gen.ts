// Generated from native/base/dtype.def by tools/gen.ts. Do not edit.
export type DType = 'f64' | 'f32' | 'f16' | 'bf16' | 'i64' | 'i32' | 'i16' | 'u16' | 'i8' | 'u8' | 'bool'

/** In the order of the native enumeration. */
export const dtypes: readonly DType[] = ['f64', 'f32', 'f16', 'bf16', 'i64', 'i32', 'i16', 'u16', 'i8', 'u8', 'bool']

export const dtypeInfo = {
  f64: { index: 0, bytes: 8, array: Float64Array, safetensors: 'F64', npy: 'f8' },
  f32: { index: 1, bytes: 4, array: Float32Array, safetensors: 'F32', npy: 'f4' },
  f16: { index: 2, bytes: 2, array: Uint16Array, safetensors: 'F16', npy: 'f2' },
  bf16: { index: 3, bytes: 2, array: Uint16Array, safetensors: 'BF16', npy: '' },
  i64: { index: 4, bytes: 8, array: BigInt64Array, safetensors: 'I64', npy: 'i8' },
  i32: { index: 5, bytes: 4, array: Int32Array, safetensors: 'I32', npy: 'i4' },
  i16: { index: 6, bytes: 2, array: Int16Array, safetensors: 'I16', npy: 'i2' },
  u16: { index: 7, bytes: 2, array: Uint16Array, safetensors: 'U16', npy: 'u2' },
  i8: { index: 8, bytes: 1, array: Int8Array, safetensors: 'I8', npy: 'i1' },
  u8: { index: 9, bytes: 1, array: Uint8Array, safetensors: 'U8', npy: 'u1' },
  bool: { index: 10, bytes: 1, array: Uint8Array, safetensors: 'BOOL', npy: 'b1' },
} as const
