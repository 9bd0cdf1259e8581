/** Seeded values for the laws. Both dtypes get the same numbers: all are exact in f32. */
import type { Sampler } from '../../ts/autograd/index.js'
import type { FloatDType } from '../../ts/base/dtype.js'
import { sizeOf, type Shape } from '../../ts/base/shape.js'
import { tensor, type Tensor } from '../../ts/tensor/index.js'

/** splitmix32: uniform in [0, 1). */
export function rng(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32
  }
}

export function sampler(seed: number, dtype: FloatDType): Sampler {
  const random = rng(seed)
  const make = (shape: Shape, next: (i: number) => number): Tensor => {
    const values = Float32Array.from({ length: sizeOf(shape) }, (_, i) => next(i))
    return tensor(dtype === 'f64' ? Float64Array.from(values) : values, shape)
  }
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
  return {
    normal: (...shape) => make(shape, normal),
    uniform: (shape, lo, hi) => make(shape, () => lo + (hi - lo) * random()),
    away: (...shape) => make(shape, () => (0.1 + random()) * (random() < 0.5 ? -1 : 1)),
    distinct: (...shape) => {
      const n = sizeOf(shape)
      const ranks = Array.from({ length: n }, (_, i) => i)
      for (let i = n - 1; i > 0; i--) {
        const j = Math.floor(random() * (i + 1))
        ;[ranks[i], ranks[j]] = [ranks[j]!, ranks[i]!]
      }
      return make(shape, (i) => (ranks[i]! - n / 2) * 0.03 + 0.01 * random())
    },
    index: (shape, below) =>
      tensor(
        Int32Array.from({ length: sizeOf(shape) }, () => Math.floor(random() * below)),
        shape,
      ),
  }
}
