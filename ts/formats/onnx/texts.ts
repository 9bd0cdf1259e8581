/** Texts of a protobuf file by their bytes: equal ones are one string, made once. Names of values stand in a graph at least twice. */

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true })
/** Longer ones come once. */
const LONGEST = 256
/** ASCII up to this length is put together here; beyond it a call of the decoder costs less. */
const SHORT = 24
/**
 * Slots that are looked at for one text. The hash is no secret: a file whose texts all have one pays this for each and gets them as strings of their own.
 * In a table that is half full the texts of other files are hardly ever so far from their slots.
 */
const PROBES = 64

export class Texts {
  readonly #bytes: Uint8Array
  readonly #strings: string[] = []
  /** Of each string: where its bytes begin, in any file that fits into memory. Grows with the table, which is never more than half full. */
  #froms = new Float64Array(512)
  /** Of each string: how many bytes it has, their hash. */
  #keys = new Int32Array(2 * 512)
  /** Number of the string + 1 by hash; 0: free. */
  #table = new Int32Array(1024)
  /** The newest string and its bytes: what a node gives is often what the next one takes. */
  #newest = ''
  #newestFrom = 0
  #newestLength = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** How many strings are kept. */
  get size(): number {
    return this.#strings.length
  }

  read(from: number, to: number): string {
    const bytes = this.#bytes
    const length = to - from
    if (length === 0) return ''
    if (length > LONGEST) return utf8.decode(bytes.subarray(from, to))
    if (length === this.#newestLength && this.#same(this.#newestFrom, from, length)) return this.#newest
    let hash = length
    let high = 0
    for (let i = from; i < to; i++) {
      const byte = bytes[i]!
      hash = Math.imul(hash ^ byte, 0x01000193)
      high |= byte
    }
    hash ^= hash >>> 15
    const [froms, keys, table] = [this.#froms, this.#keys, this.#table]
    const mask = table.length - 1
    let slot = hash & mask
    let probes = 0
    for (; table[slot] !== 0 && probes < PROBES; slot = (slot + 1) & mask, probes++) {
      const n = table[slot]! - 1
      if (keys[2 * n + 1] === hash && keys[2 * n] === length && this.#same(froms[n]!, from, length)) return this.#strings[n]!
    }
    const text = high < 128 && length <= SHORT ? this.#ascii(from, to) : utf8.decode(bytes.subarray(from, to))
    if (probes < PROBES) {
      const n = this.#strings.length
      froms[n] = from
      keys[2 * n] = length
      keys[2 * n + 1] = hash
      table[slot] = this.#strings.push(text)
      if (this.#strings.length * 2 > mask) this.#grow()
    }
    this.#newest = text
    this.#newestFrom = from
    this.#newestLength = length
    return text
  }

  /** A text that stands in the file once, as names of nodes do: it is not looked for. */
  readOnce(from: number, to: number): string {
    if (to - from > SHORT) return utf8.decode(this.#bytes.subarray(from, to))
    for (let i = from; i < to; i++) if (this.#bytes[i]! > 127) return utf8.decode(this.#bytes.subarray(from, to))
    return this.#ascii(from, to)
  }

  #same(a: number, b: number, length: number): boolean {
    const bytes = this.#bytes
    // From the end: numbered names differ there.
    for (let i = length - 1; i >= 0; i--) if (bytes[a + i] !== bytes[b + i]) return false
    return true
  }

  #ascii(from: number, to: number): string {
    const codes = new Array<number>(to - from)
    for (let i = from; i < to; i++) codes[i - from] = this.#bytes[i]!
    return String.fromCharCode.apply(null, codes)
  }

  #grow(): void {
    const froms = new Float64Array(this.#froms.length * 4)
    froms.set(this.#froms)
    const keys = new Int32Array(this.#keys.length * 4)
    keys.set(this.#keys)
    const table = new Int32Array(this.#table.length * 4)
    const mask = table.length - 1
    for (let i = 0; i < this.#strings.length; i++) {
      // No further than about PROBES: texts that meet here met in the smaller table too.
      let slot = keys[2 * i + 1]! & mask
      while (table[slot] !== 0) slot = (slot + 1) & mask
      table[slot] = i + 1
    }
    this.#froms = froms
    this.#keys = keys
    this.#table = table
  }
}
