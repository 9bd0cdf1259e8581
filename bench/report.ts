/** npm run bench:report [FILE]: Markdown tables of bench/results/ and of the bars, to stdout or into a file. */
import { writeFileSync } from 'node:fs'
import { digits, formatTime, markdown } from '../ts/bench/index.js'
import { bars } from './bars.js'
import { families } from './cases/index.js'
import { rate } from './lib/output.js'
import { readResults, type Measured, type ResultFile } from './lib/results.js'
import { judge } from './lib/verdict.js'

/** The bars, section by section. */
export function barTables(files: readonly ResultFile[]): string {
  const judged = bars.map((bar) => judge(bar, files))
  const sections = [...new Set(bars.map((b) => b.section))]
  const count = (verdict: string): number => judged.filter((j) => j.verdict === verdict).length
  const total = `${count('reached')} reached, ${count('not reached')} not reached, ${count('not measured')} not measured, ${count('not measurable here')} not measurable here`
  const tables = sections.map((section) => {
    const rows = judged.filter((j) => j.bar.section === section).map((j) => [j.bar.text, j.verdict, j.figures])
    return `#### ${section}\n\n${markdown([['bar', 'verdict', 'figures'], ...rows]).replaceAll('---:', '---')}`
  })
  return `${total}.\n\n${tables.join('\n\n')}`
}

/** One table per family and cap: a row a case, a column a contender. */
export function familyTable(file: ResultFile): string {
  const title = families.find((f) => f.name === file.family)?.title ?? file.family
  const names = [...new Set(file.cases.flatMap((m) => m.figures.map((f) => f.contender)))]
  const cell = (m: Measured, name: string): string => {
    const f = m.figures.find((one) => one.contender === name)
    if (!f) return ''
    const times = f === m.figures[0] || f.ratio === null ? '' : ` (${digits(f.ratio)}x)`
    const speed = rate(m, f.median)
    return (speed === '-' ? formatTime(f.median) : speed.split(' ')[0]!) + times + (f.peak ? `, ${digits(f.peak / 1e6)} MB` : '')
  }
  const unit = file.cases.some((m) => rate(m, 1) !== '-') ? (families.find((f) => f.name === file.family)?.unit ?? '') : 'time'
  const header = [`${title}, ${unit}`, 'threads', ...names, 'of the limit']
  const rows = file.cases.map((m) => [
    m.case,
    String(m.threads),
    ...names.map((name) => cell(m, name)),
    m.limit ? `${digits(m.limit.fraction! * 100)} % of ${m.limit.name.replace(/^limit: (\w+).*/, '$1')}` : '',
  ])
  const absent = [...new Set(file.cases.flatMap((m) => m.absent.map((a) => `${a.contender}: ${a.why}`)))]
  const notes = absent.length ? `\n\nNot measured: ${absent.join('; ')}.` : ''
  return `#### ${title}, at most ${file.isa}\n\n${markdown([header, ...rows])}${notes}`
}

function page(files: readonly ResultFile[]): string {
  const [first] = files
  if (!first) return 'No results: npm run bench:all\n'
  const { cpu, cores, os, node } = first.machine
  const versions = Object.assign({}, ...files.map((f) => f.versions)) as Record<string, string>
  const rounds = files.map((f) => f.rounds)
  const [least, most] = [Math.min(...rounds), Math.max(...rounds)]
  const dates = [...new Set(files.map((f) => f.date.slice(0, 10)))].join(', ')
  const head = `Measured ${dates} on ${cpu}, ${cores} cores, ${os}, Node ${node}; ${least === most ? least : `${least} to ${most}`} rounds. ${Object.entries(
    versions,
  )
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}. Numbers in parentheses: how many times as long as the first column, taken round by round.`
  return `# Results\n\n${head}\n\n### Bars\n\n${barTables(files)}\n\n### Figures\n\n${files.map(familyTable).join('\n\n')}\n`
}

if (process.argv[1] === import.meta.filename) {
  const text = page(readResults())
  if (process.argv[2] === undefined) process.stdout.write(text)
  else writeFileSync(process.argv[2], text)
}
