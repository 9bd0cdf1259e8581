/** Judges the bars of ../bars.ts by the committed results: each is reached, not reached, not measured, or not measurable on this machine. */
import { digits, formatTime } from '../../ts/bench/index.js'
import type { Bar } from '../bars.js'
import type { Figure, Measured, ResultFile } from './results.js'

export type Verdict = 'reached' | 'not reached' | 'not measured' | 'not measurable here'

export interface Judged {
  readonly bar: Bar
  readonly verdict: Verdict
  /** What was measured: the worst case and, of several, the best. */
  readonly figures: string
}

interface Value {
  readonly of: Measured
  readonly value: number
}

export function judge(bar: Bar, files: readonly ResultFile[]): Judged {
  if (bar.needs && !files.some((f) => f.isa === bar.needs))
    return { bar, verdict: 'not measurable here', figures: `this machine has no ${bar.needs}` }
  const strongest = [...files].filter((f) => f.family === bar.family).sort((a, b) => order(b.isa) - order(a.isa))[0]?.isa
  const isas = bar.isas ?? [strongest ?? '']
  const cases = files
    .filter((f) => f.family === bar.family && isas.includes(f.isa))
    .flatMap((f) => f.cases)
    .filter((m) => bar.cases.test(m.case) && (bar.threads?.includes(m.threads) ?? true))
  const values: Value[] = []
  for (const of of cases) {
    const value = valueOf(bar, of, files)
    if (value !== undefined && Number.isFinite(value)) values.push({ of, value })
  }
  if (!values.length) return { bar, verdict: 'not measured', figures: '' }
  const isTime = bar.metric.kind === 'time'
  values.sort((a, b) => (isTime ? b.value - a.value : a.value - b.value))
  const worst = values[0]!
  const best = values.at(-1)!
  const reached = isTime ? worst.value <= bar.bar : worst.value >= bar.bar
  const passed = values.filter((v) => (isTime ? v.value <= bar.bar : v.value >= bar.bar)).length
  const show = ({ of, value }: Value): string => `${text(bar, value)} (${of.case}, ${of.isa}, ${of.threads}T)`
  const range = values.length > 1 ? `worst ${show(worst)}; best ${show(best)}; ${passed} of ${values.length} cases` : show(worst)
  return { bar, verdict: reached ? 'reached' : 'not reached', figures: range }
}

const LEVELS = ['scalar', 'avx2', 'avxvnni', 'avx512', 'avx512vnni', 'avx512bf16', 'amx']
const order = (isa: string): number => LEVELS.indexOf(isa)

function text(bar: Bar, value: number): string {
  if (bar.metric.kind === 'time') return formatTime(value)
  return bar.metric.kind === 'limit' ? `${digits(value * 100)} %` : `${digits(value)}x`
}

function valueOf({ metric }: Bar, m: Measured, files: readonly ResultFile[]): number | undefined {
  const find = (name: string): Figure | undefined => m.figures.find((f) => f.contender === name)
  const subject = metric.subject === undefined ? m.figures[0] : find(metric.subject)
  if (!subject?.median || !subject.contender.startsWith('Tersor')) return undefined
  const isFirst = subject === m.figures[0]
  switch (metric.kind) {
    case 'limit':
      // The fraction was taken round by round for the first contender; another one's follows from the medians.
      return m.limit?.fraction && m.figures[0]?.median ? (m.limit.fraction * m.figures[0].median) / subject.median : undefined
    case 'time':
      return subject.median
    case 'ratio': {
      const named = m.figures.filter((f) => metric.over.includes(f.contender) && f.median !== null)
      // A rival that saturates computes another product: it counts only where there is no other.
      const same = named.filter((f) => !f.differs)
      const rivals = same.length ? same : named
      if (!rivals.length) return undefined
      return Math.min(...rivals.map((f) => (isFirst && f.ratio !== null ? f.ratio : f.median! / subject.median!)))
    }
    case 'memory': {
      const named = m.figures.filter((f) => metric.over.includes(f.contender) && f.peak)
      return subject.peak && named.length ? Math.min(...named.map((f) => f.peak!)) / subject.peak : undefined
    }
    case 'threads': {
      const other = files
        .flatMap((f) => f.cases)
        .find((o) => o.family === m.family && o.case === m.case && o.isa === m.isa && o.threads === 1)
      const single = other?.figures.find((f) => f.contender === subject.contender)
      return single?.median ? single.median / subject.median : undefined
    }
    case 'against': {
      const other = files.flatMap((f) => f.cases).find((o) => o.case === metric.case && o.isa === m.isa && o.threads === m.threads)
      const figure = other?.figures.find((f) => f.contender === metric.contender)
      return figure?.median ? figure.median / subject.median : undefined
    }
  }
}
