/** Samples by index, from memory or from files. A file is read in blocks of rows; the last few blocks stay in memory. */
import { DataError } from '../../base/errors.js'
import { sizeOf } from '../../base/shape.js'
import { openSource, type ByteSource } from '../../formats/files.js'
import { swapBytes } from '../../formats/npy.js'
import { checkIndex } from '../dataset.js'
import { BlockCache, checkStamp, type SampleReader } from './file-blocks.js'
import type { StoredNumbers, StoredRows, StoredSamples, StoredSequences } from './contract.js'
import { linesReader } from './lines-reader.js'

function numbersReader({ name, size, features, scale, inputShape, labels, rows }: StoredNumbers): SampleReader {
  const row = sizeOf(inputShape)
  return {
    read(index) {
      checkIndex(name, size, index)
      const at = (rows ? rows[index]! : index) * row
      const x = Float32Array.from(features.subarray(at, at + row))
      if (scale !== 1) for (let i = 0; i < row; i++) x[i] = x[i]! * scale
      return { index, x, shape: inputShape, label: labels[index]! }
    },
    fill(index, out) {
      checkIndex(name, size, index)
      const at = (rows ? rows[index]! : index) * row
      if (scale === 1) out.set(features.subarray(at, at + row))
      else for (let i = 0; i < row; i++) out[i] = features[at + i]! * scale
      return labels[index]!
    },
    close: () => undefined,
  }
}

function sequencesReader({ name, size, ids, offsets, labels }: StoredSequences): SampleReader {
  return {
    read(index) {
      checkIndex(name, size, index)
      const x = ids.slice(offsets[index], offsets[index + 1])
      return { index, x, shape: [x.length], label: labels[index]! }
    },
    close: () => undefined,
  }
}

const views = {
  u8: Uint8Array,
  i8: Int8Array,
  i16: Int16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  f32: Float32Array,
  f64: Float64Array,
} as const

function rowsReader(stored: StoredRows, blocks: number): SampleReader {
  const { name, size, blockRows, file, offset, dtype, bigEndian, scale, inputShape, labels } = stored
  const row = sizeOf(inputShape)
  const View = views[dtype]
  const rowBytes = row * View.BYTES_PER_ELEMENT
  const source: ByteSource = openSource(file.path)
  const cache = new BlockCache(blocks, (block) => {
    checkStamp(name, file)
    const first = block * blockRows
    const bytes = source.read(offset + first * rowBytes, Math.min(blockRows, size - first) * rowBytes)
    if (bigEndian) swapBytes(bytes, View.BYTES_PER_ELEMENT)
    return new View(bytes.buffer as ArrayBuffer)
  })
  return {
    read(index) {
      checkIndex(name, size, index)
      const block = Math.floor(index / blockRows)
      const values = cache.get(block)
      const at = (index - block * blockRows) * row
      const x = new Float32Array(row)
      for (let i = 0; i < row; i++) {
        const value = Number(values[at + i]) * scale
        if (!Number.isFinite(value))
          throw new DataError('ERR_DATA', `${name}: features must be finite, row ${index}, column ${i} is ${String(values[at + i])}`, {
            details: { row: index, column: i },
          })
        x[i] = value
      }
      return { index, x, shape: inputShape, label: labels[index]! }
    },
    close: () => source.close(),
  }
}

/** `blocks`: how many blocks of a file stay in memory. */
export function openReader(stored: StoredSamples, blocks: number): SampleReader {
  switch (stored.kind) {
    case 'numbers':
      return numbersReader(stored)
    case 'sequences':
      return sequencesReader(stored)
    case 'rows':
      return rowsReader(stored, blocks)
    case 'lines':
      return linesReader(stored, blocks)
  }
}
