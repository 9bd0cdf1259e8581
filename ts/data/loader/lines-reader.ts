/** Blocks of lines of csv, tsv and jsonl files as samples; every error names the row. */
import { parse } from 'csv-parse/sync'
import { DataError, isTersorError } from '../../base/errors.js'
import { sizeOf } from '../../base/shape.js'
import { openSource } from '../../formats/files.js'
import { Vocabulary } from '../vocabulary.js'
import type { Sample, StoredLines } from './contract.js'
import { BlockCache, checkStamp, type SampleReader } from './file-blocks.js'

export interface Row {
  readonly x: Float32Array | Int32Array
  readonly shape: readonly number[]
  readonly label: number
}

const fail = (name: string, row: number, why: string): DataError =>
  new DataError('ERR_DATA', `${name}: row ${row}: ${why}`, { details: { row } })

function toNumber(name: string, row: number, where: string, text: string): number {
  const trimmed = text.trim()
  const value = /^[-+.0-9]/.test(trimmed) && !/^[-+]?0[xXoObB]/.test(trimmed) ? Number(trimmed) : NaN
  if (!Number.isFinite(Math.fround(value))) throw fail(name, row, `${where}: ${JSON.stringify(text.slice(0, 40))} is not a finite number`)
  return value
}

function toLabel({ name, classes }: StoredLines, row: number, value: unknown): number {
  const text = typeof value === 'string' ? value.trim() : typeof value === 'number' || typeof value === 'boolean' ? String(value) : ''
  if (classes) {
    const at = classes.indexOf(text)
    if (at < 0)
      throw fail(name, row, `label ${JSON.stringify(text.slice(0, 40))} is not one of the classes: ${classes.slice(0, 20).join(', ')}`)
    return at
  }
  const label = text === '' ? NaN : Number(text)
  if (!Number.isInteger(label) || label < 0 || label > 0x7fffffff)
    throw fail(name, row, `labels must be integers >= 0 where no classes are given, got ${JSON.stringify(text.slice(0, 40))}`)
  return label
}

function toIds({ name, maxLength, pad }: StoredLines, vocabulary: Vocabulary | undefined, row: number, text: unknown): Int32Array {
  if (typeof text !== 'string' || text.trim() === '') throw fail(name, row, 'the text is missing')
  if (!vocabulary) throw fail(name, row, 'texts need a vocabulary')
  const ids = vocabulary.encode(text).subarray(0, maxLength)
  return ids.length > 0 ? ids : Int32Array.of(pad)
}

/** Nested arrays of numbers, all of one shape, row-major. */
function flatten(name: string, row: number, value: unknown): { x: Float32Array; shape: number[] } {
  const shape: number[] = []
  for (let inner = value; Array.isArray(inner); inner = (inner as unknown[])[0]) {
    shape.push(inner.length)
    if (shape.length > 8) throw fail(name, row, 'more than 8 dimensions')
  }
  const out: number[] = []
  const visit = (node: unknown, depth: number): void => {
    if (Array.isArray(node) && depth < shape.length) {
      if (node.length !== shape[depth]) throw fail(name, row, 'the arrays are ragged')
      for (const child of node as unknown[]) visit(child, depth + 1)
    } else if (typeof node === 'number' && depth === shape.length && Number.isFinite(Math.fround(node))) out.push(node)
    else throw fail(name, row, `${JSON.stringify(node)?.slice(0, 40) ?? 'nothing'} is not a finite number, or stands at another depth`)
  }
  visit(value, 0)
  return { x: Float32Array.from(out), shape: shape.length === 0 ? [1] : shape }
}

function tableRow(stored: StoredLines, vocabulary: Vocabulary | undefined, record: readonly string[], row: number): Row {
  const { name, columns } = stored
  if (record.length !== columns.count) throw fail(name, row, `${record.length} columns, the others have ${columns.count}`)
  const label = toLabel(stored, row, record[columns.label])
  if (columns.text !== undefined) {
    const x = toIds(stored, vocabulary, row, record[columns.text])
    return { x, shape: [x.length], label }
  }
  const x = new Float32Array(columns.count - 1)
  let at = 0
  record.forEach((field, i) => {
    if (i !== columns.label) x[at++] = toNumber(name, row, `column ${i}`, field)
  })
  return { x, shape: [x.length], label }
}

