/** The tables of a report as rows of text: one definition for the terminal, Markdown and HTML. */
import { formatBytes, formatCount, formatMs, formatNumber, formatPercent, formatRatio } from './format.js'
import type { LayerRow, Variant } from './types.js'

export interface Table {
  readonly head: readonly string[]
  /** Columns of numbers are aligned to the right. */
  readonly numeric: readonly boolean[]
  readonly rows: readonly (readonly string[])[]
}

export function variantTable(variants: readonly Variant[]): Table {
  const metric = variants[0]?.metric ?? 'accuracy'
  const agreement = variants.some((v) => v.agreement !== undefined)
  const density = variants.some((v) => v.density !== undefined && v.density < 1)
  return {
    head: [
      'model',
      'file',
      'ratio',
      metric,
      '95 % interval',
      'n',
      ...(agreement ? ['agreement'] : []),
      ...(density ? ['nonzero'] : []),
      'ms/example',
      'p95',
    ],
    numeric: [false, true, true, true, true, true, ...(agreement ? [true] : []), ...(density ? [true] : []), true, true],
    rows: variants.map((v) => [
      v.name,
      formatBytes(v.bytes),
      formatRatio(v.ratio),
      formatPercent(v.value, 2),
      `${formatPercent(v.interval[0])} to ${formatPercent(v.interval[1])}`,
      formatCount(v.n),
      ...(agreement ? [v.agreement === undefined ? '' : formatPercent(v.agreement)] : []),
      ...(density ? [v.density === undefined ? '' : formatPercent(v.density)] : []),
      formatMs(v.msPerExample.p50),
      formatMs(v.msPerExample.p95),
    ]),
  }
}

export function layerTable(rows: readonly LayerRow[]): Table {
  return {
    head: ['weight', 'shape', 'was', 'is', 'before', 'after', 'ratio', 'nonzero', 'rel. error'],
    numeric: [false, false, false, false, true, true, true, true, true],
    rows: rows.map((r) => [
      r.path,
      r.shape.join(' x '),
      r.before.kind,
      r.after.kind,
      formatBytes(r.before.bytes),
      formatBytes(r.after.bytes),
      formatRatio(r.before.bytes / Math.max(1, r.after.bytes)),
      formatPercent(r.after.density),
      formatNumber(r.error),
    ]),
  }
}

// A cell must not end its cell or its row, nor be read as markup.
const markdownCell = (text: string): string =>
  text
    .replace(/[\\|`*_[\]]/g, '\\$&')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/[\r\n]+/g, ' ')

export function markdownTable(t: Table): string {
  const line = (cells: readonly string[]): string => `| ${cells.map(markdownCell).join(' | ')} |`
  return [line(t.head), line(t.numeric.map((n) => (n ? '---:' : '---'))), ...t.rows.map(line)].join('\n')
}
