/**
 * The table of contents of a zip file, read strictly (source: PKWARE APPNOTE 6.3, sections 4.3.7, 4.3.12, 4.3.16). Entries must lie one after
 * the other without overlap from the first byte of the file to the central directory: overlapping entries are how small zip files expand
 * without end, and bytes between entries are how one file becomes two formats. fflate, which writes our files, checks neither these nor the CRCs.
 */
import { UnsupportedError } from '../base/errors.js'
import type { ByteSource } from './files.js'
import { formatError, limitError, type FormatContext } from './limits.js'
import { inflateBound, inflateEntry } from './inflate.js'

export interface ZipEntry {
  readonly name: string
  readonly method: number
  readonly crc: number
  readonly compressed: number
  readonly size: number
  readonly headerOffset: number
  /** Where its data begins; known after `locateEntries`. */
  dataOffset: number
}

const END_BYTES = 22
const DESCRIPTOR_FLAG = 8
const U32_MAX = 0xffffffff

function unsupported(ctx: FormatContext, what: string): never {
  throw new UnsupportedError('ERR_UNSUPPORTED', `${ctx.where}: ${what} is not supported`, { details: { what } })
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** Place and size of the central directory, from the record at the end of the file. */
function findDirectory(ctx: FormatContext, source: ByteSource): { offset: number; bytes: number; count: number } {
  const tail = Math.min(source.size, END_BYTES + 0xffff)
  const view = viewOf(source.read(source.size - tail, tail))
  for (let at = tail - END_BYTES; at >= 0; at--) {
    if (view.getUint32(at, true) !== 0x06054b50 || at + END_BYTES + view.getUint16(at + 20, true) !== tail) continue
    const count = view.getUint16(at + 10, true)
    const bytes = view.getUint32(at + 12, true)
    const offset = view.getUint32(at + 16, true)
    if (count === 0xffff || bytes === U32_MAX || offset === U32_MAX) unsupported(ctx, 'zip64')
    if (view.getUint16(at + 4, true) !== 0 || view.getUint16(at + 6, true) !== 0 || view.getUint16(at + 8, true) !== count)
      unsupported(ctx, 'a zip file of several parts')
    const end = source.size - tail + at
    if (offset + bytes !== end)
      throw formatError(ctx, 'layout', `the directory [${offset}, ${offset + bytes}) does not end where the end record begins`, {
        byteOffset: end,
      })
    return { offset, bytes, count }
  }
  throw formatError(ctx, 'truncated', 'no end record: not a zip file, or cut off', { byteOffset: source.size })
}

function decodeName(ctx: FormatContext, bytes: Uint8Array, byteOffset: number): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw formatError(ctx, 'encoding', 'an entry name is not UTF-8', { byteOffset })
  }
}

interface RawEntry extends ZipEntry {
  readonly flags: number
}

function readDirectory(ctx: FormatContext, source: ByteSource): { entries: RawEntry[]; end: number } {
  const { offset, bytes, count } = findDirectory(ctx, source)
  if (count > ctx.limits.zipEntries) throw limitError(ctx.where, 'zipEntries', count, ctx.limits.zipEntries)
  const directory = source.read(offset, bytes)
  const view = viewOf(directory)
  const entries: RawEntry[] = []
  let at = 0
  for (let i = 0; i < count; i++) {
    if (at + 46 > bytes || view.getUint32(at, true) !== 0x02014b50)
      throw formatError(ctx, 'syntax', `directory entry ${i} is damaged`, { byteOffset: offset + at })
    const nameEnd = at + 46 + view.getUint16(at + 28, true)
    const next = nameEnd + view.getUint16(at + 30, true) + view.getUint16(at + 32, true)
    if (next > bytes) throw formatError(ctx, 'syntax', `directory entry ${i} is cut off`, { byteOffset: offset + at })
    const entry: RawEntry = {
      name: decodeName(ctx, directory.subarray(at + 46, nameEnd), offset + at + 46),
      flags: view.getUint16(at + 8, true),
      method: view.getUint16(at + 10, true),
      crc: view.getUint32(at + 16, true),
      compressed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      headerOffset: view.getUint32(at + 42, true),
      dataOffset: 0,
    }
    if (entry.compressed === U32_MAX || entry.size === U32_MAX || entry.headerOffset === U32_MAX) unsupported(ctx, 'zip64')
    if (entry.flags & 0x2041) unsupported(ctx, 'encryption')
    if (entry.method !== 0 && entry.method !== 8) unsupported(ctx, `compression method ${entry.method}`)
    if (entry.method === 0 && entry.size !== entry.compressed)
      throw formatError(ctx, 'size', `entry ${JSON.stringify(entry.name)} is stored but its sizes differ`, { byteOffset: offset + at })
    entries.push(entry)
    at = next
  }
  if (at !== bytes) throw formatError(ctx, 'trailing', `${bytes - at} bytes after the last directory entry`, { byteOffset: offset + at })
  return { entries, end: offset }
}

