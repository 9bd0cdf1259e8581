/**
 * Data sets from csv and tsv files, read as a stream by csv-parse. One column is the label; either one more is the text, or all others are
 * numbers. What is missing or not a number is an error that names line and column: nothing is filled in.
 */
import { CsvError, parse, type Options } from 'csv-parse'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { AbortError, DataError, isTersorError } from '../base/errors.js'
import { openSource, type ByteSource } from '../formats/files.js'
import type { LoadOptions } from './arrays.js'
import { encodeLabels, numberDataset, textDataset, type Dataset } from './dataset.js'
import type { TableSpec } from './spec.js'

const CHUNK = 2 ** 18
const MAX_RECORD = 16 * 2 ** 20

/** The file in pieces; lets other work of the thread run in between. */
async function* readText(name: string, source: ByteSource): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true }) // drops a byte order mark
  for (let at = 0; at < source.size; at += CHUNK) {
    const end = Math.min(source.size, at + CHUNK)
    let text: string
    try {
      text = decoder.decode(source.read(at, end - at), { stream: end < source.size })
    } catch (error) {
      if (isTersorError(error)) throw error
      throw new DataError('ERR_DATA', `${name}: the file is not UTF-8 (near byte ${at})`, { details: { byteOffset: at } })
    }
    if (text !== '') yield text
    await setImmediate()
  }
}

/** The columns of a file and the place of those that are asked for. */
class Columns {
  readonly label: number
  readonly text: number | undefined
  constructor(
    readonly name: string,
    readonly names: readonly string[],
    spec: TableSpec,
  ) {
    const twice = names.find((n, i) => names.indexOf(n) !== i)
    if (twice !== undefined)
      throw new DataError('ERR_DATA', `${name}: column ${JSON.stringify(twice)} stands twice`, { details: { column: twice } })
    const last = spec.format === 'csv' && !names.includes('label') ? String(names.length - 1) : 'label'
    this.label = this.#find(spec.label ?? last, 'label')
    const text = spec.text ?? (spec.format === 'tsv' ? 'text' : undefined)
    this.text = text === undefined ? undefined : this.#find(text, 'text')
    if (this.text === this.label)
      throw new DataError('ERR_DATA', `${name}: text and label are the same column`, { details: { column: names[this.label] } })
  }

  #find(column: string, option: string): number {
    const byName = this.names.indexOf(column)
    const at = byName < 0 && /^[0-9]+$/.test(column) ? Number(column) : byName
    if (at >= 0 && at < this.names.length) return at
    const there = this.names
      .slice(0, 50)
      .map((n) => JSON.stringify(n))
      .join(', ')
    throw new DataError('ERR_DATA', `${this.name}: there is no column ${JSON.stringify(column)} for ${option}=; the file has ${there}`, {
      details: { column },
    })
  }
}

function missing(columns: Columns, row: number, at: number, problem: string): DataError {
  const column = columns.names[at]!
  return new DataError('ERR_DATA', `${columns.name}: line ${row}, column ${JSON.stringify(column)}: ${problem}`, {
    details: { row, column },
  })
}

/** Grows by doubling: the number of rows is not known before the end. */
class Floats {
  #data = new Float32Array(1024)
  #length = 0
  push(value: number): void {
    if (this.#length === this.#data.length) {
      const grown = new Float32Array(2 * this.#data.length)
      grown.set(this.#data)
      this.#data = grown
    }
    this.#data[this.#length++] = value
  }
  take(): Float32Array {
    return this.#data.slice(0, this.#length)
  }
}

class Rows {
  readonly labels: string[] = []
  readonly texts: string[] = []
  readonly features = new Floats()
  constructor(readonly columns: Columns) {}

  add(record: readonly string[], row: number): void {
    const { columns } = this
    const label = record[columns.label]!.trim()
    if (label === '') throw missing(columns, row, columns.label, 'the label is missing')
    this.labels.push(label)
    if (columns.text !== undefined) {
      const text = record[columns.text]!
      if (text.trim() === '') throw missing(columns, row, columns.text, 'the text is missing')
      this.texts.push(text)
      return
    }
    record.forEach((field, i) => {
      if (i !== columns.label) this.features.push(this.#number(field, row, i))
    })
  }

  #number(field: string, row: number, at: number): number {
    const text = field.trim()
    if (text === '') throw missing(this.columns, row, at, 'the value is missing')
    const value = /^[-+.0-9]/.test(text) && !/^[-+]?0[xXoObB]/.test(text) ? Number(text) : NaN
    if (!Number.isFinite(Math.fround(value)))
      throw missing(this.columns, row, at, `${JSON.stringify(text.slice(0, 40))} is not a finite number`)
    return value
  }
}

function parserOptions(spec: TableSpec): Options {
  const quote = spec.quote ?? spec.format === 'csv'
  return {
    delimiter: spec.format === 'csv' ? ',' : '\t',
    quote: quote ? '"' : null,
    escape: quote ? '"' : null,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD,
  }
}

async function readRows(name: string, spec: TableSpec, source: ByteSource, signal: AbortSignal | undefined): Promise<Rows> {
  let rows: Rows | undefined
  const take = (record: readonly string[], line: number): void => {
    if (rows) return rows.add(record, line)
    const header = spec.header ?? true
    rows = new Rows(new Columns(name, header ? record.map((n) => n.trim()) : record.map((_, i) => String(i)), spec))
    if (!header) rows.add(record, line)
  }
  // Taken as they are parsed: handing each record on through the stream takes longer than parsing it.
  const parser = parse({
    ...parserOptions(spec),
    on_record: (record: string[], { lines }) => {
      take(record, lines)
      return null
    },
  })
  parser.resume()
  await pipeline(Readable.from(readText(name, source)), parser, signal ? { signal } : {})
  if (!rows || rows.labels.length === 0) throw new DataError('ERR_DATA', `${name}: there are no samples`)
  return rows
}

export async function loadTable(spec: TableSpec, options: LoadOptions = {}): Promise<Dataset> {
  const name = `${spec.format}:${spec.path}`
  const source = openSource(spec.path, options)
  try {
    const rows = await readRows(name, spec, source, options.signal)
    const { labels, classes } = encodeLabels(name, rows.labels, options.classes)
    if (rows.columns.text !== undefined) return textDataset({ name, texts: rows.texts, labels, classes })
    const inputShape = [rows.columns.names.length - 1]
    return numberDataset({ name, features: rows.features.take(), inputShape, labels, classes })
  } catch (error) {
    if (error instanceof CsvError) {
      const row = (error as CsvError & { lines?: number }).lines
      throw new DataError('ERR_DATA', `${name}: line ${row}: ${error.message}`, { cause: error, details: { row, reason: error.code } })
    }
    if (options.signal?.aborted) throw new AbortError('ERR_ABORTED', `${name}: cancelled while reading`, { cause: error })
    throw error
  } finally {
    source.close()
  }
}
