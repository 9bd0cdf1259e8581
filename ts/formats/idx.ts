/**
 * idx files (the format of MNIST: http://yann.lecun.com/exdb/mnist/, "the IDX file format"): one tensor, big-endian,
 * `0 0 type rank | u32 dims | data`. A gzip'ed file is recognised by its first bytes, never by its name.
 */
import { bytesPerElement, type DType, type RawTensor } from '../base/dtype.js'
import { DTypeError, ShapeError } from '../base/errors.js'
import { writeFileAtomic, type WriteOptions } from './atomic.js'
import { readRegularFile } from './files.js'
import { gunzip } from './inflate.js'
import { checkRawTensor, countBytes, formatContext, formatError, limitError, type FormatContext, type ReadOptions } from './limits.js'
import { swapBytes } from './npy.js'

const dtypeByCode = new Map<number, DType>([
  [0x08, 'u8'],
  [0x09, 'i8'],
  [0x0b, 'i16'],
  [0x0c, 'i32'],
  [0x0d, 'f32'],
  [0x0e, 'f64'],
])

/** What the first bytes of an idx file say: `head` holds them, `size` is the length of the file. Data begin at `offset`, big-endian. */
export function readIdxHeader(
  ctx: FormatContext,
  head: Uint8Array,
  size: number,
): { readonly dtype: DType; readonly shape: readonly number[]; readonly offset: number } {
  if (size < 4) throw formatError(ctx, 'truncated', `an idx file has at least 4 bytes`, { byteOffset: size })
  if (head[0] !== 0 || head[1] !== 0)
    throw formatError(ctx, 'magic', 'not an idx file: it must begin with two zero bytes', { byteOffset: 0 })
  const dtype = dtypeByCode.get(head[2]!)
  if (dtype === undefined)
    throw new DTypeError('ERR_DTYPE', `${ctx.where}: element type 0x${head[2]!.toString(16)} is unknown (byte 2)`, {
      details: { format: ctx.format, reason: 'dtype', byteOffset: 2 },
    })
  const rank = head[3]!
  if (rank === 0) throw formatError(ctx, 'shape', 'an idx file has at least one dimension', { byteOffset: 3 })
  if (rank > ctx.limits.rank) throw limitError(ctx.where, 'rank', rank, ctx.limits.rank)
  const offset = 4 + 4 * rank
  if (size < offset) throw formatError(ctx, 'truncated', 'the file ends inside its dimensions', { byteOffset: size })
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i))
  const bytes = countBytes(ctx, dtype, shape, { byteOffset: 4 })
  const there = size - offset
  if (bytes !== there)
    throw formatError(
      ctx,
      bytes > there ? 'truncated' : 'trailing',
      `${dtype}[${shape.join(', ')}] takes ${bytes} bytes, the file has ${there}`,
      {
        byteOffset: offset,
      },
    )
  return { dtype, shape, offset }
}

function readIdxFrom(ctx: FormatContext, input: Uint8Array): RawTensor {
  const bytes = input[0] === 0x1f && input[1] === 0x8b ? gunzip(ctx, input) : input
  const { dtype, shape, offset } = readIdxHeader(ctx, bytes, bytes.byteLength)
  const data = new Uint8Array(bytes.subarray(offset))
  swapBytes(data, bytesPerElement(dtype))
  return { dtype, shape, data }
}

export function readIdx(file: string, options: ReadOptions = {}): RawTensor {
  return readIdxFrom(formatContext('idx', file, options), readRegularFile(file, options))
}

export function parseIdx(bytes: Uint8Array, options: ReadOptions = {}): RawTensor {
  return readIdxFrom(formatContext('idx', undefined, options), bytes)
}

/** The bytes of an uncompressed idx file. */
export function encodeIdx(tensor: RawTensor): Uint8Array {
  checkRawTensor('idx', tensor)
  const code = [...dtypeByCode].find(([, dtype]) => dtype === tensor.dtype)?.[0]
  if (code === undefined) throw new DTypeError('ERR_DTYPE', `idx: ${tensor.dtype} cannot be stored in an idx file`)
  const { shape, data } = tensor
  if (shape.length === 0 || shape.some((d) => d > 0xffffffff))
    throw new ShapeError('ERR_SHAPE', `idx: [${shape.join(', ')}] cannot be stored`)
  const offset = 4 + 4 * shape.length
  const out = new Uint8Array(offset + data.byteLength)
  out.set([0, 0, code, shape.length])
  const view = new DataView(out.buffer)
  shape.forEach((d, i) => view.setUint32(4 + 4 * i, d))
  out.set(data, offset)
  swapBytes(out.subarray(offset), bytesPerElement(tensor.dtype))
  return out
}

export function writeIdx(file: string, tensor: RawTensor, options: WriteOptions = {}): void {
  writeFileAtomic(file, encodeIdx(tensor), options)
}
