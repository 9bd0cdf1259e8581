/** Hostile GGUF files: F01, F07, F08, F10 to F16 of the reliability rules. */
import { concat, u32le, utf8, type HostileFile } from './corpus.js'

type Row = readonly [name: string, bytes: Uint8Array, expect: HostileFile['expect'], reason?: string]
type Part = Uint8Array | string
const F = 'ERR_MODEL_FORMAT'

export function u64le(...values: readonly (number | bigint)[]): Uint8Array {
  const bytes = new Uint8Array(8 * values.length)
  values.forEach((v, i) => new DataView(bytes.buffer).setBigUint64(8 * i, BigInt.asUintN(64, BigInt(v)), true))
  return bytes
}

const text = (s: Part): Uint8Array => concat(u64le(typeof s === 'string' ? utf8(s).length : s.length), typeof s === 'string' ? utf8(s) : s)
const [U8, U32, F32, BOOL, STRING, ARRAY, U64] = [0, 4, 6, 7, 8, 9, 10]
const kv = (key: Part, type: number, ...value: readonly Part[]): Uint8Array => concat(text(key), u32le(type), ...value)
const u32 = (key: Part, value: number): Uint8Array => kv(key, U32, u32le(value))

interface Tensor {
  readonly name?: Part
  readonly dims?: readonly (number | bigint)[]
  readonly rank?: number
  readonly type?: number
  readonly offset?: number | bigint
}
const entry = ({ name = 't', dims = [4], rank = dims.length, type = 0, offset = 0 }: Tensor): Uint8Array =>
  concat(text(name), u32le(rank), u64le(...dims), u32le(type), u64le(offset))

interface Parts {
  readonly version?: number
  readonly tensors?: readonly Tensor[]
  readonly count?: number | bigint
  readonly keys?: readonly Uint8Array[]
  readonly keyCount?: number | bigint
  readonly data?: number
  readonly alignment?: number
}
/** A file with the parts as they stand; data of zeros, from a multiple of the alignment on. */
export function gguf({
  version = 3,
  tensors = [],
  count = tensors.length,
  keys = [],
  keyCount = keys.length,
  data = 0,
  alignment = 32,
}: Parts): Uint8Array {
  const head = concat('GGUF', u32le(version), u64le(count, keyCount), Buffer.concat(keys), Buffer.concat(tensors.map(entry)))
  return concat(head, new Uint8Array(((alignment - (head.length % alignment)) % alignment) + data))
}
const tensor = (t: Tensor, data = 16): Uint8Array => gguf({ tensors: [t], data })
const key = (...keys: readonly Uint8Array[]): Uint8Array => gguf({ keys })
const array = (type: number, n: number | bigint, ...more: readonly Part[]): Uint8Array =>
  key(kv('a', ARRAY, u32le(type), u64le(n), ...more))
const nested = (depth: number): Uint8Array =>
  key(
    kv(
      'a',
      ARRAY,
      Buffer.concat(Array.from({ length: depth }, () => concat(u32le(ARRAY), u64le(1)))),
      u32le(U8),
      u64le(1),
      Uint8Array.of(7),
    ),
  )
const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty']
const many = (n: number): Uint8Array => gguf({ keys: Array.from({ length: n }, (_, i) => kv(`k${i}`, U8, Uint8Array.of(1))) })

