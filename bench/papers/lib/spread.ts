/** Standard deviation of a sample (n - 1); 0 for one value. */
export function sampleDeviation(values: readonly number[]): number {
  if (values.length < 2) return 0
  const m = values.reduce((sum, v) => sum + v, 0) / values.length
  return Math.sqrt(values.reduce((sum, v) => sum + (v - m) ** 2, 0) / (values.length - 1))
}
