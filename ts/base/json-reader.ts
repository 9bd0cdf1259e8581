/**
 * A cursor over a JSON text, strict (RFC 8259). What `JSON.parse` lets through and a file header must not contain is an error with its
 * byte offset: duplicate keys, nesting beyond a limit, numbers outside double range, lone surrogates, bytes that are not UTF-8.
 * A reader of a known structure rejects a hostile text at its first surprise and builds nothing. Integers asked for are read from their
 * digits: 2^53 + 1 is rejected, never rounded.
 */
import type { ErrorCode } from './codes.gen.js'
import { tersorError } from './errors.js'

export interface JsonOptions {
  /** Begins every message: what is being read. */
  readonly where?: string
  /** Code of a violation of the grammar; limits are always `ERR_LIMIT`. */
  readonly code?: ErrorCode
  readonly format?: string
  readonly maxDepth?: number
  /** Object members and array elements in the whole text. */
  readonly maxItems?: number
  /** Characters of one string. */
  readonly maxString?: number
  /** Where the text begins in its file; added to byte offsets in errors. */
  readonly byteOffset?: number
}

const numberToken = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y
const literals: readonly (readonly [string, null | boolean])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
]
const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BRACKET = 0x5b
const BACKSLASH = 0x5c
const BRACKET_END = 0x5d
const BRACE = 0x7b
const BRACE_END = 0x7d
const escapes: Readonly<Record<string, string>> = { '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }

/** True when every surrogate has its partner, i.e. the string can be written as UTF-8. */
export function isWellFormed(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (c < 0xd800 || c > 0xdfff) continue
    const next = i + 1 < text.length ? text.charCodeAt(i + 1) : 0
    if (c > 0xdbff || next < 0xdc00 || next > 0xdfff) return false
    i++
  }
  return true
}

/** Offset of the first byte that is not valid UTF-8, or -1. Longest valid prefix by bisection: only errors pay for it. */
function invalidUtf8At(bytes: Uint8Array): number {
  const valid = (end: number): boolean => {
    try {
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, end), { stream: true })
      return true
    } catch {
      return false
    }
  }
  if (valid(bytes.length)) return bytes.length - 1 // only the last character is cut off
  let good = 0
  let bad = bytes.length
  while (bad - good > 1) {
    const middle = (good + bad) >>> 1
    if (valid(middle)) good = middle
    else bad = middle
  }
  return bad - 1
}

export class JsonReader {
  readonly #text: string
  readonly #ascii: boolean
  readonly #options: JsonOptions
  readonly #maxDepth: number
  readonly #maxString: number
  #left: number
  #depth = 0
  #at = 0

  constructor(input: Uint8Array | string, options: JsonOptions = {}) {
    this.#options = options
    this.#maxDepth = options.maxDepth ?? 64
    this.#maxString = options.maxString ?? 16 * 2 ** 20
    this.#left = options.maxItems ?? 4_000_000
    if (typeof input === 'string') {
      this.#text = input
      this.#ascii = false
      if (!isWellFormed(input)) this.fail('encoding', 'the text holds a lone surrogate', 0)
    } else {
      let text: string | undefined
      try {
        text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(input)
      } catch {
        text = undefined
      }
      this.#text = text ?? ''
      this.#ascii = text === undefined || text.length === input.length
      if (text === undefined) this.fail('encoding', 'the text is not UTF-8', invalidUtf8At(input))
    }
  }

  /** Byte offset of the cursor in the file. */
  get byteOffset(): number {
    return this.#offsetOf(this.#at)
  }

  #offsetOf(at: number): number {
    const bytes = this.#ascii ? at : new TextEncoder().encode(this.#text.slice(0, at)).length
    return bytes + (this.#options.byteOffset ?? 0)
  }

  /** Throws the error of this text: `reason` is a stable word for programs, `at` a position in the text. */
  fail(reason: string, message: string, at = this.#at): never {
    const before = this.#text.slice(0, at)
    const line = before.split('\n').length
    const byteOffset = this.#offsetOf(at)
    const { where = 'json', code = 'ERR_MODEL_FORMAT', format = 'json' } = this.#options
    throw tersorError(code, `${where}: ${message} (byte ${byteOffset}, line ${line}, column ${at - before.lastIndexOf('\n')})`, {
      details: { format, reason, byteOffset },
    })
  }

