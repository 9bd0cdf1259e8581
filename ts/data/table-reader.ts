/**
 * Rows of csv and tsv files, read as a stream by csv-parse. What a column means is the caller's: labels and texts (table.ts), numbers to predict
 * (targets.ts), pairs of texts (pairs.ts). Errors name line and column; nothing is filled in.
 */
import { CsvError, parse, type Options } from 'csv-parse'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { AbortError, DataError, isTersorError } from '../base/errors.js'
import { openSource, type ByteSource } from '../formats/files.js'
import type { ReadOptions } from '../formats/limits.js'

const CHUNK = 2 ** 18
const MAX_RECORD = 16 * 2 ** 20

/** What of a spec says how the file is written. */
export interface TableFile {
  readonly format: 'csv' | 'tsv'
  readonly path: string
  readonly header?: boolean
  readonly quote?: boolean
}

/** A row and the line on which it ends. */
export type TakeRow = (record: readonly string[], line: number) => void

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

/** All lines of a text file, without their ends; the last one may lack it. ERR_IO, ERR_DATA (not UTF-8), ERR_ABORTED. */
export async function readLines(
  path: string,
  { signal, ...options }: ReadOptions & { readonly signal?: AbortSignal | undefined },
): Promise<string[]> {
  const source = openSource(path, options)
  const lines: string[] = []
  let rest = ''
  try {
    for await (const text of readText(path, source)) {
      if (signal?.aborted) throw new AbortError('ERR_ABORTED', `${path}: cancelled while reading`)
      const pieces = (rest + text).split('\n')
      rest = pieces.pop()!
      for (const line of pieces) lines.push(line.endsWith('\r') ? line.slice(0, -1) : line)
    }
  } finally {
    source.close()
  }
  if (rest !== '') lines.push(rest)
  return lines
}

/** The names of the columns of a file (their numbers where it has no header) and how to find one. */
export class ColumnNames {
  /** @param named - that the file itself has the names, not only numbers of columns */
  constructor(
    readonly file: string,
    readonly names: readonly string[],
    readonly named: boolean,
  ) {
    const twice = names.find((n, i) => names.indexOf(n) !== i)
    if (twice !== undefined)
      throw new DataError('ERR_DATA', `${file}: column ${JSON.stringify(twice)} stands twice`, { details: { column: twice } })
  }

  /** Place of a column by name or by number from 0; ERR_DATA names the option and what is there. */
  find(column: string, option: string): number {
    const byName = this.names.indexOf(column)
    const at = byName < 0 && /^[0-9]+$/.test(column) ? Number(column) : byName
    if (at >= 0 && at < this.names.length) return at
    const there = this.names
      .slice(0, 50)
      .map((n) => JSON.stringify(n))
      .join(', ')
    throw new DataError('ERR_DATA', `${this.file}: there is no column ${JSON.stringify(column)} for ${option}=; the file has ${there}`, {
      details: { column },
    })
  }

  /**
   * Places of the columns of features: all that are not `taken`, in the order of the file; with the names that a model was trained on (`wanted`),
   * and names in the file, in that order instead. Columns that are missing, or that the model does not know: ERR_DATA.
   */
  features(taken: readonly number[], wanted?: readonly string[]): number[] {
    const free = this.names.map((_, i) => i).filter((i) => !taken.includes(i))
    if (!wanted || !this.named) return free
    const there = new Map(free.map((i) => [this.names[i]!, i]))
    const missing = wanted.filter((name) => !there.has(name))
    const unknown = [...there.keys()].filter((name) => !wanted.includes(name))
    if (missing.length + unknown.length > 0) {
      const list = (names: readonly string[]): string =>
        names
          .slice(0, 20)
          .map((n) => JSON.stringify(n))
          .join(', ') + (names.length > 20 ? ', ...' : '')
      const problems = [missing.length > 0 ? `lacks ${list(missing)}` : '', unknown.length > 0 ? `has ${list(unknown)} beside them` : '']
      throw new DataError(
        'ERR_DATA',
        `${this.file}: the columns are not those of the training: the file ${problems.filter(Boolean).join(' and ')}`,
        {
          details: { missing, unknown },
        },
      )
    }
    return wanted.map((name) => there.get(name)!)
  }

  /** What is wrong in a field. */
  fault(row: number, at: number, problem: string): DataError {
    const column = this.names[at]!
    return new DataError('ERR_DATA', `${this.file}: line ${row}, column ${JSON.stringify(column)}: ${problem}`, {
      details: { row, column },
    })
  }

  /** A field as a finite f32. */
  number(field: string, row: number, at: number): number {
    const text = field.trim()
    if (text === '') throw this.fault(row, at, 'the value is missing')
    const value = /^[-+.0-9]/.test(text) && !/^[-+]?0[xXoObB]/.test(text) ? Number(text) : NaN
    if (!Number.isFinite(Math.fround(value))) throw this.fault(row, at, `${JSON.stringify(text.slice(0, 40))} is not a finite number`)
    return value
  }
}

/** Grows by doubling: the number of rows is not known before the end. */
export class Floats {
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

function parserOptions({ format, quote = format === 'csv' }: TableFile): Options {
  return {
    delimiter: format === 'csv' ? ',' : '\t',
    quote: quote ? '"' : null,
    escape: quote ? '"' : null,
    skip_empty_lines: true,
    max_record_size: MAX_RECORD,
  }
}

/**
 * Reads a file to its end; `begin` sees the columns and says who takes the rows.
 *
 * - a file that cannot be read: ERR_IO; not UTF-8, rows of different length, no row: ERR_DATA; cancelled: ERR_ABORTED
 */
export async function readTable(
  name: string,
  file: TableFile,
  { signal, ...options }: ReadOptions & { readonly signal?: AbortSignal | undefined },
  begin: (columns: ColumnNames) => TakeRow,
): Promise<void> {
  const source = openSource(file.path, options)
  let rows = 0
  let take: TakeRow | undefined
  const see: TakeRow = (record, line) => {
    if (!take) {
      const header = file.header ?? true
      take = begin(new ColumnNames(name, header ? record.map((n) => n.trim()) : record.map((_, i) => String(i)), header))
      if (header) return
    }
    take(record, line)
    rows++
  }
  try {
    // Taken as they are parsed: handing each record on through the stream takes longer than parsing it.
    const parser = parse({
      ...parserOptions(file),
      on_record: (record: string[], { lines }) => {
        see(record, lines)
        return null
      },
    })
    parser.resume()
    await pipeline(Readable.from(readText(name, source)), parser, signal ? { signal } : {})
    if (rows === 0) throw new DataError('ERR_DATA', `${name}: there are no samples`)
  } catch (error) {
    if (error instanceof CsvError) {
      const row = (error as CsvError & { lines?: number }).lines
      throw new DataError('ERR_DATA', `${name}: line ${row}: ${error.message}`, { cause: error, details: { row, reason: error.code } })
    }
    if (signal?.aborted) throw new AbortError('ERR_ABORTED', `${name}: cancelled while reading`, { cause: error })
    throw error
  } finally {
    source.close()
  }
}
