/** Hostile zip (npz) files, built record by record (PKWARE APPNOTE 6.3). */
import { crc32, deflateRawSync } from 'node:zlib'
import { npy } from './array-files.js'
import { concat, u16le, u32le, utf8, type HostileFile } from './corpus.js'

const good = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", 4)

interface Entry {
  name?: string | Uint8Array
  localName?: string
  data?: Uint8Array
  /** What stands in the file; default `data`. */
  stored?: Uint8Array
  method?: number
  localMethod?: number
  flags?: number
  localFlags?: number
  crc?: number
  size?: number
  compressed?: number
  /** Where the directory says the entry is; default where it is. */
  offset?: number
  extra?: number
  gap?: number
  signature?: number
}

interface Tail {
  count?: number
  directoryBytes?: number
  directoryOffset?: number
  disk?: number
  comment?: string
  behind?: string
  before?: string
  gapBeforeDirectory?: number
  directoryJunk?: number
}

function zip(entries: readonly Entry[], tail: Tail = {}): Uint8Array {
  const parts: Uint8Array[] = [concat(tail.before ?? '')]
  const directory: Uint8Array[] = []
  let at = parts[0]!.length
  for (const e of entries) {
    const name = typeof e.name === 'object' ? e.name : utf8(e.name ?? 'x.npy')
    const data = e.data ?? good
    const stored = e.stored ?? data
    const method = e.method ?? 0
    const flags = e.flags ?? 0
    const sizes = u32le(e.crc ?? crc32(data), e.compressed ?? stored.length, e.size ?? data.length)
    const local = e.localName === undefined ? name : utf8(e.localName)
    const extra = new Uint8Array(e.extra ?? 0)
    parts.push(new Uint8Array(e.gap ?? 0))
    at += e.gap ?? 0
    directory.push(
      concat(
        u32le(0x02014b50),
        u16le(20, 20, flags, method, 0, 0x21),
        sizes,
        u16le(name.length, 0, 0, 0, 0),
        u32le(0, e.offset ?? at),
        name,
      ),
    )
    const record = concat(
      u32le(e.signature ?? 0x04034b50),
      u16le(20, e.localFlags ?? flags, e.localMethod ?? method, 0, 0x21),
      sizes,
      u16le(local.length, extra.length),
      local,
      extra,
      stored,
    )
    parts.push(record)
    at += record.length
  }
  parts.push(new Uint8Array(tail.gapBeforeDirectory ?? 0))
  at += tail.gapBeforeDirectory ?? 0
  const all = concat(...directory, new Uint8Array(tail.directoryJunk ?? 0))
  const count = tail.count ?? entries.length
  const comment = utf8(tail.comment ?? '')
  const end = concat(
    u32le(0x06054b50),
    u16le(tail.disk ?? 0, 0, count, count),
    u32le(tail.directoryBytes ?? all.length, tail.directoryOffset ?? at),
    u16le(comment.length),
    comment,
  )
  return concat(...parts, all, end, tail.behind ?? '')
}

const bombData = new Uint8Array(50 * 2 ** 20)
const bomb = Uint8Array.from(deflateRawSync(bombData))
const deflated = Uint8Array.from(deflateRawSync(good))
const F = 'ERR_MODEL_FORMAT'

