/** The tables of a report as rows of text: one definition for the terminal, Markdown and HTML. */
import { formatBytes, formatCount, formatMs, formatNumber, formatPercent, formatRatio } from './format.js'
import type { LayerRow, SensitivityRow, Variant } from './types.js'

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
      [...(r.shapeBefore ? [r.shapeBefore] : []), r.shape].map((shape) => shape.join(' x ')).join(' -> '),
      r.before.kind,
      r.after.kind,
      formatBytes(r.before.bytes),
      formatBytes(r.after.bytes),
      formatRatio(r.before.bytes / Math.max(1, r.after.bytes)),
      formatPercent(r.after.density),
      r.shapeBefore ? '' : formatNumber(r.error),
    ]),
  }
}

/** Bars are on a logarithmic scale. `bars`: for a terminal. */
export function sensitivityTable(rows: readonly SensitivityRow[], bars = false): Table {
  const logs = rows.map((r) => (r.sensitivity > 0 ? Math.log(r.sensitivity) : NaN))
  const known = logs.filter((v) => !Number.isNaN(v))
  const [lo, hi] = [Math.min(...known), Math.max(...known)]
  const bar = (v: number): string => (Number.isNaN(v) ? '' : '\u2588'.repeat(1 + Math.round(23 * (hi > lo ? (v - lo) / (hi - lo) : 1))))
  const [bits, cost] = [rows.some((r) => r.bits !== undefined), rows.some((r) => r.cost !== undefined)]
  return {
    head: [
      'layer',
      'parameters',
      'sensitivity',
      ...(bars ? [''] : []),
      ...(bits ? ['bits', 'bytes'] : []),
      ...(cost ? ['loss rises by'] : []),
    ],
    numeric: [false, true, true, ...(bars ? [false] : []), ...(bits ? [true, true] : []), ...(cost ? [true] : [])],
    rows: rows.map((r, i) => [
      r.name,
      formatCount(r.parameters),
      formatNumber(r.sensitivity),
      ...(bars ? [bar(logs[i]!)] : []),
      ...(bits ? [r.bits === 32 ? 'as it is' : String(r.bits ?? ''), r.bytes === undefined ? '' : formatBytes(r.bytes)] : []),
      ...(cost ? [r.cost === undefined ? '' : formatNumber(r.cost)] : []),
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
