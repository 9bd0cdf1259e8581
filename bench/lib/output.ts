/** What the bench shows: a block per case, and the progress line. */
import { digits, formatTime, table, type Progress } from '../../ts/bench/index.js'
import { families } from '../cases/index.js'
import type { Figure, Measured } from './results.js'

/** Rate in the family's unit, or '-' where the case counts neither operations nor bytes. */
export function rate(m: Measured, ns: number | null): string {
  const unit = families.find((f) => f.name === m.family)?.unit ?? 'GOP/s'
  const amount = unit === 'GB/s' ? m.bytes : m.operations
  return amount && ns ? `${digits(amount / ns)} ${unit}` : '-'
}

const MB = (f: Figure): string => (f.peak ? `${digits(f.peak / 1e6)} MB${f.tensors ? `, tensors ${digits(f.tensors / 1e6)} MB` : ''}` : '')
const spread = (f: Figure): string => `±${digits(((f.q3! - f.q1!) / 2 / f.median!) * 100)} %`

/** Median, spread, rate and ratio of every contender; the fraction of the limit; who is absent and why. */
export function showMeasured(m: Measured): string {
  const peaks = m.figures.some((f) => f.peak)
  const rows = [['', 'median', 'spread', 'rate', 'Tersor is faster by', ...(peaks ? ['memory'] : [])]]
  for (const [i, f] of m.figures.entries()) {
    const times = i && f.ratio !== null ? `${digits(f.ratio)}x (${digits(f.ratioQ1)}-${digits(f.ratioQ3)})` : ''
    rows.push([
      `  ${f.contender}${f.differs ? ' (other result)' : ''}`,
      formatTime(f.median),
      spread(f),
      rate(m, f.median),
      times,
      ...(peaks ? [MB(f)] : []),
    ])
  }
  const { limit } = m
  const bound = limit ? `  ${digits(limit.fraction! * 100)} % of the ${limit.name} (${digits(limit.perSecond! / 1e9)} G/s)\n` : ''
  const absent = m.absent.map(({ contender, why }) => `  ${contender}: ${why}\n`).join('')
  return `${m.family}: ${m.case} · ${m.isa} · ${m.threads} thread${m.threads > 1 ? 's' : ''}\n${table(rows)}\n${bound}${absent}`
}

const clock = (ms: number): string => {
  if (!Number.isFinite(ms)) return '--:--'
  const seconds = Math.round(ms / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

/** Rewrites one line on a terminal; elsewhere it is silent but for a line per tenth of the work. */
export function progressLine(stream: NodeJS.WriteStream = process.stderr): { show(p: Progress): void; clear(): void } {
  let tenth = -1
  return {
    show(p) {
      const done = (p.index + p.round / p.rounds) / p.total
      const text = `${(done * 100).toFixed(0).padStart(3)} %  ${clock(p.elapsedMs)} elapsed, ${clock(p.remainingMs)} to go  ${p.case}`
      if (stream.isTTY) stream.write(`\r${text.slice(0, (stream.columns || 100) - 1)}\x1b[K`)
      else if (Math.floor(done * 10) > tenth) {
        tenth = Math.floor(done * 10)
        stream.write(`${text}\n`)
      }
    },
    clear() {
      if (stream.isTTY) stream.write('\r\x1b[K')
    },
  }
}
