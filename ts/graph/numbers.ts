/** Functions of numbers that JavaScript does not have. */

/** To the nearest integer, halves to even. */
export function roundHalfEven(x: number): number {
  const r = Math.round(x)
  return r - x === 0.5 && r % 2 !== 0 ? r - 1 : r
}

/** erf to double precision: its series below 2.5, a continued fraction above (Abramowitz and Stegun 7.1.5, 7.1.14). */
export function erfOf(x: number): number {
  const a = Math.abs(x)
  if (!(a < 6)) return Number.isNaN(x) ? NaN : Math.sign(x)
  if (a < 2.5) {
    let [power, sum] = [a, a]
    for (let n = 1; n < 100 && Math.abs(power) > 1e-17 * sum; n++) {
      power *= (-a * a) / n
      sum += power / (2 * n + 1)
    }
    return (Math.sign(x) * 2 * sum) / Math.sqrt(Math.PI)
  }
  let f = 0
  for (let n = 60; n > 0; n--) f = n / 2 / (a + f)
  return Math.sign(x) * (1 - Math.exp(-a * a) / ((a + f) * Math.sqrt(Math.PI)))
}

/** The fewest bits (2 to `most`) that hold all of these signed codes. */
export function bitsOfCodes(codes: Int8Array, most: number): number {
  let bits = 2
  for (let i = 0; i < codes.length && bits < most; i++)
    while (bits < most && (codes[i]! >= 2 ** (bits - 1) || codes[i]! < -(2 ** (bits - 1)))) bits++
  return bits
}

/** [rows, cols] as [cols, rows]. */
export function transposeMatrix(values: Float32Array, rows: number, cols: number): Float32Array {
  const out = new Float32Array(values.length)
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) out[j * rows + i] = values[i * cols + j]!
  return out
}
