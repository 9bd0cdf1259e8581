/**
 * Random numbers of one sample: Philox4x32-10 with (draw, index, epoch, purpose) as the counter and the seed as the key. Any sample of any epoch is
 * reached at once, so what happens to it does not depend on which thread, in which batch, or after which interruption it is made.
 */
import { philox4x32 } from '../base/rng.js'

export class SampleRng {
  readonly #block = new Uint32Array(4)
  #draws = 0
  #seed = 0
  #index = 0
  #epoch = 0

  /** `purpose` keeps the streams of different uses apart. */
  constructor(private readonly purpose: number) {}

  /** Goes to the beginning of a sample's stream. */
  at(seed: number, epoch: number, index: number): this {
    this.#seed = seed
    this.#epoch = epoch
    this.#index = index
    this.#draws = 0
    return this
  }

  uint32(): number {
    const lane = this.#draws & 3
    if (lane === 0) {
      this.#block[0] = this.#draws >>> 2
      this.#block[1] = this.#index
      this.#block[2] = this.#epoch
      this.#block[3] = this.purpose
      philox4x32(this.#block, this.#seed >>> 0, Math.floor(this.#seed / 2 ** 32))
    }
    this.#draws++
    return this.#block[lane]!
  }

  /** In [0, 1), 32 bits. */
  uniform(): number {
    return this.uint32() / 2 ** 32
  }

  between(low: number, high: number): number {
    return low + (high - low) * this.uniform()
  }

  /** In 0 .. n - 1; n small, so the bias (n / 2^32) does not matter. */
  int(n: number): number {
    return Math.floor(this.uniform() * n)
  }

  normal(): number {
    const radius = Math.sqrt(-2 * Math.log((this.uint32() + 1) / 2 ** 32))
    return radius * Math.cos(2 * Math.PI * this.uniform())
  }

  /** Gamma(shape, 1): Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; below 1 by their section 6. */
  gamma(shape: number): number {
    if (shape < 1) return this.gamma(shape + 1) * Math.pow((this.uint32() + 1) / 2 ** 32, 1 / shape)
    const d = shape - 1 / 3
    const c = 1 / Math.sqrt(9 * d)
    for (;;) {
      const x = this.normal()
      const v = (1 + c * x) ** 3
      if (v > 0 && Math.log((this.uint32() + 1) / 2 ** 32) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v
    }
  }

  /** Beta(a, a). */
  beta(a: number): number {
    const x = this.gamma(a)
    const y = this.gamma(a)
    return x + y > 0 ? x / (x + y) : 0.5
  }
}