function jsonRow(stored: StoredLines, vocabulary: Vocabulary | undefined, line: string, row: number): Row {
  const { name, keys, inputShape } = stored
  let record: unknown
  try {
    record = JSON.parse(line)
  } catch (cause) {
    throw new DataError('ERR_DATA', `${name}: row ${row}: not JSON: ${(cause as Error).message}`, { cause, details: { row } })
  }
  if (typeof record !== 'object' || record === null || Array.isArray(record)) throw fail(name, row, 'not a JSON object')
  const field = (key: string): unknown => {
    if (!Object.hasOwn(record, key)) throw fail(name, row, `there is no ${JSON.stringify(key)}`)
    return (record as Record<string, unknown>)[key]
  }
  const label = toLabel(stored, row, field(keys.label))
  if (keys.text !== undefined) {
    const x = toIds(stored, vocabulary, row, field(keys.text))
    return { x, shape: [x.length], label }
  }
  const { x, shape } = flatten(name, row, field(keys.x))
  if (inputShape.length > 0 && (x.length !== sizeOf(inputShape) || shape.some((d, i) => d !== inputShape[i])))
    throw fail(name, row, `the numbers have the shape [${shape.join(', ')}], those of the first row [${inputShape.join(', ')}]`)
  return { x, shape, label }
}

/** The fields of each row of a csv or tsv text. */
export function tableRecords({ format, quote }: Pick<StoredLines, 'format' | 'quote'>, text: string): string[][] {
  return parse(text, {
    delimiter: format === 'csv' ? ',' : '\t',
    quote: quote ? '"' : null,
    escape: quote ? '"' : null,
    skip_empty_lines: true,
    relax_column_count: true, // checked against the first line of the file
  })
}

/** The rows of a block from its text; `first` is the number of its first row, for errors. */
export function parseRows(stored: StoredLines, vocabulary: Vocabulary | undefined, text: string, first: number): Row[] {
  if (stored.format === 'jsonl')
    return text
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map((line, i) => jsonRow(stored, vocabulary, line, first + i))
  try {
    return tableRecords(stored, text).map((record, i) => tableRow(stored, vocabulary, record, first + i))
  } catch (cause) {
    if (isTersorError(cause)) throw cause
    throw new DataError('ERR_DATA', `${stored.name}: behind row ${first}: ${(cause as Error).message}`, { cause, details: { row: first } })
  }
}

export function linesReader(stored: StoredLines, blocks: number): SampleReader {
  const { name, size, blockRows, file, offsets } = stored
  const vocabulary = stored.vocabulary && Vocabulary.fromJSON(stored.vocabulary)
  const source = openSource(file.path)
  const cache = new BlockCache(blocks, (block) => {
    checkStamp(name, file)
    const bytes = source.read(offsets[block]!, offsets[block + 1]! - offsets[block]!)
    let text: string
    try {
      text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch (cause) {
      throw new DataError('ERR_DATA', `${name}: not UTF-8 (behind byte ${offsets[block]})`, {
        cause,
        details: { byteOffset: offsets[block] },
      })
    }
    const rows = parseRows(stored, vocabulary, text, block * blockRows)
    const wanted = Math.min(blockRows, size - block * blockRows)
    if (rows.length !== wanted)
      throw new DataError('ERR_DATA', `${name}: ${rows.length} rows where ${wanted} were counted (quotes that do not close?)`)
    return rows
  })
  return {
    read(index): Sample {
      const block = Math.floor(index / blockRows)
      const { x, shape, label } = cache.get(block)[index - block * blockRows]!
      return { index, x: x.slice(), shape, label }
    },
    close: () => source.close(),
  }
}
