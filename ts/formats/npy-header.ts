/**
 * The header of an .npy file: magic, version, length, and a Python dictionary literal with exactly the keys descr, fortran_order and
 * shape (source: numpy.lib.format, versions 1.0 to 3.0). Nothing is evaluated: a dozen token kinds, no nesting, no recursion.
 */
import { dtypeInfo, dtypes, type DType } from '../base/dtype.js'
import { UnsupportedError } from '../base/errors.js'
import type { ByteSource } from './files.js'
import { countBytes, formatError, limitError, type FormatContext } from './limits.js'

export interface NpyHeader {
  readonly dtype: DType
  readonly bigEndian: boolean
  readonly fortranOrder: boolean
  readonly shape: readonly number[]
  readonly dataOffset: number
  readonly bytes: number
}

const dtypeByCode = new Map<string, DType>(dtypes.filter((d) => dtypeInfo[d].npy !== '').map((d) => [dtypeInfo[d].npy, d]))
const token = /[ \t\r\n]*(?:'([^'\\\n]*)'|"([^"\\\n]*)"|(True|False)|(-?[0-9]+)|([{}()[\]:,]))/y
export const NPY_MAGIC = '\x93NUMPY'

interface Fields {
  descr?: string
  fortranOrder?: boolean
  shape?: number[]
}

class HeaderText {
  #at = 0
  constructor(
    readonly ctx: FormatContext,
    readonly text: string,
    readonly offset: number,
  ) {}

  fail(reason: string, message: string): never {
    throw formatError(this.ctx, reason, message, { byteOffset: this.offset + this.#at })
  }

  next(): RegExpExecArray {
    token.lastIndex = this.#at
    const match = token.exec(this.text)
    if (!match) this.fail('syntax', 'the header is not a dictionary of descr, fortran_order and shape')
    this.#at = token.lastIndex
    return match
  }

  punctuation(chars: string): string {
    const found = this.next()[5]
    if (found === undefined || !chars.includes(found)) this.fail('syntax', `expected one of ${chars} in the header`)
    return found
  }

  string(): string {
    const [, single, double, , , mark] = this.next()
    if (mark === '[')
      throw new UnsupportedError('ERR_UNSUPPORTED', `${this.ctx.where}: structured dtypes are not supported`, {
        details: { what: 'structured dtype' },
      })
    return single ?? double ?? this.fail('syntax', 'expected a string in the header')
  }

  /** A tuple of integers: `()`, `(3,)`, `(3, 4)`, `(3, 4,)`. */
  shape(): number[] {
    const dims: number[] = []
    this.punctuation('(')
    for (;;) {
      const [, , , , digits, mark] = this.next()
      if (mark === ')') return dims
      if (digits === undefined) this.fail('syntax', 'a shape is a tuple of integers')
      const d = Number(digits)
      if (!Number.isSafeInteger(d) || d < 0) this.fail('shape', `dimensions must be integers >= 0, got ${digits.slice(0, 40)}`)
      dims.push(d)
      if (dims.length > this.ctx.limits.rank) throw limitError(this.ctx.where, 'rank', dims.length, this.ctx.limits.rank)
      const separator = this.punctuation(',)')
      if (separator === ')') return dims.length === 1 ? this.fail('syntax', 'a shape of one dimension is written (n,)') : dims
    }
  }

  end(): void {
    if (/[^ \n]/.test(this.text.slice(this.#at))) this.fail('trailing', 'text after the header dictionary')
  }
}

function readFields(header: HeaderText): Fields {
  const fields: Fields = {}
  header.punctuation('{')
  for (;;) {
    const [, single, double, , , mark] = header.next()
    if (mark === '}') break
    const key = single ?? double
    header.punctuation(':')
    if (key === 'descr' && fields.descr === undefined) fields.descr = header.string()
    else if (key === 'shape' && fields.shape === undefined) fields.shape = header.shape()
    else if (key === 'fortran_order' && fields.fortranOrder === undefined) {
      const word = header.next()[3]
      if (word === undefined) header.fail('syntax', 'fortran_order must be True or False')
      fields.fortranOrder = word === 'True'
    } else header.fail(key === undefined ? 'syntax' : 'key', `unknown or repeated key ${JSON.stringify(key?.slice(0, 40))} in the header`)
    if (header.punctuation(',}') === '}') break
  }
  header.end()
  return fields
}

function readDescr(ctx: FormatContext, descr: string): { dtype: DType; bigEndian: boolean } {
  const dtype = dtypeByCode.get(descr.slice(1))
  const order = descr.charAt(0)
  if (dtype !== undefined && (order === '<' || order === '>' || (order === '|' && dtypeInfo[dtype].bytes === 1)))
    return { dtype, bigEndian: order === '>' }
  const why = descr.endsWith('O')
    ? 'Python objects (pickles) are never loaded'
    : `known: ${[...dtypeByCode.keys()].map((c) => `<${c}`).join(', ')}`
  throw new UnsupportedError('ERR_UNSUPPORTED', `${ctx.where}: dtype ${JSON.stringify(descr.slice(0, 40))} is not supported; ${why}`, {
    details: { what: `dtype ${descr.slice(0, 40)}` },
  })
}

export function readNpyHeader(ctx: FormatContext, source: ByteSource): NpyHeader {
  if (source.size < 10)
    throw formatError(ctx, 'truncated', `an .npy file has at least 10 bytes, this has ${source.size}`, { byteOffset: source.size })
  const start = source.read(0, Math.min(12, source.size))
  if (Buffer.from(start.buffer, 0, 6).toString('latin1') !== NPY_MAGIC)
    throw formatError(ctx, 'magic', 'not an .npy file', { byteOffset: 0 })
  const major = start[6]!
  const minor = start[7]!
  if (major < 1 || major > 3 || minor !== 0)
    throw new UnsupportedError('ERR_UNSUPPORTED', `${ctx.where}: version must be 1.0, 2.0 or 3.0, got ${major}.${minor}`, {
      details: { what: `npy version ${major}.${minor}` },
    })
  const textOffset = major === 1 ? 10 : 12
  if (source.size < textOffset) throw formatError(ctx, 'truncated', 'the file ends inside its header', { byteOffset: source.size })
  const view = new DataView(start.buffer)
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  if (length > ctx.limits.npyHeaderBytes) throw limitError(ctx.where, 'npyHeaderBytes', length, ctx.limits.npyHeaderBytes)
  if (textOffset + length > source.size) throw formatError(ctx, 'truncated', 'the file ends inside its header', { byteOffset: source.size })

  const text = Buffer.from(source.read(textOffset, length)).toString('latin1')
  const { descr, fortranOrder, shape } = readFields(new HeaderText(ctx, text, textOffset))
  if (descr === undefined || fortranOrder === undefined || shape === undefined)
    throw formatError(ctx, 'incomplete', 'the header needs descr, fortran_order and shape', { byteOffset: textOffset })
  const { dtype, bigEndian } = readDescr(ctx, descr)
  const bytes = countBytes(ctx, dtype, shape, { byteOffset: textOffset })
  const dataOffset = textOffset + length
  const there = source.size - dataOffset
  if (bytes !== there) {
    const reason = bytes > there ? 'truncated' : 'trailing'
    throw formatError(ctx, reason, `${dtype}[${shape.join(', ')}] takes ${bytes} bytes, the file has ${there}`, { byteOffset: dataOffset })
  }
  return { dtype, bigEndian, fortranOrder, shape, dataOffset, bytes }
}