  #limit(limit: string, value: number, max: number): never {
    const { where = 'json' } = this.#options
    const byteOffset = this.byteOffset
    throw tersorError('ERR_LIMIT', `${where}: ${limit} must be at most ${max}, got ${value} or more (byte ${byteOffset})`, {
      details: { limit, value, max, byteOffset },
    })
  }

  /** Skips white space and gives the next character, '' at the end. */
  peek(): string {
    this.#skip()
    return this.#text.charAt(this.#at)
  }

  /** The same as a code, NaN at the end: no string is made. */
  #skip(): number {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at)
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return c
      this.#at++
    }
  }

  #expect(code: number, what: string): void {
    const found = this.#skip()
    if (found !== code) this.fail('syntax', `expected ${what}, found ${this.#shown()}`)
    this.#at++
  }

  #shown(): string {
    const char = this.peek()
    return char === '' ? 'the end' : JSON.stringify(char)
  }

  #item(): void {
    if (--this.#left < 0) this.#limit('jsonItems', (this.#options.maxItems ?? 4_000_000) + 1, this.#options.maxItems ?? 4_000_000)
  }

  #enter(code: number, what: string): void {
    this.#expect(code, what)
    if (++this.#depth > this.#maxDepth) this.#limit('jsonDepth', this.#depth, this.#maxDepth)
  }

  /** Reads an object: `member` is called after each key and must read its value. Pass the map being filled as `seen` to save a set. */
  object(member: (key: string, at: number) => void, seen?: { has(key: string): boolean }): void {
    this.#enter(BRACE, 'an object')
    const own = seen ? undefined : new Set<string>()
    if (this.#skip() !== BRACE_END) {
      do {
        this.#item()
        this.#skip()
        const at = this.#at
        const key = this.string('a key')
        if ((seen ?? own!).has(key)) this.fail('duplicate', `duplicate key ${JSON.stringify(key.slice(0, 100))}`, at)
        own?.add(key)
        this.#expect(COLON, '":"')
        member(key, at)
      } while (this.#more())
    }
    this.#expect(BRACE_END, '"," or "}"')
    this.#depth--
  }

  /** Reads an array: `element` must read one value. */
  array(element: (index: number) => void): void {
    this.#enter(BRACKET, 'an array')
    if (this.#skip() !== BRACKET_END) {
      let index = 0
      do {
        this.#item()
        element(index++)
      } while (this.#more())
    }
    this.#expect(BRACKET_END, '"," or "]"')
    this.#depth--
  }

  #more(): boolean {
    if (this.#skip() !== COMMA) return false
    this.#at++
    return true
  }

  string(what = 'a string'): string {
    this.#expect(QUOTE, what)
    const text = this.#text
    const start = this.#at
    let at = start
    for (;;) {
      const c = text.charCodeAt(at)
      if (c === QUOTE) break
      if (c === BACKSLASH) return this.#escapedString(start, at)
      if (c < 0x20 || at >= text.length) this.#badStringAt(at)
      at++
    }
    if (at - start > this.#maxString) this.#limit('jsonString', at - start, this.#maxString)
    this.#at = at + 1
    return text.slice(start, at)
  }

  #badStringAt(at: number): never {
    this.fail('syntax', at >= this.#text.length ? 'the text ends inside a string' : 'control character inside a string', at)
  }

  #escapedString(start: number, firstEscape: number): string {
    const text = this.#text
    const parts = [text.slice(start, firstEscape)]
    let at = firstEscape
    for (;;) {
      const c = text.charCodeAt(at)
      if (c === QUOTE) break
      if (c === BACKSLASH) {
        const letter = text.charAt(at + 1)
        const plain = escapes[letter]
        if (plain === undefined && letter !== 'u') this.fail('syntax', 'unknown escape in a string', at)
        parts.push(plain ?? String.fromCharCode(this.#hex(at + 2)))
        at += plain === undefined ? 6 : 2
      } else if (c < 0x20 || at >= text.length) this.#badStringAt(at)
      else {
        const from = at
        while (at < text.length && text.charCodeAt(at) >= 0x20 && text.charCodeAt(at) !== QUOTE && text.charCodeAt(at) !== BACKSLASH) at++
        parts.push(text.slice(from, at))
      }
      if (at - start > 6 * this.#maxString) this.#limit('jsonString', at - start, this.#maxString)
    }
    const value = parts.join('')
    if (value.length > this.#maxString) this.#limit('jsonString', value.length, this.#maxString)
    if (!isWellFormed(value)) this.fail('encoding', 'a string holds a lone surrogate', firstEscape)
    this.#at = at + 1
    return value
  }

  #hex(at: number): number {
    const digits = this.#text.slice(at, at + 4)
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) this.fail('syntax', '\\u must be followed by four hexadecimal digits', at)
    return parseInt(digits, 16)
  }

  #number(): RegExpExecArray {
    this.#skip()
    numberToken.lastIndex = this.#at
    const match = numberToken.exec(this.#text)
    if (!match) this.fail('syntax', 'expected a number')
    return match
  }

  number(): number {
    const match = this.#number()
    const value = Number(match[0])
    if (!Number.isFinite(value)) this.fail('number', `number ${match[0].slice(0, 40)} is outside the range of doubles`)
    this.#at += match[0].length
    return value
  }

  /** An integer in [min, max], written as digits only; no rounding takes place. */
  integer(min = 0, max = Number.MAX_SAFE_INTEGER): number {
    const match = this.#number()
    const shown = match[0].length > 40 ? `${match[0].slice(0, 40)}...` : match[0]
    if (match[1] !== undefined || match[2] !== undefined) this.fail('integer', `expected an integer, found ${shown}`)
    const value = Number(match[0])
    if (!Number.isSafeInteger(value) || value < min || value > max || Object.is(value, -0))
      this.fail('integer', `integer must be in [${min}, ${max}], found ${shown}`)
    this.#at += match[0].length
    return value
  }

  /** `null`, `true` or `false`. */
  literal(): null | boolean {
    this.#skip()
    for (const [word, value] of literals)
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length
        return value
      }
    return this.fail('syntax', 'expected a value')
  }

  /** Nothing but white space may follow; with `padding: 'spaces'` nothing but 0x20. */
  end(padding: 'whitespace' | 'spaces' = 'whitespace'): void {
    const at = this.#at
    if (this.peek() !== '') this.fail('trailing', 'text after the value')
    if (padding === 'spaces' && /[^ ]/.test(this.#text.slice(at))) this.fail('padding', 'only spaces may follow the value', at)
  }
}
