/** Where the lines of a file begin: one pass in constant memory that remembers the offset of every block of rows. */
import { DataError } from '../../base/errors.js'
import { openSource } from '../../formats/files.js'

const CHUNK = 2 ** 18
const MAX_ROW = 16 * 2 ** 20
const [LINE_END, RETURN, QUOTE, SPACE, TAB] = [0x0a, 0x0d, 0x22, 0x20, 0x09]

export interface LineIndex {
  readonly rows: number
  /** Byte offset of each block of rows, and the end of the last. */
  readonly offsets: Float64Array
  /** The first line of the file that is not empty. */
  readonly firstLine: string
  /** The first row of data, as text. */
  readonly firstRow: string
}

export interface ScanOptions {
  readonly blockRows: number
  /** A line end between quotes does not end a row. */
  readonly quote: boolean
  /** The first line names the columns. */
  readonly header: boolean
  /** Lines of white space only are no rows. */
  readonly blankIsSpace: boolean
}

class Scanner {
  rows = 0
  readonly offsets: number[] = []
  firstLine: readonly [number, number] | undefined
  firstRow: readonly [number, number] | undefined
  #start = 0
  #empty = true
  #quoted = false
  #header: boolean

  constructor(
    private readonly name: string,
    private readonly options: ScanOptions,
  ) {
    this.#header = options.header
  }

  /** `at`: offset of the first byte. */
  chunk(bytes: Uint8Array, at: number): void {
    const { quote, blankIsSpace } = this.options
    for (let i = 0; i < bytes.length; i++) {
      const byte = bytes[i]!
      if (byte === LINE_END && !this.#quoted) this.end(at + i + 1)
      else if (byte === QUOTE && quote) {
        this.#quoted = !this.#quoted
        this.#empty = false
      } else if (byte !== RETURN && !(blankIsSpace && (byte === SPACE || byte === TAB))) this.#empty = false
    }
    if (at + bytes.length - this.#start > MAX_ROW)
      throw new DataError(
        'ERR_DATA',
        `${this.name}: row ${this.rows} has more than ${MAX_ROW} bytes${this.#quoted ? ': a quote is not closed' : ''}`,
        {
          details: { row: this.rows, byteOffset: this.#start },
        },
      )
  }

  /** The row that began last ends before `end`. */
  end(end: number): void {
    if (!this.#empty) {
      this.firstLine ??= [this.#start, end]
      if (this.#header) this.#header = false
      else {
        this.firstRow ??= [this.#start, end]
        if (this.rows % this.options.blockRows === 0) this.offsets.push(this.#start)
        this.rows++
      }
    }
    this.#start = end
    this.#empty = true
  }

  get open(): boolean {
    return this.#quoted
  }
}

export async function scanLines(name: string, file: string, options: ScanOptions, breathe: () => Promise<void>): Promise<LineIndex> {
  const source = openSource(file)
  try {
    const scanner = new Scanner(name, options)
    for (let at = 0; at < source.size; at += CHUNK) {
      scanner.chunk(source.read(at, Math.min(CHUNK, source.size - at)), at)
      await breathe()
    }
    scanner.end(source.size)
    if (scanner.open) throw new DataError('ERR_DATA', `${name}: a quote is not closed`, { details: { row: scanner.rows } })
    const text = (range: readonly [number, number] | undefined): string =>
      range ? new TextDecoder('utf-8').decode(source.read(range[0], range[1] - range[0])) : ''
    const offsets = Float64Array.from([...scanner.offsets, source.size])
    return { rows: scanner.rows, offsets, firstLine: text(scanner.firstLine), firstRow: text(scanner.firstRow) }
  } finally {
    source.close()
  }
}
