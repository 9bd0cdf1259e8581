/** The same numbers as rivals/native/contender.h and rivals/python/contender.py make, so that results can be compared. */

function hash32(x: number): number {
  x ^= x >>> 16
  x = Math.imul(x, 0x85ebca6b)
  x ^= x >>> 13
  x = Math.imul(x, 0xc2b2ae35)
  return (x ^ (x >>> 16)) >>> 0
}
/** [0, 1) */
const unit = (i: number, seed: number): number => (hash32((Math.imul(i, 4) + seed) | 0) >>> 8) / 16777216

/** Uniform in [-1, 1). */
export function floats(n: number, seed: number): Float32Array {
  const out = new Float32Array(n)
  for (let i = 0; i < n; i++) out[i] = unit(i, seed) * 2 - 1
  return out
}
/** Integers in [-127, 127]. */
export function signedBytes(n: number, seed: number): Int8Array {
  const out = new Int8Array(n)
  for (let i = 0; i < n; i++) out[i] = Math.floor(unit(i, seed) * 255) - 127
  return out
}
export function bytes(n: number, seed: number): Uint8Array {
  const out = new Uint8Array(n)
  for (let i = 0; i < n; i++) out[i] = Math.floor(unit(i, seed) * 256)
  return out
}
/** Zero with probability `sparsity`. */
export function sparseFloats(n: number, seed: number, sparsity: number): Float32Array {
  const out = floats(n, seed)
  const limit = Math.fround(sparsity)
  for (let i = 0; i < n; i++) if (unit(i, seed + 1) < limit) out[i] = 0
  return out
}
/** Sum of three uniforms: few ties, a bell like that of weights. */
export function bellFloats(n: number, seed: number): Float32Array {
  const out = new Float32Array(n)
  for (let i = 0; i < n; i++) out[i] = unit(i, seed) + unit(i, seed + 1) + unit(i, seed + 2) - 1.5
  return out
}
/** [rows, cols] -> [cols, rows]. */
export function transposed<T extends Float32Array | Int8Array>(x: T, rows: number, cols: number): T {
  const out = new (x.constructor as new (n: number) => T)(x.length)
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = x[i * cols + j]!
  return out
}
export function sumAbs(x: ArrayLike<number>): number {
  let s = 0
  for (let i = 0; i < x.length; i++) s += Math.abs(x[i]!)
  return s
}
