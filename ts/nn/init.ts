/** Initial values. The formulas are those of the papers named; all take a generator so that a seed fixes a model. */

/** What initialisers need of a random generator (ts/base/rng.ts makes them). */
export interface Rng {
  /** In [0, 1). */
  uniform(): number
  /** Standard normal. */
  normal(): number
}

export function filled(n: number, value: number): Float32Array {
  return new Float32Array(n).fill(value)
}

/** Uniform in +-sqrt(6 / fanIn) (He et al. 2015, for ReLU nets). */
export function heUniform(n: number, fanIn: number, rng: Rng): Float32Array {
  return uniformIn(n, Math.sqrt(6 / Math.max(1, fanIn)), rng)
}

/** Uniform in +-sqrt(6 / (fanIn + fanOut)) (Glorot and Bengio 2010). */
export function glorotUniform(n: number, fanIn: number, fanOut: number, rng: Rng): Float32Array {
  return uniformIn(n, Math.sqrt(6 / Math.max(1, fanIn + fanOut)), rng)
}

/** Uniform in +-limit. */
export function uniformIn(n: number, limit: number, rng: Rng): Float32Array {
  const out = new Float32Array(n)
  for (let i = 0; i < n; i++) out[i] = (rng.uniform() * 2 - 1) * limit
  return out
}

export function normals(n: number, std: number, rng: Rng): Float32Array {
  const out = new Float32Array(n)
  for (let i = 0; i < n; i++) out[i] = rng.normal() * std
  return out
}
