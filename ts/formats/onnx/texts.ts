/** Texts of a protobuf file by their bytes: equal ones are one string, made once. Names of values stand in a graph at least twice. */

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
/** Longer ones (documentation) come once. */
const LONGEST = 256
/** ASCII up to this length is put together here; beyond it a call of the decoder costs less. */
const SHORT = 24

export class Texts {
  readonly #bytes: Uint8Array
  readonly #strings: string[] = []
  /** Of each string: where its bytes begin, how many they are, their hash. */
  readonly #keys: number[] = []
  /** Number of the string + 1 by hash; 0: free. */
  #table = new Int32Array(1024)

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  read(from: number, to: number): string {
    const bytes = this.#bytes
    const length = to - from
    if (length === 0) return ''
    if (length > LONGEST) return utf8.decode(bytes.subarray(from, to))
    let hash = length
    let high = 0
    for (let i = from; i < to; i++) {
      const byte = bytes[i]!
      hash = Math.imul(hash ^ byte, 0x01000193)
      high |= byte
    }
    hash ^= hash >>> 15
    const [keys, mask] = [this.#keys, this.#table.length - 1]
    let slot = hash & mask
    for (; this.#table[slot] !== 0; slot = (slot + 1) & mask) {
      const k = 3 * (this.#table[slot]! - 1)
      if (keys[k + 2] === hash && keys[k + 1] === length && this.#same(keys[k]!, from, length)) return this.#strings[k / 3]!
    }
    const text = high < 128 && length <= SHORT ? this.#ascii(from, to) : utf8.decode(bytes.subarray(from, to))
    keys.push(from, length, hash)
    this.#table[slot] = this.#strings.push(text)
    if (this.#strings.length * 2 > mask) this.#grow()
    return text
  }

  #same(a: number, b: number, length: number): boolean {
    const bytes = this.#bytes
    for (let i = 0; i < length; i++) if (bytes[a + i] !== bytes[b + i]) return false
    return true
  }

  #ascii(from: number, to: number): string {
    const codes = new Array<number>(to - from)
    for (let i = from; i < to; i++) codes[i - from] = this.#bytes[i]!
    return String.fromCharCode.apply(null, codes)
  }

  #grow(): void {
    const table = new Int32Array(this.#table.length * 4)
    const mask = table.length - 1
    for (let i = 0; i < this.#strings.length; i++) {
      let slot = this.#keys[3 * i + 2]! & mask
      while (table[slot] !== 0) slot = (slot + 1) & mask
      table[slot] = i + 1
    }
    this.#table = table
  }
}
