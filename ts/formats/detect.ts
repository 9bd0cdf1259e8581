/**
 * Which format a file has: decided by its first bytes alone. A name that claims another format is the caller's mistake and is said
 * (`ERR_OPTION`), not guessed around.
 */
import path from 'node:path'
import { isDType, type RawTensor } from '../base/dtype.js'
import { ModelFormatError, OptionError, UnsupportedError } from '../base/errors.js'
import { withSource } from './files.js'
import { openGguf } from './gguf/index.js'
import { readIdx } from './idx.js'
import type { ReadOptions } from './limits.js'
import { readNpy } from './npy.js'
import { readNpz } from './npz.js'
import { readOnnx } from './onnx/index.js'
import { readSafetensors } from './safetensors.js'
import { readTfjs } from './tfjs.js'

export type FormatName = 'safetensors' | 'npy' | 'npz' | 'idx' | 'tfjs' | 'gguf' | 'onnx'
type Magic = FormatName | 'gzip'

const extensions: Readonly<Record<string, readonly Magic[]>> = {
  '.safetensors': ['safetensors'],
  '.npy': ['npy'],
  '.npz': ['npz'],
  '.idx': ['idx', 'gzip'],
  '.gz': ['gzip'],
  '.json': ['tfjs'],
  '.gguf': ['gguf'],
  '.onnx': ['onnx'],
}

/** Tags of the fields of an ONNX model that follow its version. */
const onnxTags: readonly number[] = [0x12, 0x1a, 0x22, 0x28, 0x32, 0x3a, 0x42, 0x72]

/** The format that `head`, the first bytes of a file of `size` bytes, stands for. */
function detectMagic(head: Uint8Array, size: number): Magic | undefined {
  const text = Buffer.from(head.buffer, head.byteOffset, head.byteLength).toString('latin1')
  if (text.startsWith('\x93NUMPY')) return 'npy'
  if (text.startsWith('PK\x03\x04') || text.startsWith('PK\x05\x06')) return 'npz'
  if (text.startsWith('\x1f\x8b')) return 'gzip'
  if (text.startsWith('GGUF')) return 'gguf'
  if (head.byteLength > 8 && head[8] === 0x7b) {
    const view = new DataView(head.buffer, head.byteOffset)
    if (view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32 <= size - 8) return 'safetensors'
  }
  if (head.byteLength > 3 && head[0] === 0 && head[1] === 0 && head[2]! >= 8 && head[2]! <= 14 && head[3]! >= 1) return 'idx'
  // ONNX has no magic: ir_version first, as every exporter writes it, then one of the model's other fields.
  if (head.byteLength > 2 && head[0] === 8 && head[1]! >= 1 && head[1]! <= 64 && onnxTags.includes(head[2]!)) return 'onnx'
  return /^[ \t\r\n]*\{/.test(text) ? 'tfjs' : undefined
}

/** The format of a file, after comparing it with the file's name. */
export function detectFormat(file: string, options: ReadOptions = {}): FormatName {
  const found = withSource(file, options, (source) => detectMagic(source.read(0, Math.min(64, source.size)), source.size))
  const extension = path.extname(file).toLowerCase()
  const magic = found ?? (extension === '.onnx' ? 'onnx' : undefined) // fields may stand in any order: the reader says what is wrong
  if (magic === undefined)
    throw new ModelFormatError(
      'ERR_MODEL_FORMAT',
      `'${file}': no known format (known: safetensors, onnx, gguf, npy, npz, idx, tfjs model.json)`,
      {
        details: { format: 'unknown', reason: 'magic', byteOffset: 0, path: file },
      },
    )
  const claimed = extensions[extension]
  if (claimed && !claimed.includes(magic))
    throw new OptionError('ERR_OPTION', `'${file}': the name says ${claimed.join(' or ')}, the content is ${magic}`, {
      details: { path: file, format: magic },
    })
  return magic === 'gzip' ? 'idx' : magic
}

const single = (tensor: RawTensor): Map<string, RawTensor> => new Map([['data', tensor]])
const readers: Readonly<Record<FormatName, (file: string, options: ReadOptions) => Map<string, RawTensor>>> = {
  safetensors: (file, options) => readSafetensors(file, options).tensors,
  npy: (file, options) => single(readNpy(file, options)),
  npz: readNpz,
  idx: (file, options) => single(readIdx(file, options)),
  tfjs: (file, options) => readTfjs(file, options).tensors,
  onnx: (file, options) => {
    const tensors = [...readOnnx(file, options).graph.initializers].map(([name, t]): [string, RawTensor] => {
      if (!isDType(t.dtype))
        throw new UnsupportedError('ERR_UNSUPPORTED', `'${file}': tensor ${JSON.stringify(name)} has elements of type ${t.dtype}`, {
          details: { what: t.dtype },
        })
      return [name, { dtype: t.dtype, shape: t.shape, data: t.read() }]
    })
    return new Map(tensors)
  },
  gguf: (file, options) => {
    const open = openGguf(file, options)
    try {
      return open.readAll()
    } finally {
      open.close()
    }
  },
}

/** Reads the tensors of a file of any known format; a format of one tensor gives it the name `data`. */
export function readTensors(file: string, options: ReadOptions = {}): { format: FormatName; tensors: Map<string, RawTensor> } {
  const format = detectFormat(file, options)
  return { format, tensors: readers[format](file, options) }
}
