/** Numbers as people read them: golden texts. */
import { describe, expect, it } from 'vitest'
import { formatBytes, formatCount, formatDuration, formatMs, formatNumber, formatPercent, formatRatio } from '../../ts/report/index.js'

const cases: readonly (readonly [string, (v: number) => string, readonly (readonly [number, string])[]])[] = [
  [
    'formatBytes',
    formatBytes,
    [
      [0, '0 B'],
      [1023, '1023 B'],
      [1024, '1.00 KiB'],
      [1536, '1.50 KiB'],
      [10_240, '10.0 KiB'],
      [34_700, '33.9 KiB'],
      [663_640, '648 KiB'],
      [27_990_592, '26.7 MiB'],
      [3 * 2 ** 30, '3.00 GiB'],
      [2 ** 52, '4096 TiB'],
    ],
  ],
  [
    'formatRatio',
    formatRatio,
    [
      [1, '1.00x'],
      [3.9036, '3.90x'],
      [9.996, '10.00x'],
      [19.12, '19.1x'],
      [0.5, '0.50x'],
    ],
  ],
  [
    'formatPercent',
    (v) => formatPercent(v),
    [
      [0, '0.0 %'],
      [0.00042, '0.04 %'],
      [0.0168, '1.7 %'],
      [0.9473, '94.7 %'],
      [1, '100.0 %'],
    ],
  ],
  [
    'formatMs',
    formatMs,
    [
      [0.0581, '58.1 us'],
      [0.1, '0.10 ms'],
      [7.9, '7.90 ms'],
      [24.04, '24.0 ms'],
      [104.4, '104 ms'],
    ],
  ],
  [
    'formatCount',
    formatCount,
    [
      [0, '0'],
      [999, '999'],
      [1000, '1,000'],
      [60_000, '60,000'],
      [6_975_877, '6,975,877'],
    ],
  ],
  [
    'formatDuration',
    formatDuration,
    [
      [0.04, '0.0 s'],
      [9.94, '9.9 s'],
      [9.96, '10 s'],
      [59.4, '59 s'],
      [59.6, '1 min 0 s'],
      [119.7, '2 min 0 s'],
      [95.2, '1 min 35 s'],
      [3600, '60 min 0 s'],
    ],
  ],
  [
    'formatNumber',
    formatNumber,
    [
      [0, '0'],
      [0.1784, '0.178'],
      [0.26, '0.26'],
      [0.00012345, '1.23e-4'],
      [-2.5, '-2.5'],
      [99_999, '100000'],
      [123_456, '1.23e+5'],
      [Infinity, 'Infinity'],
      [NaN, 'NaN'],
    ],
  ],
]

describe.each(cases)('%s', (_, format, golden) => {
  it.each(golden)('%d is "%s"', (value, text) => expect(format(value)).toBe(text))
})

it('formatPercent with the digits asked for', () => {
  expect(formatPercent(0.94666, 2)).toBe('94.67 %')
  expect(formatPercent(0.004, 0)).toBe('0 %')
})
