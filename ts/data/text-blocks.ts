/**
 * A text file in blocks of whole lines, in constant memory: 256 KiB are read at a time. A line of more than 1 MiB comes in pieces, cut at white space
 * (for characters: anywhere); a word of that length is an error. UTF-8 only, a byte order mark is dropped.
 */
import { createHash, type Hash } from 'node:crypto'
import { DataError } from '../base/errors.js'
import { openSource } from '../formats/files.js'
import type { ReadOptions } from '../formats/limits.js'

const CHUNK = 2 ** 18
export const MAX_LINE = 2 ** 20
const LINE_END = 0x0a

export interface TextBlock {
  readonly text: string
  /** Where in the file it begins. */
  readonly start: number
  /** Bytes of the file that it covers. */
  readonly bytes: number
  /** The line goes on in the next block: it was too long. */
  readonly goesOn: boolean
}

export interface BlockOptions extends ReadOptions {
  /** Byte offsets, rising: no block has lines that begin on both sides of one of them. */
  readonly cuts?: readonly number[]
  /** Whether an overlong line may be cut inside a word. */
  readonly insideWords?: boolean
  /** Sees every byte once, in order. */
  readonly hash?: Hash
}

/** A hash for `BlockOptions.hash`. */
export const contentHash = (): Hash => createHash('sha256')

const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0d

/** Where an overlong line is cut: behind the last white space, or before the last character. */
function cutLine(file: string, start: number, bytes: Buffer, insideWords: boolean): number {
  let at = bytes.length
  while (at > 0 && !isSpace(bytes[at - 1]!)) at--
  if (at > 0) return at
  if (!insideWords)
    throw new DataError('ERR_DATA', `text '${file}': a word of more than ${MAX_LINE} bytes at byte ${start}: not a text of words`, {
      details: { path: file, byteOffset: start },
    })
  at = bytes.length - 1
  while (at > 1 && (bytes[at]! & 0xc0) === 0x80) at--
  return at
}

function decode(file: string, start: number, bytes: Buffer): string {
  const mark = start === 0 && bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(mark ? bytes.subarray(3) : bytes)
  } catch (cause) {
    throw new DataError('ERR_DATA', `text '${file}': not UTF-8 (between bytes ${start} and ${start + bytes.length})`, {
      cause,
      details: { path: file, byteOffset: start },
    })
  }
}

/** Splits whole lines at the cuts that fall among them. */
function* split(file: string, start: number, bytes: Buffer, cuts: readonly number[], goesOn: boolean): Generator<TextBlock> {
  let from = 0
  for (const cut of cuts) {
    const within = cut - start
    if (within <= from || within >= bytes.length) continue
    const at = bytes.indexOf(LINE_END, within - 1) + 1
    if (at <= from || at >= bytes.length) continue
    yield { text: decode(file, start + from, bytes.subarray(from, at)), start: start + from, bytes: at - from, goesOn: false }
    from = at
  }
  yield { text: decode(file, start + from, bytes.subarray(from)), start: start + from, bytes: bytes.length - from, goesOn }
}

/** The blocks of a file in order; an empty file has none. */
export function* textBlocks(file: string, { cuts = [], insideWords = false, hash, ...read }: BlockOptions = {}): Generator<TextBlock> {
  const source = openSource(file, read)
  try {
    let start = 0
    let kept: Buffer = Buffer.alloc(0)
    for (let at = 0; at < source.size;) {
      const chunk = source.read(at, Math.min(CHUNK, source.size - at))
      hash?.update(chunk)
      at += chunk.length
      const bytes = kept.length === 0 ? Buffer.from(chunk.buffer, 0, chunk.length) : Buffer.concat([kept, chunk])
      let end = at === source.size ? bytes.length : bytes.lastIndexOf(LINE_END) + 1
      const goesOn = end === 0
      if (goesOn && bytes.length > MAX_LINE) end = cutLine(file, start, bytes, insideWords)
      if (end > 0) yield* split(file, start, bytes.subarray(0, end), cuts, goesOn)
      start += end
      kept = bytes.subarray(end)
    }
  } finally {
    source.close()
  }
}
