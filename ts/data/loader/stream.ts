/**
 * Data sets that are larger than memory: the file is looked at once (header, or where its lines begin) and then read in blocks by a loader. What stays in memory is
 * 8 bytes per block of lines; for idx and npy 4 bytes per label.
 */
import { sizeOf } from '../../base/shape.js'
import { DataError, OptionError, UnsupportedError } from '../../base/errors.js'
import { pacer } from '../../base/pace.js'
import { bytesPerElement, type RawTensor } from '../../base/dtype.js'
import { openSource, type ByteSource } from '../../formats/files.js'
import { readIdx, readIdxHeader } from '../../formats/idx.js'
import { formatContext } from '../../formats/limits.js'
import { readNpyHeader } from '../../formats/npy-header.js'
import { readNpy } from '../../formats/npy.js'
import { findIdx, toLabels } from '../arrays.js'
import { oneOf, anyText, parseSpec, positive, yesNo, type SpecForm } from '../spec-forms.js'
import type { Vocabulary } from '../vocabulary.js'
import type { StoredLines, StoredRows } from './contract.js'
import { stampOf } from './file-blocks.js'
import { parseRows, tableRecords } from './lines-reader.js'
import { scanLines } from './line-index.js'
import type { StreamData } from './sources.js'

export interface StreamOptions {
  /** Labels of csv, tsv and jsonl as text: numbered in this order. Without: integers from 0. */
  readonly classes?: readonly string[]
  /** Turns the texts of csv, tsv and jsonl into ids. */
  readonly vocabulary?: Vocabulary
  /** Rows of a block. Default: 256 lines, or as many rows of numbers as fill 256 KiB. */
  readonly blockRows?: number
  /** Longest text in tokens, default 512. */
  readonly maxLength?: number
  /** Id that fills up batches of texts. Default 0. */
  readonly pad?: number
  readonly signal?: AbortSignal
}

/** Every form of a data set that can be streamed. */
export const streamForms = {
  idx: { usage: 'idx:DIR[,split=train|test]', options: { split: oneOf('train', 'test') } },
  npy: { usage: 'npy:FILE,y=FILE[,divide=NUMBER]', options: { y: anyText, divide: positive } },
  csv: {
    usage: 'csv:FILE[,label=COLUMN][,text=COLUMN][,header=yes|no][,quote=yes|no]',
    options: { label: anyText, text: anyText, header: yesNo, quote: yesNo },
  },
  tsv: {
    usage: 'tsv:FILE[,label=COLUMN][,text=COLUMN][,header=yes|no][,quote=yes|no]',
    options: { label: anyText, text: anyText, header: yesNo, quote: yesNo },
  },
  jsonl: { usage: 'jsonl:FILE[,x=KEY][,text=KEY][,label=KEY]', options: { x: anyText, text: anyText, label: anyText } },
} as const satisfies Readonly<Record<string, SpecForm>>

interface Rows {
  readonly name: string
  readonly file: string
  readonly header: Pick<StoredRows, 'offset' | 'bigEndian'> & { readonly dtype: string; readonly shape: readonly number[] }
  readonly labels: RawTensor
  readonly scale: number
  readonly image: boolean
}

