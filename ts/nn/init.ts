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

/**
 * Uniform in +-1 / sqrt(fanIn) (the rule of Torch since 2002). Smaller than He's: right where values grow between layers by other means, as
 * max pooling makes them, or where first outputs should be near 0.
 */
export function fanInUniform(n: number, fanIn: number, rng: Rng): Float32Array {
  return uniformIn(n, 1 / Math.sqrt(Math.max(1, fanIn)), rng)
}

export const initRules = ['he', 'glorot', 'fanIn'] as const
export type InitRule = (typeof initRules)[number]

/** Values of a layer that multiplies, by the rule that its configuration names. */
export function initial(rule: InitRule, n: number, fan: { readonly in: number; readonly out: number }, rng: Rng): Float32Array {
  const rules = {
    he: () => heUniform(n, fan.in, rng),
    glorot: () => glorotUniform(n, fan.in, fan.out, rng),
    fanIn: () => fanInUniform(n, fan.in, rng),
  }
  return rules[rule]()
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
