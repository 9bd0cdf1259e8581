/** Rows of text for the terminal, Markdown and HTML. */
import { expect, it } from 'vitest'
import { layerTable, markdownTable, variantTable } from '../../ts/report/index.js'
import { layers, variant } from './samples.js'

it('one row per variant, every figure with its unit', () => {
  const t = variantTable([variant(0), variant(1)])
  expect(t.head).toEqual(['model', 'file', 'ratio', 'accuracy', '95 % interval', 'n', 'agreement', 'nonzero', 'ms/example', 'p95'])
  expect(t.rows).toEqual([
    ['model 0', '26.7 MiB', '1.00x', '94.83 %', '92.8 % to 96.3 %', '60,000', '100.0 %', '100.0 %', '7.90 ms', '12.3 ms'],
    ['model 1', '13.3 MiB', '2.00x', '93.83 %', '91.8 % to 95.3 %', '60,000', '98.0 %', '16.8 %', '3.95 ms', '12.3 ms'],
  ])
  expect(t.numeric).toEqual(t.head.map((_, i) => i > 0))
})

it('columns that nobody fills are left out; cells that one variant lacks are empty', () => {
  const bare = { agreement: undefined, density: undefined } as never
  expect(variantTable([variant(0, bare), variant(1, bare)]).head).toEqual([
    'model',
    'file',
    'ratio',
    'accuracy',
    '95 % interval',
    'n',
    'ms/example',
    'p95',
  ])
  expect(variantTable([variant(0, { density: 1 })]).head).not.toContain('nonzero')
  const mixed = variantTable([variant(0, bare), variant(1)])
  expect(mixed.rows[0]!.slice(6, 8)).toEqual(['', ''])
  expect(mixed.rows.every((row) => row.length === mixed.head.length && row.length === mixed.numeric.length)).toBe(true)
  expect(variantTable([]).rows).toEqual([])
})

it('the metric names its column', () => {
  expect(variantTable([variant(0, { metric: 'F1' })]).head[3]).toBe('F1')
})

it('layers: what they were, what they are, what it cost', () => {
  const t = layerTable(layers)
  expect(t.rows[0]).toEqual(['fc1.weight', '300 x 784', 'f32', 'int8 sparse 16.8 %', '919 KiB', '47.0 KiB', '19.6x', '16.8 %', '0.178'])
  expect(t.rows[1]!.at(-1)).toBe('0')
  const cut = layerTable([{ ...layers[0]!, error: 0, shapeBefore: [600, 784] }])
  expect([cut.rows[0]![1], cut.rows[0]!.at(-1)]).toEqual(['600 x 784 -> 300 x 784', ''])
  // Nothing left at all divides by nothing.
  const gone = layerTable([{ ...layers[0]!, after: { kind: 'x', bytes: 0, density: 0 } }])
  expect(gone.rows[0]![6]).toBe('940800.0x')
})

it('Markdown: aligned, and no cell can leave its place', () => {
  expect(markdownTable({ head: ['a', 'b'], numeric: [false, true], rows: [['x', '1']] })).toBe('| a | b |\n| --- | ---: |\n| x | 1 |')
  const hostile = markdownTable({ head: ['a'], numeric: [false], rows: [['x | y\n| z'], ['\\|'], ['<img src=x>'], ['`*_[']] })
  const lines = hostile.split('\n')
  expect(lines).toHaveLength(6)
  expect(lines.slice(2)).toEqual(['| x \\| y \\| z |', '| \\\\\\| |', '| &lt;img src=x> |', '| \\`\\*\\_\\[ |'])
})