function rowsData({ name, file, header, labels: raw, scale, image }: Rows, options: StreamOptions): StreamData {
  const { shape, dtype, offset, bigEndian } = header
  if (!['u8', 'i8', 'i16', 'i32', 'i64', 'f32', 'f64'].includes(dtype))
    throw new UnsupportedError('ERR_UNSUPPORTED', `${name}: ${dtype} cannot be streamed`, { details: { what: dtype } })
  if (shape.length < 2) throw new DataError('ERR_DATA', `${name}: features must have at least 2 dimensions, got [${shape.join(', ')}]`)
  const [size, ...sample] = shape as [number, ...number[]]
  const labels = toLabels(`${name}: labels`, raw)
  if (labels.length !== size) throw new DataError('ERR_DATA', `${name}: ${size} rows of features but ${labels.length} labels`)
  if (size === 0) throw new DataError('ERR_DATA', `${name}: there are no samples`)
  const inputShape = image && sample.length === 2 ? [1, ...sample] : sample
  const rowBytes = sizeOf(sample) * bytesPerElement(dtype as StoredRows['dtype'])
  const blockRows = options.blockRows ?? Math.max(1, Math.min(4096, Math.floor(2 ** 18 / Math.max(1, rowBytes))))
  const stored: StoredRows = {
    kind: 'rows',
    name,
    size,
    blockRows,
    file: stampOf(file),
    offset,
    dtype: dtype as StoredRows['dtype'],
    bigEndian,
    scale,
    inputShape,
    labels,
  }
  return { input: 'numbers', name, size, classes: options.classes, inputShape, stored }
}

function withSource<T>(file: string, use: (source: ByteSource) => T): T {
  const source = openSource(file)
  try {
    return use(source)
  } finally {
    source.close()
  }
}

function streamIdx(name: string, dir: string, split: 'train' | 'test', options: StreamOptions): StreamData {
  const file = findIdx(dir, split, 'images')
  const header = withSource(file, (source) =>
    readIdxHeader(formatContext('idx', file, {}), source.read(0, Math.min(source.size, 4 + 4 * 255)), source.size),
  )
  const labels = readIdx(findIdx(dir, split, 'labels'))
  return rowsData(
    { name, file, header: { ...header, bigEndian: true }, labels, scale: header.dtype === 'u8' ? 1 / 255 : 1, image: true },
    options,
  )
}

function streamNpy(name: string, file: string, y: string | undefined, divide: number, options: StreamOptions): StreamData {
  if (y === undefined) throw new OptionError('ERR_OPTION', `${name}: y=FILE with the labels is missing`)
  const header = withSource(file, (source) => readNpyHeader(formatContext('npy', file, {}), source))
  if (header.fortranOrder)
    throw new UnsupportedError('ERR_UNSUPPORTED', `${name}: Fortran order cannot be streamed`, { details: { what: 'fortran order' } })
  return rowsData(
    { name, file, header: { ...header, offset: header.dataOffset }, labels: readNpy(y), scale: 1 / divide, image: false },
    options,
  )
}

interface LineSpec {
  readonly format: 'csv' | 'tsv' | 'jsonl'
  readonly path: string
  readonly label?: string
  readonly text?: string
  readonly x?: string
  readonly header?: boolean
  readonly quote?: boolean
}

/** Place of a column by name, or by number from 0. */
function column(name: string, names: readonly string[], asked: string): number {
  const byName = names.indexOf(asked)
  const at = byName < 0 && /^[0-9]+$/.test(asked) ? Number(asked) : byName
  if (at >= 0 && at < names.length) return at
  throw new DataError(
    'ERR_DATA',
    `${name}: there is no column ${JSON.stringify(asked)}; the file has ${names
      .slice(0, 50)
      .map((n) => JSON.stringify(n))
      .join(', ')}`,
  )
}