/** Compares each entry with its local header and checks that the entries follow each other. */
function locateEntries(ctx: FormatContext, source: ByteSource, entries: readonly RawEntry[], end: number): void {
  const sorted = [...entries].sort((a, b) => a.headerOffset - b.headerOffset)
  let at = 0
  let gaps: readonly number[] = [0]
  for (const entry of sorted) {
    const { headerOffset, name } = entry
    const section = JSON.stringify(name.slice(0, 200))
    if (!gaps.includes(headerOffset - at)) {
      const reason = headerOffset < at ? 'overlap' : 'hole'
      throw formatError(ctx, reason, `entry ${section} begins at ${headerOffset}, the one before ends at ${at}`, {
        byteOffset: headerOffset,
      })
    }
    if (headerOffset + 30 > end)
      throw formatError(ctx, 'layout', `entry ${section} lies behind the directory`, { byteOffset: headerOffset })
    const view = viewOf(source.read(headerOffset, 30))
    const nameBytes = view.getUint16(26, true)
    entry.dataOffset = headerOffset + 30 + nameBytes + view.getUint16(28, true)
    at = entry.dataOffset + entry.compressed
    if (view.getUint32(0, true) !== 0x04034b50 || at > end)
      throw formatError(ctx, 'layout', `the local header of entry ${section} is damaged`, { byteOffset: headerOffset })
    const local = decodeName(ctx, source.read(headerOffset + 30, nameBytes), headerOffset + 30)
    if (local !== name || view.getUint16(8, true) !== entry.method || view.getUint16(6, true) !== entry.flags)
      throw formatError(ctx, 'layout', `the local header of entry ${section} differs from the directory`, { byteOffset: headerOffset })
    gaps = entry.flags & DESCRIPTOR_FLAG ? [12, 16, 20, 24] : [0] // with or without signature, 32- or 64-bit sizes
  }
  if (!gaps.includes(end - at)) throw formatError(ctx, 'hole', `${end - at} bytes before the directory`, { byteOffset: at })
}

/** The entries of a zip file, in the order of its directory, within the limits of what they may expand to. */
export function readZipEntries(ctx: FormatContext, source: ByteSource): ZipEntry[] {
  if (source.size < END_BYTES)
    throw formatError(ctx, 'truncated', `a zip file has at least ${END_BYTES} bytes`, { byteOffset: source.size })
  const { entries, end } = readDirectory(ctx, source)
  const names = new Set<string>()
  let total = 0
  for (const { name, size } of entries) {
    if (names.has(name)) throw formatError(ctx, 'duplicate', `entry ${JSON.stringify(name.slice(0, 200))} stands twice`)
    names.add(name)
    total += size
  }
  const bound = inflateBound(ctx, source.size)
  if (total > bound) throw limitError(ctx.where, 'inflatedBytes', total, bound)
  locateEntries(ctx, source, entries, end)
  return entries
}

export function readZipEntry(ctx: FormatContext, source: ByteSource, entry: ZipEntry): Uint8Array {
  const bytes = source.read(entry.dataOffset, entry.compressed)
  return inflateEntry(ctx, bytes, entry.method, entry.size, entry.crc, { section: entry.name, byteOffset: entry.dataOffset })
}
