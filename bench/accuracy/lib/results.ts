/** bench/results/accuracy.json and the table in docs/performance/accuracy.md: what was not run keeps its rows, unless its task now counts other examples. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { root } from '../../lib/contenders.js'
import type { Measured } from './figures.js'

const file = path.join(root, 'bench', 'results', 'accuracy.json')
const page = path.join(root, 'docs', 'performance', 'accuracy.md')
const [begin, end] = ['<!-- accuracy: begin -->', '<!-- accuracy: end -->']

interface Results {
  readonly date: string
  readonly rows: readonly Measured[]
}

export function saveResults(rows: readonly Measured[]): void {
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Results).rows : []
  const fp32 = new Map(rows.filter((r) => r.model === 'fp32').map((r) => [r.task, r]))
  /** Counted on the examples of this run: that is what fp32 says. */
  const stays = (r: Measured): boolean => {
    const [now, then] = [fp32.get(r.task), before.find((b) => b.task === r.task && b.model === 'fp32')]
    return !now || (now.n === then?.n && now.correct === then.correct)
  }
  const again = (r: Measured): Measured | undefined => rows.find((m) => m.task === r.task && m.model === r.model && m.runtime === r.runtime)
  const kept = before.filter(stays)
  const all = [...kept.map((r) => again(r) ?? r), ...rows.filter((m) => !kept.some((r) => again(r) === m))]
  const results: Results = { date: new Date().toISOString().slice(0, 10), rows: all }
  writeFileSync(file, `${JSON.stringify(results, null, 1)}\n`)
  if (!existsSync(page)) return
  const text = readFileSync(page, 'utf8')
  writeFileSync(page, `${text.slice(0, text.indexOf(begin) + begin.length)}\n\n${tables(all)}\n${text.slice(text.indexOf(end))}`)
}

const percent = (x: number): string => (100 * x).toFixed(1)

function tables(rows: readonly Measured[]): string {
  const lines: string[] = []
  for (const task of new Set(rows.map((r) => r.task))) {
    const mine = rows.filter((r) => r.task === task)
    const names = [...new Set(mine.flatMap((r) => Object.keys(r.others ?? {})))]
    lines.push(`**${task}**, ${mine[0]!.metric}, n = ${mine[0]!.n}`, '')
    lines.push(
      `| model | run by | file, bytes | ${mine[0]!.metric} % (95 %) | points lost (95 %) |${names.map((n) => ` ${n} |`).join('')} bar |`,
    )
    lines.push(`|---|---|---|---|---|${names.map(() => '---|').join('')}---|`)
    for (const { model, runtime, bytes, share, interval, lost, others = {}, bar } of mine)
      lines.push(
        `| ${model} | ${runtime} | ${bytes?.toLocaleString('en-US') ?? ''} | ${percent(share)} (${interval.map(percent).join(' to ')}) | ${
          lost ? `${lost.points.toFixed(2)} (${lost.interval.map((x) => x.toFixed(2)).join(' to ')})` : ''
        } |${names.map((n) => ` ${others[n] ?? ''} |`).join('')} ${bar ? `${bar.text}: ${bar.met ? 'met' : 'missed'}` : ''} |`,
      )
    lines.push('')
  }
  return lines.join('\n')
}