async function streamLines(name: string, spec: LineSpec, options: StreamOptions): Promise<StreamData> {
  const { format, path } = spec
  const { classes, vocabulary, blockRows = 256, maxLength = 512, pad = 0, signal } = options
  const quote = format !== 'jsonl' && (spec.quote ?? format === 'csv')
  const file = stampOf(path)
  const header = format !== 'jsonl' && (spec.header ?? true)
  const index = await scanLines(name, path, { blockRows, quote, header, blankIsSpace: format === 'jsonl' }, pacer('streamData', signal))
  if (index.rows === 0) throw new DataError('ERR_DATA', `${name}: there are no samples`)
  const keys = { x: spec.x ?? 'x', label: spec.label ?? 'label', text: spec.text }
  const base: StoredLines = {
    kind: 'lines',
    name,
    size: index.rows,
    blockRows,
    file,
    offsets: index.offsets,
    format,
    quote,
    columns: { count: 0, label: 0, text: undefined },
    keys,
    classes,
    inputShape: [],
    vocabulary: vocabulary?.toJSON(),
    pad,
    maxLength,
  }
  const stored = format === 'jsonl' ? base : { ...base, columns: columnsOf(base, index.firstLine, header, spec) }
  const text = format === 'jsonl' ? keys.text !== undefined : stored.columns.text !== undefined
  if (text && !vocabulary) throw new OptionError('ERR_OPTION', `${name}: texts need options.vocabulary`)
  if (!text && vocabulary) throw new OptionError('ERR_OPTION', `${name}: a vocabulary is given, but no text= column`)
  // The first row says the shape of all.
  const [row] = parseRows(stored, vocabulary, index.firstRow, 0)
  const inputShape = text ? [] : row!.shape
  return { input: text ? 'text' : 'numbers', name, size: index.rows, classes, inputShape, stored: { ...stored, inputShape } }
}

function columnsOf(base: StoredLines, line: string, header: boolean, spec: LineSpec): StoredLines['columns'] {
  let first: readonly string[]
  try {
    first = tableRecords(base, line)[0] ?? []
  } catch (cause) {
    throw new DataError('ERR_DATA', `${base.name}: the first line: ${(cause as Error).message}`, { cause, details: { row: 0 } })
  }
  const names = header ? first.map((n) => n.trim()) : first.map((_, i) => String(i))
  const last = spec.format === 'csv' && !names.includes('label') ? String(names.length - 1) : 'label'
  const label = column(base.name, names, spec.label ?? last)
  const text = spec.text === undefined ? undefined : column(base.name, names, spec.text)
  if (text === label) throw new DataError('ERR_DATA', `${base.name}: text and label are the same column`)
  return { count: names.length, label, text }
}

/**
 * Looks at a file that a loader then reads in blocks: `idx:DIR`, `npy:FILE,y=FILE`, `csv:FILE`, `tsv:FILE`, `jsonl:FILE` (one object a line: numbers in any depth of
 * arrays under `x`, or a text; `label`).
 *
 * - a spec that is not understood, texts without a vocabulary: ERR_OPTION; a file that cannot be read: ERR_IO; not what its format demands: ERR_MODEL_FORMAT
 * - no samples, labels and rows of different number, a first row that cannot be used: ERR_DATA (later rows are checked when they are read)
 *
 * @example
 * import { openLoader, streamData } from 'tersor/data'
 * const data = await streamData('csv:big.csv,label=species', { classes: ['setosa', 'other'] })
 * const loader = openLoader(data, { batchSize: 256, seed: 1 })
 */
export async function streamData(spec: string, options: StreamOptions = {}): Promise<StreamData> {
  const { blockRows = 1, maxLength = 1, pad = 0 } = options
  for (const [what, value, min] of [
    ['blockRows', blockRows, 1],
    ['maxLength', maxLength, 1],
    ['pad', pad, 0],
  ] as const)
    if (!Number.isSafeInteger(value) || value < min || value > 2 ** 24)
      throw new OptionError('ERR_OPTION', `streamData: ${what} must be an integer in [${min}, ${2 ** 24}], got ${value}`)
  const parsed = parseSpec('stream', streamForms, spec) as unknown as {
    format: keyof typeof streamForms
    path: string
    split?: 'train' | 'test'
    y?: string
    divide?: number
  }
  await pacer('streamData', options.signal)()
  if (parsed.format === 'idx') return streamIdx(spec, parsed.path, parsed.split ?? 'train', options)
  if (parsed.format === 'npy') return streamNpy(spec, parsed.path, parsed.y, parsed.divide ?? 1, options)
  return streamLines(spec, parsed as LineSpec, options)
}
