/** npm run bench: Tersor, its rivals and the limits of the machine, interleaved in one run. */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import { families } from './cases/index.js'
import { contenderKinds, root } from './lib/contenders.js'
import { isaLevels, strongestIsa } from './lib/machine.js'
import { progressLine, showMeasured } from './lib/output.js'
import { resultJson, writeResults } from './lib/results.js'
import { itemsOf, runBench, type Selection } from './lib/run.js'

const list = (text: string): string[] =>
  text
    .split(',')
    .map((s) => s.trim())
    .filter(Boolean)
const positive = (text: string): number => {
  const n = Number(text)
  if (!(Number.isInteger(n) && n > 0)) throw new InvalidArgumentError('must be a positive integer')
  return n
}

interface Options {
  readonly family?: string[]
  readonly threads: string[]
  readonly isa?: string[]
  readonly case?: string
  readonly rounds?: number
  readonly json?: string
  readonly quick?: boolean
  readonly all?: boolean
  readonly rare?: boolean
  readonly save?: boolean
  readonly list?: boolean
}

const program = new Command('npm run bench --')
  .description('Measures Tersor, its rivals and what the machine can do at most, interleaved in one run.')
  .option('--family <names>', `families, separated by commas: ${families.map((f) => f.name).join(', ')} (default: all)`, list)
  .option('--threads <counts>', 'numbers of threads', list, ['1', '2'])
  .option('--isa <caps>', `instruction sets that Tersor and the rivals may use (default: the strongest here)`, list)
  .option('--case <regex>', 'only cases whose "family: name" matches; also rare ones')
  .option('--rounds <n>', 'samples of each contender (default 15, with --quick 5)', positive)
  .option('--json <file>', 'writes the results of this run to a file')
  .option('--save', 'writes bench/results/<family>-<isa>.json and a plot beside it')
  .option('--quick', 'fewer and shorter samples: a first impression')
  .option('--rare', 'also the cases that take long')
  .option('--all', 'everything that docs/performance.md shows: all families, 1 and 2 threads, all caps that matter here; implies --save')
  .option('--list', 'lists the cases and contenders and ends')
  .addHelpText(
    'after',
    `
Examples:
  npm run bench:rivals                                       build and install the rivals (once)
  npm run bench -- --family qgemm --threads 1 --quick        a first impression of int8 products
  npm run bench -- --family qgemm,spmm --isa avx512vnni,avx2 --json results.json
  npm run bench -- --case "spmm: .*90 %" --rounds 31
  npm run bench:all                                          the results that are committed
Ctrl-C ends the run after the sample that is running; what was measured is shown and written.`,
  )

async function main(): Promise<void> {
  const options = program.parse().opts<Options>()
  const unknown = options.family?.filter((name) => !families.some((f) => f.name === name)) ?? []
  if (unknown.length) program.error(`error: unknown family ${unknown.join(', ')}; there are ${families.map((f) => f.name).join(', ')}`)
  // What is measured is what stands in the working tree; the addon also tells which caps there are.
  for (const tool of ['build-native.cjs', 'build-ts.cjs'])
    execFileSync(process.execPath, [`tools/${tool}`], { cwd: root, stdio: 'inherit' })
  const { known, here } = isaLevels()
  const isas = options.isa ?? (options.all ? here.filter((isa) => ['avx2', 'avxvnni', strongestIsa()].includes(isa)) : [strongestIsa()])
  for (const isa of isas) {
    if (!known.includes(isa)) program.error(`error: unknown instruction set ${isa}; there are ${known.join(', ')}`)
    if (!here.includes(isa)) process.stderr.write(`${isa}: not measurable here, this processor lacks it\n`)
  }
  const selection: Selection = {
    families: families.filter((f) => options.family?.includes(f.name) ?? true),
    threads: options.threads.map(positive),
    isas: isas.filter((isa) => here.includes(isa)),
    ...(options.case === undefined ? {} : { pattern: new RegExp(options.case) }),
    rare: options.rare ?? false,
    ...(options.all && !options.isa ? { fullIsa: strongestIsa() } : {}),
  }
  if (options.list) return showList(selection)
  const stop = new AbortController()
  process.on('SIGTERM', () => stop.abort())
  process.on('SIGINT', () => {
    if (stop.signal.aborted) process.exit(130)
    stop.abort()
    process.stderr.write('\nstopping after this sample; Ctrl-C again ends at once\n')
  })
  const rounds = options.rounds ?? (options.quick ? 5 : 15)
  const line = progressLine()
  const result = await runBench(selection, {
    rounds,
    ...(options.quick ? { ms: 2 } : {}),
    budgetMs: options.quick ? 500 : options.all ? 900 : 2000,
    signal: stop.signal,
    onProgress: (p) => line.show(p),
    onMeasured: (m) => {
      line.clear()
      process.stdout.write(`${showMeasured(m)}\n`)
    },
  })
  line.clear()
  for (const [title, version] of Object.entries(result.versions)) process.stdout.write(`${title} ${version}\n`)
  const own = result.measured.flatMap((m) => m.absent).find((a) => a.contender.startsWith('Tersor') && a.why.startsWith('absent:'))
  if (own) throw new Error(`Tersor itself did not start, nothing is written: ${own.why}`)
  if (options.json !== undefined) writeFileSync(options.json, resultJson(result.measured))
  if (options.save || options.all) {
    for (const file of await writeResults(result.measured, result.versions, rounds))
      process.stdout.write(`wrote ${file.slice(root.length + 1)}\n`)
  }
  if (result.aborted) process.exitCode = 130
}

function showList(selection: Selection): void {
  for (const item of itemsOf({ ...selection, rare: true })) {
    const contenders = [...new Set(item.case.parts.map((p) => p.contender))]
    process.stdout.write(`${item.name}${item.case.rare ? ' (rare)' : ''}: ${contenders.join(', ')}\n`)
  }
  for (const [name, kind] of Object.entries(contenderKinds()))
    process.stdout.write(
      `${name}: ${kind.title}${kind.cap ? '' : ', cannot be capped'}${kind.remedy ? `; to have it: ${kind.remedy}` : ''}\n`,
    )
}

await main()