type Row = readonly [name: string, bytes: Uint8Array, expect: HostileFile['expect'], reason?: string]
const rows: readonly Row[] = [
  ['stored', zip([{}]), 'ok'],
  ['deflated', zip([{ method: 8, stored: deflated }]), 'ok'],
  ['no entries', zip([]), 'ok'],
  ['with a comment', zip([{}], { comment: 'hello' }), 'ok'],
  ['with local extra fields', zip([{ extra: 20 }]), 'ok'],
  ['name that climbs: only a name', zip([{ name: '../../x.npy' }]), 'ok'],
  ['name __proto__', zip([{ name: '__proto__.npy' }]), 'ok'],
  ['not an npy name', zip([{ name: 'x.txt' }]), F, 'name'],
  ['empty tensor name', zip([{ name: '.npy' }]), F, 'name'],
  ['name not UTF-8', zip([{ name: Uint8Array.of(0xff, 0x2e, 0x6e, 0x70, 0x79) }]), F, 'encoding'],
  ['name twice', zip([{}, {}]), F, 'duplicate'],
  ['content is not npy', zip([{ data: utf8('hello, world') }]), F, 'magic'],
  ['two entries on one place (overlap)', zip([{ name: 'a.npy' }, { name: 'b.npy', offset: 0 }]), F, 'overlap'],
  ['overlap by some bytes', zip([{ name: 'a.npy' }, { name: 'b.npy', offset: 50 }]), F, 'overlap'],
  ['a gap between entries', zip([{ name: 'a.npy' }, { name: 'b.npy', gap: 7 }]), F, 'hole'],
  ['bytes before the first entry', zip([{}], { before: 'MZ, an executable' }), F, 'hole'],
  ['bytes before, offsets as without', zip([{ offset: 0 }], { before: 'MZ, an executable' }), F],
  ['bytes before the directory', zip([{}], { gapBeforeDirectory: 9 }), F, 'hole'],
  ['bytes in the directory', zip([{}], { directoryJunk: 9 }), F, 'trailing'],
  ['bytes behind', zip([{}], { behind: 'behind' }), F, 'truncated'],
  ['wrong CRC', zip([{ crc: 1 }]), F, 'checksum'],
  ['wrong CRC, deflated', zip([{ method: 8, stored: deflated, crc: 1 }]), F, 'checksum'],
  ['size too small', zip([{ method: 8, stored: deflated, size: 20 }]), 'ERR_LIMIT'],
  ['size too large', zip([{ method: 8, stored: deflated, size: 5000 }]), F, 'size'],
  ['stored sizes differ', zip([{ size: 5 }]), F, 'size'],
  ['compressed size past the file', zip([{ method: 8, compressed: 100_000 }]), F, 'layout'],
  ['deflate data damaged', zip([{ method: 8, stored: deflated.map((b, i) => (i === 3 ? b ^ 0xff : b)) }]), F],
  ['deflate data cut', zip([{ method: 8, stored: deflated.slice(0, -4) }]), F, 'compression'],
  ['deflate data with bytes behind', zip([{ method: 8, stored: concat(deflated, 'behind') }]), F, 'trailing'],
  ['encrypted', zip([{ flags: 1 }]), 'ERR_UNSUPPORTED'],
  ['strongly encrypted', zip([{ flags: 0x41 }]), 'ERR_UNSUPPORTED'],
  ['bzip2', zip([{ method: 12 }]), 'ERR_UNSUPPORTED'],
  ['method 0xffff', zip([{ method: 0xffff }]), 'ERR_UNSUPPORTED'],
  ['zip64 sizes', zip([{ size: 0xffffffff, compressed: 0xffffffff }]), 'ERR_UNSUPPORTED'],
  ['zip64 offset', zip([{ offset: 0xffffffff }]), 'ERR_UNSUPPORTED'],
  ['zip64 directory', zip([{}], { directoryOffset: 0xffffffff }), 'ERR_UNSUPPORTED'],
  ['zip64 count', zip([{}], { count: 0xffff }), 'ERR_UNSUPPORTED'],
  ['several disks', zip([{}], { disk: 1 }), 'ERR_UNSUPPORTED'],
  ['20,000 entries announced', zip([{}], { count: 20_000 }), 'ERR_LIMIT'],
  ['one entry too many announced', zip([{}], { count: 2 }), F, 'syntax'],
  ['one entry too few announced', zip([{ name: 'a.npy' }, { name: 'b.npy' }], { count: 1 }), F, 'trailing'],
  ['directory too short', zip([{}], { directoryBytes: 20 }), F, 'layout'],
  ['directory past the file', zip([{}], { directoryOffset: 2 ** 31 }), F, 'layout'],
  ['entry past the file', zip([{ offset: 2 ** 31 }]), F],
  ['local signature wrong', zip([{ signature: 0x04034b51 }]), F, 'layout'],
  ['local name differs', zip([{ localName: 'y.npy' }]), F, 'layout'],
  ['local method differs', zip([{ localMethod: 8 }]), F, 'layout'],
  ['local flags differ', zip([{ localFlags: 8 }]), F, 'layout'],
  ['a bomb: 50 MiB of zeros in 50 KiB', zip([{ method: 8, data: bombData, stored: bomb }]), 'ERR_LIMIT'],
  ['a bomb that lies about its size', zip([{ method: 8, data: bombData, stored: bomb, size: 100 }]), 'ERR_LIMIT'],
  ['4 GiB announced', zip([{ method: 8, stored: deflated, size: 0xfffffffe }]), 'ERR_LIMIT'],
  ['end record only in the comment', zip([{}], { comment: 'PK\x05\x06'.padEnd(22, '\0') }), 'any'],
  ['21 bytes', new Uint8Array(21), F, 'truncated'],
  ['22 zeros', new Uint8Array(22), F, 'truncated'],
]

export const zipFiles: readonly HostileFile[] = rows.map(([name, bytes, expect, reason]) => ({
  id: 'ZIP',
  name,
  format: 'npz' as const,
  bytes,
  expect,
  ...(reason ? { reason } : {}),
}))
