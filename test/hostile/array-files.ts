/** Hostile npy and idx files: F10, F11, F24 of the reliability rules. */
import { gzipSync } from 'node:zlib'
import { concat, latin1, u16le, u32le, type HostileFile } from './corpus.js'

type Row = readonly [name: string, bytes: Uint8Array, expect: HostileFile['expect'], reason?: string]
const F = 'ERR_MODEL_FORMAT'

/** An .npy file of version 1.0 with the header as it stands. */
export function npy(dict: string, data: number | Uint8Array = 0): Uint8Array {
  const text = latin1(dict)
  return concat('\x93NUMPY\x01\x00', u16le(text.length), text, typeof data === 'number' ? new Uint8Array(data) : data)
}

const header = (descr: string, shape: string, order = 'False'): string =>
  `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`
const f4 = (shape: string, data = 0): Uint8Array => npy(header("'<f4'", shape), data)

const npyRows: readonly Row[] = [
  ['header length 4 GiB', concat('\x93NUMPY\x02\x00', u32le(0xffffffff), new Uint8Array(100)), 'ERR_LIMIT'],
  ['header length 64 KiB + 1', concat('\x93NUMPY\x02\x00', u32le(65537), new Uint8Array(70_000)), 'ERR_LIMIT'],
  ['header length past the end', concat('\x93NUMPY\x01\x00', u16le(500), new Uint8Array(100)), F, 'truncated'],
  ['shape 65536 x 65536 in 80 bytes', f4('(65536, 65536)', 4), F, 'truncated'],
  ['shape that wraps', f4('(4611686018427387905, 4)', 16), F, 'shape'],
  ['2^40 x 2^40', f4('(1099511627776, 1099511627776)', 4), F, 'shape-overflow'],
  ['0 x 2^49', f4('(0, 562949953421312)'), 'ERR_LIMIT'],
  ['objects (pickle)', npy(header("'|O'", '(1,)'), 30), 'ERR_UNSUPPORTED'],
  ['objects, as structure', npy(header("[('a', '|O')]", '(1,)'), 30), 'ERR_UNSUPPORTED'],
  ['text', npy(header("'<U2'", '(1,)'), 8), 'ERR_UNSUPPORTED'],
  ['bytes', npy(header("'|S4'", '(1,)'), 4), 'ERR_UNSUPPORTED'],
  ['complex', npy(header("'<c8'", '(1,)'), 8), 'ERR_UNSUPPORTED'],
  ['u8 of 64 bits', npy(header("'<u8'", '(1,)'), 8), 'ERR_UNSUPPORTED'],
  ['dtype without order', npy(header("'f4'", '(1,)'), 4), 'ERR_UNSUPPORTED'],
  ['dtype of native order', npy(header("'=f4'", '(1,)'), 4), 'ERR_UNSUPPORTED'],
  ['f4 without order', npy(header("'|f4'", '(1,)'), 4), 'ERR_UNSUPPORTED'],
  ['dtype empty', npy(header("''", '(1,)'), 4), 'ERR_UNSUPPORTED'],
  ['dtype of 60,000 characters', npy(header(`'${'<'.repeat(60_000)}'`, '(1,)'), 4), 'ERR_UNSUPPORTED'],
  ['big-endian: converted', npy(header("'>f4'", '(1,)'), 4), 'ok'],
  ['version 9', concat('\x93NUMPY\x09\x00', u16le(10), new Uint8Array(40)), 'ERR_UNSUPPORTED'],
  ['version 0', concat('\x93NUMPY\x00\x00', u16le(10), new Uint8Array(40)), 'ERR_UNSUPPORTED'],
  ['version 1.1', concat('\x93NUMPY\x01\x01', u16le(10), new Uint8Array(40)), 'ERR_UNSUPPORTED'],
  ['wrong magic', concat('\x93NUMPX\x01\x00', u16le(10), new Uint8Array(40)), F, 'magic'],
  [
    '100,000 dimensions',
    concat('\x93NUMPY\x02\x00', u32le(60_000), header("'<f4'", `(${'1,'.repeat(29_970)})`).padEnd(60_000), new Uint8Array(4)),
    'ERR_LIMIT',
  ],
  ['rank 9', f4('(1, 1, 1, 1, 1, 1, 1, 1, 1)', 4), 'ERR_LIMIT'],
  ['dimension -1', f4('(-1,)', 4), F, 'shape'],
  ['dimension 1.5', f4('(1.5,)', 4), F, 'syntax'],
  ['dimension 1e3', f4('(1e3,)', 4), F, 'syntax'],
  ['dimension 0x4', f4('(0x4,)', 4), F, 'syntax'],
  ['dimension True', f4('(True,)', 4), F, 'syntax'],
  ['dimension text', f4("('1',)", 4), F, 'syntax'],
  ['dimension of Python 2', f4('(1L,)', 4), F, 'syntax'],
  ['shape of one in parentheses', f4('(1)', 4), F, 'syntax'],
  ['shape a list', f4('[1]', 4), F, 'syntax'],
  ['shape a number', f4('1', 4), F, 'syntax'],
  ['shape with two commas', f4('(1,,)', 4), F, 'syntax'],
  ['shape an expression', f4('(2*2,)', 16), F, 'syntax'],
  ['60,000 parentheses', npy(header("'<f4'", '('.repeat(60_000)), 4), F, 'syntax'],
  ['60,000 brackets', npy(header('['.repeat(60_000), '(1,)'), 4), 'ERR_UNSUPPORTED'],
  ['not a dictionary', npy("('<f4', False, (1,))\n", 4), F, 'syntax'],
  ['a call', npy("dict(descr='<f4', fortran_order=False, shape=(1,))\n", 4), F, 'syntax'],
  ['code behind it', npy(`${header("'<f4'", '(1,)').trim()} + __import__('os')\n`, 4), F, 'trailing'],
  ['a key too many', npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': (1,), }\n", 4), F, 'key'],
  ['a key twice', npy("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 4), F, 'key'],
  ['key __proto__', npy("{'__proto__': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 4), F, 'key'],
  ['no shape', npy("{'descr': '<f4', 'fortran_order': False}\n", 4), F, 'incomplete'],
  ['no descr', npy("{'fortran_order': False, 'shape': (1,)}\n", 4), F, 'incomplete'],
  ['order 1', npy(header("'<f4'", '(1,)', '1'), 4), F, 'syntax'],
  ['order None', npy(header("'<f4'", '(1,)', 'None'), 4), F, 'syntax'],
  ['header of zeros', npy('\0'.repeat(118), 4), F, 'syntax'],
  ['header empty', npy('', 4), F, 'syntax'],
  ['text not closed', npy("{'descr': '<f4", 4), F, 'syntax'],
  ['an escape', npy("{'descr': '\\x3cf4', 'fortran_order': False, 'shape': (1,)}\n", 4), F, 'syntax'],
  ['payload short by one', f4('(2,)', 7), F, 'truncated'],
  ['payload long by one', f4('(2,)', 9), F, 'trailing'],
  ['a second array behind', concat(f4('(1,)', 4), f4('(1,)', 4)), F, 'trailing'],
  ['empty but bytes', f4('(0,)', 4), F, 'trailing'],
  ['booleans that are not 0 or 1', npy(header("'|b1'", '(2,)'), Uint8Array.of(1, 255)), F, 'boolean'],
  ['Fortran order of rank 8', npy(header("'|i1'", '(1, 2, 1, 2, 1, 2, 1, 2)', 'True'), 16), 'ok'],
  ['Fortran order, empty', npy(header("'<f4'", '(3, 0)', 'True')), 'ok'],
  ['unpadded header', npy("{'descr':'<f4','fortran_order':False,'shape':(2,)}", 8), 'ok'],
]

const be = (...values: number[]): Uint8Array => {
  const bytes = u32le(...values)
  for (let i = 0; i < bytes.length; i += 4) bytes.subarray(i, i + 4).reverse()
  return bytes
}
const idx = (type: number, dims: number[], data: number, rank = dims.length): Uint8Array =>
  concat(Uint8Array.of(0, 0, type, rank), be(...dims), new Uint8Array(data))
const good = idx(8, [2, 2], 4)
const wrongCrc = Uint8Array.from(gzipSync(good))
wrongCrc[wrongCrc.length - 8]! ^= 1
const wrongSize = Uint8Array.from(gzipSync(good))
wrongSize[wrongSize.length - 4]! ^= 1

const idxRows: readonly Row[] = [
  ['good', good, 'ok'],
  ['rank 0', idx(8, [], 1), F, 'shape'],
  ['rank 9', idx(8, [1, 1, 1, 1, 1, 1, 1, 1, 1], 1), 'ERR_LIMIT'],
  ['rank 255 in 8 bytes', idx(8, [1], 1, 255), 'ERR_LIMIT'],
  ['rank 3 in 8 bytes', idx(8, [1], 0, 3), F, 'truncated'],
  ['type 0x0a', idx(0x0a, [1], 1), 'ERR_DTYPE'],
  ['type 0', idx(0, [1], 1), 'ERR_DTYPE'],
  ['type 0xff', idx(0xff, [1], 1), 'ERR_DTYPE'],
  ['magic 1', concat(Uint8Array.of(1, 0, 8, 1), be(1), new Uint8Array(1)), F, 'magic'],
  ['2^32-1 twice', idx(8, [0xffffffff, 0xffffffff], 4), F, 'shape-overflow'],
  ['2^32-1 f64', idx(0x0e, [0xffffffff], 8), F, 'truncated'],
  ['1000 x 28 x 28 in 16 bytes', idx(8, [1000, 28, 28], 4), F, 'truncated'],
  ['payload short by one', idx(8, [2, 2], 3), F, 'truncated'],
  ['payload long by one', idx(8, [2, 2], 5), F, 'trailing'],
  ['no elements', idx(8, [0, 5], 0), 'ok'],
  ['gzip of a good file', Uint8Array.from(gzipSync(good)), 'ok'],
  ['gzip twice', Uint8Array.from(gzipSync(gzipSync(good))), F, 'magic'],
  ['gzip, wrong CRC', wrongCrc, F, 'compression'],
  ['gzip, wrong length', wrongSize, F, 'compression'],
  ['gzip, bytes behind', concat(Uint8Array.from(gzipSync(good)), 'behind'), F],
  ['gzip, header only', Uint8Array.of(0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3), F, 'compression'],
  ['gzip of 100 MiB of zeros', Uint8Array.from(gzipSync(new Uint8Array(100 * 2 ** 20))), 'ERR_LIMIT'],
]

const toFiles = (id: string, format: 'npy' | 'idx', rows: readonly Row[]): HostileFile[] =>
  rows.map(([name, bytes, expect, reason]) => ({ id, name, format, bytes, expect, ...(reason ? { reason } : {}) }))

export const arrayFiles: readonly HostileFile[] = [...toFiles('F24', 'npy', npyRows), ...toFiles('F11', 'idx', idxRows)]