const tables: Readonly<Record<string, readonly Row[]>> = {
  F01: [
    ['no tensors, no keys', gguf({}), 'ok'],
    ['no padding behind the header', concat('GGUF', u32le(3), u64le(0, 0)), 'ok'],
    ['the magic alone', concat('GGUF'), F, 'truncated'],
    ['another magic', concat('GGML', u32le(3), u64le(0, 0)), F, 'magic'],
    ['version 2', gguf({ version: 2, tensors: [{}], data: 16 }), 'ok'],
    ['scalar', tensor({ dims: [] }, 4), 'ok'],
    ['the last tensor with padding', tensor({}, 32), 'ok'],
    ['the last tensor without padding', tensor({}, 16), 'ok'],
  ],
  F07: [
    ['a tensor twice', gguf({ tensors: [{}, { offset: 32 }], data: 48 }), F, 'duplicate'],
    ['a key twice', key(u32('a', 1), u32('a', 1)), F, 'duplicate'],
    ['a key twice, of two types', key(u32('a', 1), kv('a', BOOL, Uint8Array.of(1))), F, 'duplicate'],
  ],
  F08: [
    ['names of Object', gguf({ tensors: names.map((name, i) => ({ name, offset: 32 * i })), data: 112 }), 'ok'],
    ['keys of Object', key(...names.map((name) => u32(name, 1))), 'ok'],
    ['a tensor without a name', tensor({ name: '' }), F, 'name'],
    ['a key without a name', key(u32('', 1)), F, 'name'],
    ['a name of 1 MiB', tensor({ name: 'n'.repeat(2 ** 20) }), 'ok'],
    ['a name of 17 MiB', tensor({ name: 'n'.repeat(17 * 2 ** 20) }), 'ERR_LIMIT'],
    ['a name with NUL', tensor({ name: 'a\0b' }), 'ok'],
    ['a name with a replacement character', tensor({ name: 'a\ufffdb' }), 'ok'],
    ['a name of byte 0xff', tensor({ name: Uint8Array.of(255) }), F, 'encoding'],
    ['a name of a lone surrogate', tensor({ name: Uint8Array.of(0xed, 0xa0, 0x80) }), F, 'encoding'],
    ['a name of an overlong "/"', tensor({ name: Uint8Array.of(0xc0, 0xaf) }), F, 'encoding'],
    ['a name cut in a character', tensor({ name: Uint8Array.of(0x61, 0xe2, 0x82) }), F, 'encoding'],
    ['a key of byte 0xff', key(u32(Uint8Array.of(255), 1)), F, 'encoding'],
    ['a text of byte 0xff', key(kv('a', STRING, text(Uint8Array.of(255)))), F, 'encoding'],
    ['a text with a byte order mark', key(kv('a', STRING, text('\ufeffx'))), 'ok'],
  ],
  F10: [
    ['2^32 x 2^32', tensor({ dims: [2 ** 32, 2 ** 32] }), F, 'shape-overflow'],
    ['2^62+1 x 4, which wraps to 4', tensor({ dims: [2n ** 62n + 1n, 4] }), F, 'shape'],
    ['0 x 2^63', tensor({ dims: [0, 2n ** 63n] }), F, 'shape'],
    ['0 x 2^49', tensor({ dims: [0, 2 ** 49] }), 'ERR_LIMIT'],
    ['0 x 2^48', tensor({ dims: [0, 2 ** 48] }, 0), 'ok'],
    ['2^64-1', tensor({ dims: [2n ** 64n - 1n] }), F, 'shape'],
    ['2^53', tensor({ dims: [2 ** 53] }), F, 'shape'],
    ['2^48 f64 times 16', tensor({ dims: [2 ** 48, 16], type: 28 }), F, 'shape-overflow'],
    ['rank 9', tensor({ dims: [1, 1, 1, 1, 1, 1, 1, 1, 4] }), 'ERR_LIMIT'],
    ['rank 2^32-1', tensor({ rank: 2 ** 32 - 1 }), 'ERR_LIMIT'],
    ['rank 8', tensor({ dims: [4, 1, 1, 1, 1, 1, 1, 1] }), 'ok'],
  ],
  F11: [
    ['1000 x 1000 f32 in 16 bytes', tensor({ dims: [1000, 1000] }), F, 'offsets'],
    ['700 million q4_0 in 18 bytes', tensor({ dims: [700_000_000], type: 2 }, 18), F, 'offsets'],
    ['bytes that are no multiple', tensor({}, 15), F, 'offsets'],
    ['a payload of two blocks', tensor({ dims: [32], type: 8 }, 68), F, 'trailing'],
    ['33 bytes behind the last tensor', tensor({ dims: [8] }, 65), F, 'trailing'],
    ['data, but no tensor', gguf({ data: 64 }), F, 'trailing'],
    ['an empty tensor before 64 bytes', tensor({ dims: [0] }, 64), F, 'trailing'],
  ],
  F12: [
    ...[4, 5, 31, 33, 36, 38, 42, 999, 2 ** 32 - 1].map((type) => [`type ${type}`, tensor({ type }), 'ERR_DTYPE', 'dtype'] as const),
    ['q8_0 of 33 elements', tensor({ dims: [33], type: 8 }, 64), F, 'block'],
    ['q4_0 of 1 x 32: rows of one', tensor({ dims: [1, 32], type: 2 }, 32), F, 'block'],
    ['q4_k of 32', tensor({ dims: [32], type: 12 }, 18), F, 'block'],
    ['q6_k scalar', tensor({ dims: [], type: 14 }, 210), F, 'block'],
    ['iq2_xxs, which is known', gguf({ tensors: [{ dims: [256], type: 16 }], data: 66 }), 'ERR_UNSUPPORTED'],
  ],
  F13: [
    ['2^64-1 tensors', gguf({ count: 2n ** 64n - 1n, data: 64 }), F, 'truncated'],
    ['10^9 tensors', gguf({ count: 1e9, data: 64 }), F, 'truncated'],
    ['1,000,001 tensors', gguf({ count: 1_000_001, data: 25_000_100 }), 'ERR_LIMIT'],
    ['a tensor fewer than there are', gguf({ tensors: [{}, { name: 'u' }], count: 1, data: 16 }), F],
    ['a tensor more than there are', gguf({ tensors: [{}], count: 2, data: 64 }), F],
    ['2^64-1 keys', gguf({ keyCount: 2n ** 64n - 1n, data: 64 }), F, 'truncated'],
    ['10^9 keys', gguf({ keyCount: 1e9, data: 64 }), F, 'truncated'],
    ['100,001 keys', many(100_001), 'ERR_LIMIT'],
    ['a key more than there are', gguf({ keys: [u32('a', 1)], keyCount: 2, data: 64 }), F],
    ['version 0', gguf({ version: 0 }), F, 'version'],
    ['version 1', gguf({ version: 1 }), 'ERR_UNSUPPORTED'],
    ['version 4', gguf({ version: 4 }), 'ERR_UNSUPPORTED'],
    ['version 2^32-1', gguf({ version: 2 ** 32 - 1 }), 'ERR_UNSUPPORTED'],
    ['big-endian version 3', gguf({ version: 0x03000000 }), 'ERR_UNSUPPORTED'],
  ],
  F14: [
    ['a key of 2^64-1 bytes', key(concat(u64le(2n ** 64n - 1n), 'abc', new Uint8Array(32))), F, 'truncated'],
    ['a text of 2^64-1 bytes', key(kv('a', STRING, u64le(2n ** 64n - 1n), 'abc')), F, 'truncated'],
    ['a text of 1 GiB', key(kv('a', STRING, u64le(2 ** 30), 'abc')), F, 'truncated'],
    ['a text of 17 MiB', key(kv('a', STRING, text(new Uint8Array(17 * 2 ** 20)))), 'ERR_LIMIT'],
    ['an array of 2^61 u32', array(U32, 2n ** 61n, new Uint8Array(16)), F, 'truncated'],
    ['an array of 2^62+1 u32', array(U32, 2n ** 62n + 1n, new Uint8Array(16)), F, 'truncated'],
    ['an array of 2^64-1 u8', array(U8, 2n ** 64n - 1n, new Uint8Array(16)), F, 'truncated'],
    ['an array of 10^9 texts', array(STRING, 1e9, new Uint8Array(64)), F, 'truncated'],
    ['an array of 10^9 arrays', array(ARRAY, 1e9, new Uint8Array(64)), F, 'truncated'],
    ['an array of 17 Mi bytes', array(U8, 17 * 2 ** 20, new Uint8Array(17 * 2 ** 20)), 'ERR_LIMIT'],
    ['an array of texts cut short', array(STRING, 2, text('x'), u64le(50)), F, 'truncated'],
    ['arrays in an array', nested(1), 'ok'],
    ['arrays three deep', nested(2), 'ERR_LIMIT'],
    ['arrays 100,000 deep', nested(100_000), 'ERR_LIMIT'],
    ['an array of type 13', array(13, 1, Uint8Array.of(1)), F, 'value-type'],
    ['an array of booleans of 2', array(BOOL, 2, Uint8Array.of(1, 2)), F, 'boolean'],
    ['a boolean of 2', key(kv('a', BOOL, Uint8Array.of(2))), F, 'boolean'],
    ['a value of type 13', key(kv('a', 13, u64le(1))), F, 'value-type'],
    ['a value of type 2^32-1', key(kv('a', 2 ** 32 - 1, u64le(1))), F, 'value-type'],
    ['an empty array', array(STRING, 0), 'ok'],
    ['an f32 NaN', key(kv('a', F32, u32le(0x7fc00000))), 'ok'],
  ],
  F15: [
    ...[0, 1, 4, 13, 48, 2 ** 17, 2 ** 31].map((n) => [`alignment ${n}`, key(u32('general.alignment', n)), F, 'alignment'] as const),
    ['alignment u64', key(kv('general.alignment', U64, u64le(32))), F, 'alignment'],
    ['alignment a text', key(kv('general.alignment', STRING, text('32'))), F, 'alignment'],
    ['alignment an array', key(kv('general.alignment', ARRAY, u32le(U32), u64le(1), u32le(32))), F, 'alignment'],
    [
      'alignment 8',
      gguf({ keys: [u32('general.alignment', 8)], tensors: [{ dims: [2] }, { name: 'u', dims: [1], offset: 8 }], data: 12, alignment: 8 }),
      'ok',
    ],
    ['alignment 4096', gguf({ keys: [u32('general.alignment', 4096)], tensors: [{}], data: 16, alignment: 4096 }), 'ok'],
  ],
  F16: [
    ['an offset past the end', tensor({ offset: 2 ** 40 }), F, 'offsets'],
    ['an offset just past the end', tensor({ offset: 32 }), F, 'offsets'],
    ['an offset that is not aligned', tensor({ offset: 4 }, 32), F, 'alignment'],
    ['offset 2^64-32', tensor({ offset: 2n ** 64n - 32n }), F, 'offsets'],
    [
      'two of offset 2^63-64',
      gguf({ tensors: [{ offset: 2n ** 63n - 64n }, { name: 'u', offset: 2n ** 63n - 64n }], data: 32 }),
      F,
      'offsets',
    ],
    ['two on one place', gguf({ tensors: [{}, { name: 'u' }], data: 16 }), F, 'overlap'],
    ['two that overlap', gguf({ tensors: [{ dims: [16] }, { name: 'u', offset: 32 }], data: 64 }), F, 'overlap'],
    ['10,000 on one place', gguf({ tensors: Array.from({ length: 10_000 }, (_, i) => ({ name: `t${i}` })), data: 16 }), F, 'overlap'],
    ['a hole', gguf({ tensors: [{}, { name: 'u', offset: 64 }], data: 80 }), F, 'hole'],
    ['a hole before the first', gguf({ tensors: [{ offset: 32 }], data: 48 }), F, 'hole'],
    ['in another order', gguf({ tensors: [{ offset: 32 }, { name: 'u' }], data: 48 }), 'ok'],
  ],
}

export const ggufFiles: readonly HostileFile[] = Object.entries(tables).flatMap(([id, rows]) =>
  rows.map(([name, bytes, expect, reason]) => ({ id, name, format: 'gguf' as const, bytes, expect, ...(reason ? { reason } : {}) })),
)
