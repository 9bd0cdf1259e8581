/** bench/results/papers/NAME.json and NAME-K.svg of each reproduction, and docs/papers.md made of all of them. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { machine, type Machine } from '../../../ts/bench/index.js'
import { root } from '../../lib/contenders.js'
import { papers } from '../papers.js'
import { figureText, verdict, type Claim, type Paper, type Row } from './paper.js'
import { curvesPlot } from './plot.js'

export interface PaperResult {
  readonly name: string
  readonly date: string
  readonly machine: Machine
  readonly seeds: readonly number[]
  readonly seconds: number
  readonly rows: readonly Row[]
  readonly claims: readonly Claim[]
}

const folder = path.join(root, 'bench', 'results', 'papers')
const page = path.join(root, 'docs', 'papers.md')

export function resultOf(
  paper: Paper,
  seeds: readonly number[],
  seconds: number,
  rows: readonly Row[],
  claims: readonly Claim[],
): PaperResult {
  return {
    name: paper.name,
    date: new Date().toISOString().slice(0, 10),
    machine: machine(),
    seeds,
    seconds: Math.round(seconds),
    rows,
    claims,
  }
}

export async function saveResult(result: PaperResult): Promise<void> {
  mkdirSync(folder, { recursive: true })
  writeFileSync(path.join(folder, `${result.name}.json`), `${JSON.stringify(result, null, 1)}\n`)
  for (const [k, rows] of chartsOf(result.rows).entries()) {
    const svg = await curvesPlot(`${result.name}: ${rows[0]!.table}`, rows)
    if (svg) writeFileSync(path.join(folder, `${result.name}-${k + 1}.svg`), `${svg}\n`)
  }
  writeFileSync(page, pageText())
}

/** Rows of one table and one metric, in order. */
export function chartsOf(rows: readonly Row[]): Row[][] {
  const keys = [...new Set(rows.map((r) => JSON.stringify([r.table, r.metric])))]
  return keys.map((key) => rows.filter((r) => JSON.stringify([r.table, r.metric]) === key))
}

const load = (name: string): PaperResult | undefined => {
  const file = path.join(folder, `${name}.json`)
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as PaperResult) : undefined
}

function pageText(): string {
  const lines = [
    '# What the papers say, and what we measure',
    '',
    'Made by `npm run papers -- --save`; every figure is the mean and the standard deviation over the seeds. Nets and data are smaller than in the papers, so their absolute',
    'numbers stand beside ours only for comparison; what has to agree are the claims. They are decided by the means; "in the mean only" says that the difference is not above',
    'its deviation over the seeds, and where none is given the deviations stand in the tables. `npm run papers -- NAME` repeats one of them.',
    '',
  ]
  for (const paper of papers) {
    const result = load(paper.name)
    if (!result) continue
    lines.push(`## ${paper.title}`, '', `\`npm run papers -- ${paper.name}\`. ${paper.source}. ${paper.setup}`, '')
    lines.push(`${result.date}, ${result.machine.cpu}, ${result.seconds} s, seeds ${result.seeds.join(', ')}.`, '')
    for (const claim of result.claims) lines.push(`- **${verdict(claim)}**: ${claim.text} (${claim.detail})`)
    for (const [k, rows] of chartsOf(result.rows).entries()) lines.push('', ...table(rows), ...drawing(paper.name, k))
    lines.push('')
  }
  return `${lines.join('\n').trimEnd()}\n`
}

function table(rows: readonly Row[]): string[] {
  const first = rows[0]!
  const told = rows.filter((r) => !r.drawn)
  if (told.length === 0) return [`**${first.table}**`]
  const [places, ways, counts, papersOwn] = [
    told.some((r) => r.at),
    told.some((r) => r.how !== undefined),
    told.some((r) => r.n !== undefined),
    told.some((r) => r.paper !== undefined),
  ]
  const head = [
    'method',
    ways ? 'how' : '',
    places ? told.find((r) => r.at)!.at!.name : '',
    first.metric,
    counts ? 'n' : '',
    papersOwn ? 'paper' : '',
  ].filter((h) => h !== '')
  return [
    `**${first.table}**`,
    '',
    `| ${head.join(' | ')} |`,
    `|${head.map(() => '---|').join('')}`,
    ...told.map((r) => {
      const cells = [r.method, ...(ways ? [r.how ?? ''] : []), ...(places ? [String(r.at?.value ?? '')] : []), figureText(r)]
      if (counts) cells.push(r.n === undefined ? '' : `${r.n}${r.values.length > 1 ? ` x ${r.values.length}` : ''}`)
      if (papersOwn) cells.push(r.paper === undefined ? '' : String(r.paper))
      return `| ${cells.join(' | ')} |`
    }),
  ]
}

function drawing(name: string, k: number): string[] {
  const file = `${name}-${k + 1}.svg`
  return existsSync(path.join(folder, file)) ? ['', `![${name}](../bench/results/papers/${file})`] : []
}
