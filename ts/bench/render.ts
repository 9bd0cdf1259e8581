/** Results as text: times with units, tables for a terminal and for Markdown. JSON is the result itself. */
import type { BenchCase, Entry, SuiteResult } from './suite.js'

/** 12345 -> '12.3 us'; '-' for what is no number. */
export function formatTime(ns: number | null): string {
  if (ns === null || !Number.isFinite(ns)) return '-'
  const [unit, size] = ns < 1e3 ? ['ns', 1] : ns < 1e6 ? ['us', 1e3] : ns < 1e9 ? ['ms', 1e6] : ['s', 1e9]
  return `${digits(ns / size)} ${unit}`
}

/** Three significant digits, never an exponent. */
export function digits(x: number | null): string {
  if (x === null || !Number.isFinite(x)) return '-'
  return Math.abs(x) >= 100 ? x.toFixed(0) : Math.abs(x) >= 10 ? x.toFixed(1) : x.toFixed(2)
}

/** Half the distance of the quartiles, as a share of the median. */
export function formatSpread({ ns }: Entry): string {
  return Number.isFinite(ns.median) ? `±${(((ns.q3 - ns.q1) / 2 / ns.median) * 100).toFixed(0)} %` : '-'
}

/** Rows of cells as aligned text; the first row is the header, the first column is left-aligned. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => (i ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd()
  return rows.map(line).join('\n')
}

/** Rows of cells as a Markdown table. */
export function markdown(rows: readonly (readonly string[])[]): string {
  const [header = [], ...body] = rows
  const line = (row: readonly string[]): string => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(header), `|${header.map((_, i) => (i ? '---:' : '---')).join('|')}|`, ...body.map(line)].join('\n')
}

/** One row a contender: median, spread, ratio to the case's first contender. */
export function resultRows(result: SuiteResult<BenchCase>): string[][] {
  const rows = [['case', 'contender', 'median', 'spread', 'ratio']]
  for (const { case: c, entries } of result.cases)
    for (const entry of entries)
      rows.push(
        entry.absent === undefined
          ? [c.name, entry.contender, formatTime(entry.ns.median), formatSpread(entry), digits(entry.ratio.median)]
          : [c.name, entry.contender, 'absent', '', entry.absent],
      )
  return rows
}

export const resultTable = (result: SuiteResult<BenchCase>): string => table(resultRows(result))
export const resultMarkdown = (result: SuiteResult<BenchCase>): string => markdown(resultRows(result))
