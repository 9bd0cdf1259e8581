/**
 * What a GGUF file may hold: types of tensors (ggml's numbers and sizes of blocks) and of metadata values. One table each; readers, writers and codecs
 * follow from them (ggml-org/ggml, docs/gguf.md and ggml.h).
 */
import type { DType } from '../../base/dtype.js'

export interface GgufTypeInfo {
  /** ggml's number. */
  readonly id: number
  /** Elements of a block; a row is a whole number of blocks. */
  readonly block: number
  readonly bytes: number
  /** The element type, where a tensor is stored as plain numbers. */
  readonly dtype?: DType
}

const info = (id: number, block: number, bytes: number, dtype?: DType): GgufTypeInfo => ({ id, block, bytes, ...(dtype ? { dtype } : {}) })

/** Tensor types by name. Values of types without codec (blocks.ts) can be kept as they are stored, not read. */
export const ggufTypes = {
  f32: info(0, 1, 4, 'f32'),
  f16: info(1, 1, 2, 'f16'),
  bf16: info(30, 1, 2, 'bf16'),
  f64: info(28, 1, 8, 'f64'),
  i8: info(24, 1, 1, 'i8'),
  i16: info(25, 1, 2, 'i16'),
  i32: info(26, 1, 4, 'i32'),
  i64: info(27, 1, 8, 'i64'),
  q4_0: info(2, 32, 18),
  q4_1: info(3, 32, 20),
  q5_0: info(6, 32, 22),
  q5_1: info(7, 32, 24),
  q8_0: info(8, 32, 34),
  q8_1: info(9, 32, 36),
  q2_k: info(10, 256, 84),
  q3_k: info(11, 256, 110),
  q4_k: info(12, 256, 144),
  q5_k: info(13, 256, 176),
  q6_k: info(14, 256, 210),
  q8_k: info(15, 256, 292),
  iq2_xxs: info(16, 256, 66),
  iq2_xs: info(17, 256, 74),
  iq3_xxs: info(18, 256, 98),
  iq1_s: info(19, 256, 50),
  iq4_nl: info(20, 32, 18),
  iq3_s: info(21, 256, 110),
  iq2_s: info(22, 256, 82),
  iq4_xs: info(23, 256, 136),
  iq1_m: info(29, 256, 56),
  tq1_0: info(34, 256, 54),
  tq2_0: info(35, 256, 66),
  mxfp4: info(39, 32, 17),
  nvfp4: info(40, 64, 36),
  q1_0: info(41, 128, 18),
} as const satisfies Readonly<Record<string, GgufTypeInfo>>

export type GgufType = keyof typeof ggufTypes
export const ggufTypeNames = Object.keys(ggufTypes) as readonly GgufType[]
export const ggufTypeById: ReadonlyMap<number, GgufType> = new Map(ggufTypeNames.map((name) => [ggufTypes[name].id, name]))

export const infoOf = (type: GgufType): GgufTypeInfo => ggufTypes[type]

/** Types of metadata values in the order of their numbers. */
export const ggufValueTypes = ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'f32', 'bool', 'string', 'array', 'u64', 'i64', 'f64'] as const
export type GgufValueType = (typeof ggufValueTypes)[number]
export type GgufNumberType = Exclude<GgufValueType, 'bool' | 'string' | 'array'>

/** Bytes of one value of a type that has a fixed size. */
export const valueBytes: Readonly<Record<GgufNumberType | 'bool', number>> = {
  u8: 1,
  i8: 1,
  u16: 2,
  i16: 2,
  u32: 4,
  i32: 4,
  f32: 4,
  u64: 8,
  i64: 8,
  f64: 8,
  bool: 1,
}

/** Numbers of 64 bits are bigint: they come back as they were. */
export type GgufScalar =
  | { readonly type: 'u8' | 'i8' | 'u16' | 'i16' | 'u32' | 'i32' | 'f32' | 'f64'; readonly value: number }
  | { readonly type: 'u64' | 'i64'; readonly value: bigint }
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'string'; readonly value: string }

export type GgufArray =
  | { readonly type: 'array'; readonly of: 'string'; readonly value: readonly string[] }
  | { readonly type: 'array'; readonly of: 'u64' | 'i64'; readonly value: BigUint64Array | BigInt64Array }
  | { readonly type: 'array'; readonly of: 'bool' | Exclude<GgufNumberType, 'u64' | 'i64'>; readonly value: NumberArray }
  | { readonly type: 'array'; readonly of: 'array'; readonly value: readonly GgufArray[] }

export type NumberArray = Uint8Array | Int8Array | Uint16Array | Int16Array | Uint32Array | Int32Array | Float32Array | Float64Array

/** A metadata value with its type, as the file has it. Booleans of arrays are bytes of 0 and 1. */
export type GgufValue = GgufScalar | GgufArray

export const arrayClasses = {
  u8: Uint8Array,
  i8: Int8Array,
  u16: Uint16Array,
  i16: Int16Array,
  u32: Uint32Array,
  i32: Int32Array,
  f32: Float32Array,
  f64: Float64Array,
  u64: BigUint64Array,
  i64: BigInt64Array,
  bool: Uint8Array,
} as const
