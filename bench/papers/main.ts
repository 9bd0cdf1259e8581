/**
 * npm run papers [-- NAME...]: repeats what papers claim, on real data, with nets that two cores train in minutes. Prints ours beside the paper's and whether each claim
 * holds; --save keeps the figures in bench/results/papers and writes docs/papers.md.
 */
import Table from 'cli-table3'
import { Command } from 'commander'
import pc from 'picocolors'
import { figureText, verdict, type Claim, type Paper, type Row } from './lib/paper.js'
import { chartsOf, resultOf, saveResult } from './lib/results.js'
import { papers } from './papers.js'

interface Options {
  readonly seeds?: readonly number[]
  readonly quick?: boolean
  readonly save?: boolean
  readonly json?: boolean
  readonly list?: boolean
}

const program = new Command('papers')
  .description('repeats what papers claim, on real data, with nets that two cores train in minutes')
  .argument('[names...]', `which: ${papers.map((p) => p.name).join(', ')} (default: all)`)
  .option('--seeds <list>', 'seeds, separated by commas (default: 1,2,3)', (text) => text.split(',').map(Number))
  .option('--quick', 'one seed, everything smaller: shows that it works, proves nothing')
  .option('--save', 'writes bench/results/papers and docs/papers.md')
  .option('--json', 'prints rows and claims as JSON')
  .option('--list', 'says what there is')
  .addHelpText(
    'after',
    '\nExamples:\n  npm run papers -- renda\n  npm run papers -- renda --seeds 1,2,3,4,5 --save\n  npm run papers -- --list\n',
  )
  .parse()
const options = program.opts<Options>()
if (options.save && options.quick) program.error('--quick proves nothing: --save would keep its figures')
if (options.seeds?.some((s) => !Number.isSafeInteger(s) || s < 0)) program.error('--seeds: must be integers, separated by commas')
const names = program.args.length > 0 ? program.args : papers.map((p) => p.name)
const chosen = names.map(
  (name) => papers.find((p) => p.name === name) ?? program.error(`${name}: must be one of ${papers.map((p) => p.name).join(', ')}`),
)

const stop = new AbortController()
process.once('SIGINT', () => stop.abort())

if (options.list) for (const { name, title, source } of papers) console.log(`${name.padEnd(16)}${title} (${source})`)
else await all(chosen)

async function all(list: readonly Paper[]): Promise<void> {
  try {
    for (const paper of list) await one(paper)
  } catch (error) {
    if (!stop.signal.aborted) throw error
    process.stderr.write('stopped; nothing was saved\n')
    process.exitCode = 130
  }
}

async function one(paper: Paper): Promise<void> {
  const rows: Row[] = []
  const claims: Claim[] = []
  const began = performance.now()
  const seeds = options.seeds ?? (options.quick ? [1] : (paper.seeds ?? [1, 2, 3]))
  const seconds = (): number => (performance.now() - began) / 1000
  await paper.run({
    seeds,
    quick: options.quick ?? false,
    signal: stop.signal,
    row: (row) => rows.push(row),
    claim: (claim) => claims.push(claim),
    say: (text) => process.stderr.write(`${pc.dim(`${paper.name} ${seconds().toFixed(0).padStart(4)} s  ${text}`)}\n`),
  })
  const result = resultOf(paper, seeds, seconds(), rows, claims)
  if (options.json) console.log(JSON.stringify(result, null, 1))
  else show(paper, rows, claims)
  if (options.save) await saveResult(result)
}

function show(paper: Paper, rows: readonly Row[], claims: readonly Claim[]): void {
  console.log(`\n${pc.bold(paper.title)}\n${paper.source}\n${paper.setup}\n`)
  for (const group of chartsOf(rows)) {
    const table = new Table({
      head: ['method', group.find((r) => r.at)?.at!.name ?? '', group[0]!.metric, 'seeds', 'paper'],
      style: { head: [] },
    })
    for (const r of group.filter(({ drawn }) => !drawn))
      table.push([
        r.how === undefined ? r.method : `${r.method}, ${r.how}`,
        r.at?.value ?? '',
        figureText(r),
        r.values.length,
        r.paper ?? '',
      ])
    console.log(`${group[0]!.table}\n${table.toString()}\n`)
  }
  for (const claim of claims) {
    const color = claim.within ? pc.yellow : claim.holds ? pc.green : pc.red
    console.log(`${color(verdict(claim).padEnd(14))} ${claim.text} (${claim.detail})`)
  }
}
