/** Decompression that cannot be made to fill the memory: the output is bounded before the first byte is expanded. */
import { gunzipSync, inflateRawSync } from 'node:zlib'
import { crc32 } from './crc32.js'
import { errnoOf } from './io.js'
import { formatError, limitError, type FormatContext, type FormatDetails } from './limits.js'

const FREE_BYTES = 16 * 2 ** 20

/** With `info: true` Node also tells how much of the input was used, which its types do not say. */
interface Inflated {
  readonly buffer: Uint8Array
  readonly engine: { readonly bytesWritten: number }
}

/** What `compressed` bytes may expand to. */
export function inflateBound(ctx: FormatContext, compressed: number): number {
  return Math.min(ctx.limits.inflatedBytes, Math.max(FREE_BYTES, compressed * ctx.limits.inflateRatio))
}

function run(ctx: FormatContext, bound: number, details: FormatDetails, inflate: () => unknown, length: number): Uint8Array {
  let result: Inflated
  try {
    result = inflate() as Inflated
  } catch (error) {
    if (errnoOf(error) === 'ERR_BUFFER_TOO_LARGE') throw limitError(ctx.where, 'inflatedBytes', bound + 1, bound)
    throw formatError(ctx, 'compression', `compressed data is damaged: ${(error as Error).message}`, details)
  }
  if (result.engine.bytesWritten !== length)
    throw formatError(ctx, 'trailing', `${length - result.engine.bytesWritten} bytes after the compressed data`, details)
  return result.buffer
}

/** A whole .gz file. */
export function gunzip(ctx: FormatContext, bytes: Uint8Array): Uint8Array {
  const bound = inflateBound(ctx, bytes.byteLength)
  return run(ctx, bound, { byteOffset: 0 }, () => gunzipSync(bytes, { maxOutputLength: bound, info: true }), bytes.byteLength)
}

/** Raw deflate data that must expand to exactly `size` bytes with checksum `crc`. */
export function inflateEntry(
  ctx: FormatContext,
  bytes: Uint8Array,
  method: number,
  size: number,
  crc: number,
  details: FormatDetails,
): Uint8Array {
  const options = { maxOutputLength: Math.max(size, 1), info: true }
  const data = method === 0 ? bytes : run(ctx, size, details, () => inflateRawSync(bytes, options), bytes.byteLength)
  if (data.byteLength !== size) throw formatError(ctx, 'size', `expands to ${data.byteLength} bytes, ${size} were announced`, details)
  if (crc32(data) !== crc) throw formatError(ctx, 'checksum', 'the CRC does not fit: the file is damaged', details)
  return data
}
