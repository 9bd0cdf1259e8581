/** Ranges, codes and histograms of f32 matrices: work of a few operations per value, limited by memory. */
import { parts, reads, type Case, type Family, type Limit } from './case.js'

function one(name: string, kernel: string, rows: number, cols: number, written: number): Case {
  const n = rows * cols
  const bytes = n * (4 + written)
  const limit: Limit = written ? { kernel: 'limit.copy', amount: bytes, params: { span: 4 * n } } : reads(bytes)
  return {
    name: `${name} ${rows}x${cols}`,
    params: { rows, cols, n },
    operations: 0,
    bytes,
    limits: [limit],
    parts: parts(kernel, 'tersor', 'torch', 'numpy'),
  }
}

const sizes: readonly (readonly [number, number])[] = [
  [768, 768],
  [4096, 4096],
]

export const quant: Family = {
  name: 'quant',
  title: 'ranges, codes, histograms',
  unit: 'GB/s',
  cases: sizes.flatMap(([rows, cols]) => [
    one('range of rows', 'quant.range', rows, cols, 0),
    one('quantize rows', 'quant.quantize', rows, cols, 1),
    one('dequantize rows', 'quant.dequantize', rows, cols, 1),
    one('histogram', 'quant.histogram', rows, cols, 0),
  ]),
}
