/**
 * Reads a source from front to back through a window, so that a header of unknown length is never held whole. Every length is compared with the bytes
 * that are left before anything is allocated for it.
 */
import type { ByteSource } from '../files.js'
import { formatError, limitError, type FormatContext, type FormatDetails } from '../limits.js'

const WINDOW = 1 << 16

export class ByteCursor {
  readonly size: number
  readonly #ctx: FormatContext
  readonly #source: ByteSource
  #window: Buffer = Buffer.alloc(0)
  #view: DataView = new DataView(new ArrayBuffer(0))
  #start = 0
  #at = 0

  constructor(ctx: FormatContext, source: ByteSource) {
    this.#ctx = ctx
    this.#source = source
    this.size = source.size
  }

  /** Offset in the file of the next byte. */
  get offset(): number {
    return this.#start + this.#at
  }

  get left(): number {
    return this.size - this.offset
  }

  fail(reason: string, message: string, details: FormatDetails = {}): never {
    throw formatError(this.#ctx, reason, message, { byteOffset: this.offset, ...details })
  }

  /** Makes `n` bytes lie in the window; gives the place of the first. */
  #need(n: number, what: string): number {
    if (this.#at + n > this.#window.byteLength) {
      if (n > this.left) this.fail('truncated', `${what} takes ${n} bytes, ${this.left} are left`)
      const start = this.offset
      const bytes = this.#source.read(start, Math.min(Math.max(n, WINDOW), this.size - start))
      this.#window = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      this.#start = start
      this.#at = 0
    }
    const at = this.#at
    this.#at += n
    return at
  }

  u8(what: string): number {
    const at = this.#need(1, what)
    return this.#view.getUint8(at)
  }

  u32(what: string): number {
    const at = this.#need(4, what)
    return this.#view.getUint32(at, true)
  }

  u64(what: string): bigint {
    const at = this.#need(8, what)
    return this.#view.getBigUint64(at, true)
  }

  /** Calls `read` with a view that holds `bytes` bytes at the place given. */
  number(bytes: number, read: (view: DataView, at: number) => number, what: string): number {
    const at = this.#need(bytes, what)
    return read(this.#view, at)
  }

  /** A length or count of 64 bits: a safe integer of at most `max`, each of whose items takes `itemBytes` of what is left. */
  count(what: string, itemBytes: number, limit?: readonly [name: string, max: number]): number {
    const at = this.#need(8, what)
    const n = this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32
    if (n * itemBytes > this.left) this.fail('truncated', `${what} says ${n}, only ${this.left} bytes are left`)
    if (limit && n > limit[1]) throw limitError(this.#ctx.where, limit[0], n, limit[1])
    return n
  }

  /** UTF-8 with its length before it. */
  string(what: string): string {
    const n = this.count(`the length of ${what}`, 1, ['metadataString', this.#ctx.limits.metadataString])
    const at = this.#need(n, what)
    const text = this.#window.toString('utf8', at, at + n)
    // A replacement character is in the file itself, or stands for bytes that are no UTF-8.
    if (text.includes('\ufffd'))
      try {
        return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.#window.subarray(at, at + n))
      } catch {
        this.fail('encoding', `${what} must be UTF-8`)
      }
    return text
  }

  /** Fills `into` with the next bytes. */
  bytes(into: Uint8Array, what: string): void {
    if (into.byteLength > this.left) this.fail('truncated', `${what} takes ${into.byteLength} bytes, ${this.left} are left`)
    const inWindow = Math.min(into.byteLength, this.#window.byteLength - this.#at)
    into.set(this.#window.subarray(this.#at, this.#at + inWindow))
    this.#at += inWindow
    if (inWindow === into.byteLength) return
    this.#source.readInto(this.offset, into.subarray(inWindow))
    this.#start += this.#at + into.byteLength - inWindow
    this.#at = 0
    this.#window = Buffer.alloc(0)
  }
}
