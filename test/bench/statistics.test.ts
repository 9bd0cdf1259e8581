import { describe, expect, it } from 'vitest'
import { digits, formatTime, markdown, quantile, ratio, summarize, table } from '../../ts/bench/index.js'

describe('statistics of the bench', () => {
  it('takes quantiles linearly between neighbours', () => {
    expect(quantile([1, 2, 3, 4], 0.5)).toBe(2.5)
    expect(quantile([1, 2, 3, 4, 5], 0.25)).toBe(2)
    expect(quantile([7], 0.9)).toBe(7)
    expect(quantile([], 0.5)).toBeNaN()
  })

  it('summarizes what was measured and leaves gaps out', () => {
    expect(summarize([5, NaN, 1, 3])).toEqual({ median: 3, q1: 2, q3: 4, min: 1, count: 3 })
    expect(summarize([NaN]).count).toBe(0)
  })

  it('takes ratios round by round: a slow round slows both', () => {
    const a = [10, 10, 100, 10]
    const b = [20, 20, 200, 20]
    expect(ratio(a, b)).toEqual({ median: 2, q1: 2, q3: 2, min: 2, count: 4 })
  })

  it('leaves rounds out that lack one of the two, and falls back to medians when few are left', () => {
    expect(ratio([1, 2, 4, 8], [2, NaN, 8, 16]).count).toBe(3)
    expect(ratio([1, 1, 1, 1], [NaN, NaN, 3, NaN])).toMatchObject({ median: 3, count: 1 })
  })

  it('writes times and numbers with three digits', () => {
    expect([1.234, 12345, 6.7e6, 2.5e9, NaN].map(formatTime)).toEqual(['1.23 ns', '12.3 us', '6.70 ms', '2.50 s', '-'])
    expect([1234, 12.34, 0.1234].map(digits)).toEqual(['1234', '12.3', '0.12'])
  })

  it('aligns tables and escapes Markdown', () => {
    expect(
      table([
        ['a', 'b'],
        ['long', '1'],
      ]),
    ).toBe('a     b\nlong  1')
    expect(
      markdown([
        ['a', 'b'],
        ['x|y', '1'],
      ]),
    ).toBe('| a | b |\n|---|---:|\n| x\\|y | 1 |')
  })
})
