/** What a hostile file is: bytes, who reads them, and what must come of it. The tables are in the files beside this. */
import type { ErrorCode } from '../../ts/base/codes.gen.js'
import type { RawTensor } from '../../ts/base/dtype.js'
import { openGguf, parseGguf, type GgufFile } from '../../ts/formats/gguf/index.js'
import { parseIdx, readIdx } from '../../ts/formats/idx.js'
import { parseNpy, readNpy } from '../../ts/formats/npy.js'
import { parseNpz, readNpz } from '../../ts/formats/npz.js'
import { parseSafetensors, readSafetensors } from '../../ts/formats/safetensors.js'

export type FileFormat = 'safetensors' | 'npy' | 'npz' | 'idx' | 'gguf'

export interface HostileFile {
  /** Row of the list in the reliability rules: F01 ... */
  readonly id: string
  readonly name: string
  readonly format: FileFormat
  readonly bytes: Uint8Array
  /** The code of the error; `ok` for what must load; `any` for load or a typed error. */
  readonly expect: ErrorCode | 'ok' | 'any'
  /** `details.reason` of the error. */
  readonly reason?: string
}

interface Reader {
  readonly fromPath: (file: string) => Map<string, RawTensor>
  readonly fromBytes: (bytes: Uint8Array) => Map<string, RawTensor>
}

function allOf(file: GgufFile): Map<string, RawTensor> {
  try {
    return file.readAll()
  } finally {
    file.close()
  }
}
const one = (tensor: RawTensor): Map<string, RawTensor> => new Map([['data', tensor]])

export const readers: Readonly<Record<FileFormat, Reader>> = {
  safetensors: { fromPath: (f) => readSafetensors(f).tensors, fromBytes: (b) => parseSafetensors(b).tensors },
  npy: { fromPath: (f) => one(readNpy(f)), fromBytes: (b) => one(parseNpy(b)) },
  npz: { fromPath: readNpz, fromBytes: parseNpz },
  idx: { fromPath: (f) => one(readIdx(f)), fromBytes: (b) => one(parseIdx(b)) },
  gguf: { fromPath: (f) => allOf(openGguf(f)), fromBytes: (b) => allOf(parseGguf(b)) },
}

export const latin1 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'))
export const utf8 = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'utf8'))
export const concat = (...parts: readonly (Uint8Array | string)[]): Uint8Array =>
  Uint8Array.from(Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part))))

export function u32le(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  values.forEach((v, i) => new DataView(bytes.buffer).setUint32(4 * i, v, true))
  return bytes
}

export function u16le(...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(2 * values.length)
  values.forEach((v, i) => new DataView(bytes.buffer).setUint16(2 * i, v, true))
  return bytes
}
