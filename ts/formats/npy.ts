/**
 * NumPy .npy files (numpy.lib.format, versions 1 to 3): one tensor. Big-endian data and Fortran order are converted while reading;
 * written files are version 1.0, little-endian, C order, data at a multiple of 64.
 */
import { dtypeInfo, type RawTensor } from '../base/dtype.js'
import { DTypeError } from '../base/errors.js'
import { writeFileAtomic, type WriteOptions } from './atomic.js'
import { bytesSource, withSource, type ByteSource } from './files.js'
import { allocateTensor, checkBooleans, checkRawTensor, formatContext, type FormatContext, type ReadOptions } from './limits.js'
import { NPY_MAGIC, readNpyHeader } from './npy-header.js'

/** Reverses the bytes of each element, in place. */
export function swapBytes(data: Uint8Array, width: number): void {
  const buffer = Buffer.from(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)
  if (width === 2) buffer.swap16()
  else if (width === 4) buffer.swap32()
  else if (width === 8) buffer.swap64()
}

/** Column-major to row-major. Copied as integers: a pass through doubles could change the bits of a NaN. */
function fromFortran(data: Uint8Array, shape: readonly number[], width: number): Uint8Array {
  const Lanes = width === 1 ? Uint8Array : width === 2 ? Uint16Array : Uint32Array
  const lanes = width === 8 ? 2 : 1
  const from = new Lanes(data.buffer as ArrayBuffer, data.byteOffset, (data.byteLength / width) * lanes)
  const to = new Lanes(from.length)
  const rank = shape.length
  const strides = new Array<number>(rank)
  let stride = lanes
  for (let i = 0; i < rank; i++) {
    strides[i] = stride
    stride *= shape[i]!
  }
  const index = new Array<number>(rank).fill(0)
  let at = 0
  for (let i = 0; i < to.length; i += lanes) {
    for (let lane = 0; lane < lanes; lane++) to[i + lane] = from[at + lane]!
    for (let d = rank - 1; d >= 0; d--) {
      at += strides[d]!
      if (++index[d]! < shape[d]!) break
      at -= strides[d]! * shape[d]!
      index[d] = 0
    }
  }
  return new Uint8Array(to.buffer)
}

/** @internal Shared with npz. */
export function readNpyFrom(ctx: FormatContext, source: ByteSource): RawTensor {
  const { dtype, bigEndian, fortranOrder, shape, dataOffset, bytes } = readNpyHeader(ctx, source)
  let data = allocateTensor(ctx, bytes)
  source.readInto(dataOffset, data)
  const width = dtypeInfo[dtype].bytes
  if (bigEndian) swapBytes(data, width)
  if (fortranOrder && shape.length > 1) data = fromFortran(data, shape, width)
  const tensor = { dtype, shape, data }
  checkBooleans(ctx, tensor)
  return tensor
}

export function parseNpy(bytes: Uint8Array, options: ReadOptions = {}): RawTensor {
  return readNpyFrom(formatContext('npy', undefined, options), bytesSource(bytes))
}

export function readNpy(file: string, options: ReadOptions = {}): RawTensor {
  return withSource(file, options, (source) => readNpyFrom(formatContext('npy', file, options), source))
}

/** The bytes of an .npy file. bf16 has no NumPy code: `ERR_DTYPE`. */
export function encodeNpy(tensor: RawTensor): Uint8Array {
  checkRawTensor('npy', tensor)
  const { npy, bytes: width } = dtypeInfo[tensor.dtype]
  if (npy === '') throw new DTypeError('ERR_DTYPE', `npy: ${tensor.dtype} cannot be stored in an .npy file`)
  const { shape } = tensor
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`
  const dict = `{'descr': '${width === 1 ? '|' : '<'}${npy}', 'fortran_order': False, 'shape': ${tuple}, }`
  const total = Math.ceil((10 + dict.length + 1) / 64) * 64 // at most 8 dimensions: always short enough for version 1.0
  const out = new Uint8Array(total + tensor.data.byteLength)
  const text = `${NPY_MAGIC}\x01\x00\x00\x00${dict}`.padEnd(total - 1) + '\n'
  out.set(Buffer.from(text, 'latin1'))
  new DataView(out.buffer).setUint16(8, total - 10, true)
  out.set(tensor.data, total)
  return out
}

export function writeNpy(file: string, tensor: RawTensor, options: WriteOptions = {}): void {
  writeFileAtomic(file, encodeNpy(tensor), options)
}
