/**
 * Random numbers that can be repeated, split and resumed: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011), a counter encrypted with the seed. Any position of any stream is reached at once, streams named differently never
 * meet, and the state is three numbers. 32-bit integer arithmetic only: the same bits on every machine.
 */
import { OptionError } from './errors.js'

const M0 = 0xd2511f53
const M1 = 0xcd9e8d57
const W0 = 0x9e3779b9
const W1 = 0xbb67ae85

/** Upper 32 bits of the product of two unsigned 32-bit integers. */
function mulHigh(a: number, b: number): number {
  const al = a & 0xffff
  const ah = a >>> 16
  const bl = b & 0xffff
  const bh = b >>> 16
  const t = ah * bl + ((al * bl) >>> 16)
  return (ah * bh + (t >>> 16) + ((al * bh + (t & 0xffff)) >>> 16)) >>> 0
}

/** One block: `block` holds the counter and receives the four random words. */
export function philox4x32(block: Uint32Array, key0: number, key1: number): void {
  let c0 = block[0]!
  let c1 = block[1]!
  let c2 = block[2]!
  let c3 = block[3]!
  let k0 = key0
  let k1 = key1
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(M0, c0)
    const low0 = Math.imul(M0, c0)
    const high1 = mulHigh(M1, c2)
    const low1 = Math.imul(M1, c2)
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1 >>> 0
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0 >>> 0
    k0 = (k0 + W0) >>> 0
    k1 = (k1 + W1) >>> 0
  }
  block[0] = c0
  block[1] = c1
  block[2] = c2
  block[3] = c3
}

/** A 64-bit hash of a string, as two words: two multiplicative chains with MurmurHash3's finaliser. Not cryptographic. */
export function hash64(text: string, seed = 0): [number, number] {
  let a = (seed ^ 0x243f6a88) >>> 0
  let b = (seed ^ 0x85a308d3) >>> 0
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    a = Math.imul(a ^ c, 0x01000193)
    b = Math.imul(b ^ c, 0x85ebca6b)
    b = (b << 13) | (b >>> 19)
  }
  const mix = (h: number): number => {
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
    return (h ^ (h >>> 16)) >>> 0
  }
  return [mix(a ^ text.length), mix(b ^ Math.imul(a, 0x9e3779b9))]
}

/** What is needed to continue: plain JSON. */
export interface RngState {
  readonly seed: number
  readonly stream: readonly [number, number]
  /** 32-bit words drawn so far. */
  readonly position: number
}

function checkInteger(what: string, value: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > max)
    throw new OptionError('ERR_OPTION', `rng: ${what} must be an integer in [0, ${max}], got ${value}`)
}

export class Rng {
  readonly #seed: number
  readonly #stream: readonly [number, number]
  readonly #block = new Uint32Array(4)
  #position: number

  private constructor({ seed, stream, position }: RngState) {
    checkInteger('seed', seed, Number.MAX_SAFE_INTEGER)
    checkInteger('position', position, Number.MAX_SAFE_INTEGER)
    for (const word of stream) checkInteger('stream', word, 0xffffffff)
    this.#seed = seed
    this.#stream = [stream[0], stream[1]]
    this.#position = position
    if (position % 4 !== 0) this.#fill()
  }

  /** The stream of `seed` that `path` names: `Rng.of(seed, 'stage 2', 'dropout', 'blocks.0')`. */
  static of(seed: number, ...path: readonly (string | number)[]): Rng {
    return new Rng({ seed, stream: path.length === 0 ? [0, 0] : hash64(JSON.stringify(path)), position: 0 })
  }

  static restore(state: RngState): Rng {
    return new Rng(state)
  }

  state(): RngState {
    return { seed: this.#seed, stream: this.#stream, position: this.#position }
  }

  #fill(): void {
    const index = Math.floor(this.#position / 4)
    this.#block[0] = index
    this.#block[1] = Math.floor(index / 2 ** 32)
    this.#block[2] = this.#stream[0]
    this.#block[3] = this.#stream[1]
    philox4x32(this.#block, this.#seed >>> 0, Math.floor(this.#seed / 2 ** 32))
  }

  /** Uniform on the 32-bit integers. */
  uint32(): number {
    const lane = this.#position % 4
    if (lane === 0) this.#fill()
    this.#position++
    return this.#block[lane]!
  }

  /** Uniform on [0, 1), 53 bits. */
  uniform(): number {
    const high = this.uint32() >>> 5
    return (high * 2 ** 26 + (this.uint32() >>> 6)) / 2 ** 53
  }

  /** Uniform on 0 .. n - 1, without bias (Lemire, "Fast random integer generation in an interval", 2019). */
  int(n: number): number {
    if (!Number.isSafeInteger(n) || n < 1 || n > 0xffffffff)
      throw new OptionError('ERR_OPTION', `rng: int(n) needs an integer in [1, 2^32), got ${n}`)
    const floor = (0x100000000 - n) % n
    for (;;) {
      const word = this.uint32()
      if (Math.imul(word, n) >>> 0 >= floor) return mulHigh(word, n)
    }
  }

  /** Normal with mean 0 and deviation 1 (Box-Muller). */
  normal(): number {
    const radius = Math.sqrt(-2 * Math.log((this.uint32() + 1) / 2 ** 32))
    return radius * Math.cos(2 * Math.PI * (this.uint32() / 2 ** 32))
  }

  fillUniform(out: Float32Array, low = 0, high = 1): Float32Array {
    for (let i = 0; i < out.length; i++) out[i] = low + (high - low) * ((this.uint32() >>> 8) / 2 ** 24)
    return out
  }

  fillNormal(out: Float32Array, mean = 0, deviation = 1): Float32Array {
    for (let i = 0; i < out.length; i += 2) {
      const radius = deviation * Math.sqrt(-2 * Math.log((this.uint32() + 1) / 2 ** 32))
      const angle = 2 * Math.PI * (this.uint32() / 2 ** 32)
      out[i] = mean + radius * Math.cos(angle)
      if (i + 1 < out.length) out[i + 1] = mean + radius * Math.sin(angle)
    }
    return out
  }
}

/** Puts a list in random order, in place (Fisher-Yates). */
export function shuffleInPlace<T>(list: { readonly length: number; [index: number]: T }, rng: Rng): void {
  for (let i = list.length - 1; i > 0; i--) {
    const j = rng.int(i + 1)
    const kept = list[i]!
    list[i] = list[j]!
    list[j] = kept
  }
}

/** The numbers 0 .. n - 1 in the order of an epoch. */
export function shuffle(n: number, seed: number, epoch = 0): Uint32Array {
  checkInteger('n', n, 0xffffffff)
  const order = Uint32Array.from({ length: n }, (_, i) => i)
  shuffleInPlace(order, Rng.of(seed, 'shuffle', epoch))
  return order
}
