/** npm run bench:compare BASE: builds another revision and measures it and the working tree interleaved; exit code 1 when the tree is slower. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { digits, table } from '../ts/bench/index.js'
import { families } from './cases/index.js'
import { root } from './lib/contenders.js'
import { strongestIsa } from './lib/machine.js'
import { progressLine } from './lib/output.js'
import type { Figure, Measured } from './lib/results.js'
import { runBench } from './lib/run.js'

interface Options {
  readonly family?: string
  readonly case?: string
  readonly threads: string
  readonly isa?: string
  readonly rounds: string
  readonly tolerance: string
}

const list = (text: string): string[] => text.split(',').map((s) => s.trim())

/** A checkout of that commit in the cache folder, built. Built again only when it is another commit. */
export function checkout(base: string): string {
  const git = (...args: string[]): string => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
  const commit = git('rev-parse', '--verify', `${base}^{commit}`)
  const folder = join(root, 'node_modules', '.cache', 'tersor', 'bench', commit)
  if (!existsSync(join(folder, 'package.json'))) {
    git('worktree', 'prune')
    git('worktree', 'add', '--detach', '--force', folder, commit)
  }
  // A node_modules of its own with links into ours: the stamps of the build tools in its cache must not be shared.
  const modules = join(folder, 'node_modules')
  mkdirSync(modules, { recursive: true })
  for (const name of readdirSync(join(root, 'node_modules')).filter((one) => one !== '.cache' && !existsSync(join(modules, one))))
    symlinkSync(join(root, 'node_modules', name), join(modules, name))
  for (const tool of ['build-native.cjs', 'build-ts.cjs'])
    execFileSync(process.execPath, [`tools/${tool}`, '--if-stale'], { cwd: folder, stdio: 'inherit' })
  return folder
}

/** Slower for sure: by more than the tolerance, and in three rounds of four. */
export const isSlower = (f: Figure, tolerance: number): boolean => f.ratio !== null && f.ratio < 1 - tolerance && f.ratioQ3! < 1

/** The figures of the base, each with the one of the tree that it belongs to. */
export function pairs(m: Measured): { readonly label: string; readonly base: Figure }[] {
  return m.figures
    .filter((f) => f.contender.startsWith('Tersor (base)'))
    .map((base) => ({ label: `${m.family}: ${m.case}${base.contender.slice('Tersor (base)'.length)} · ${m.isa} · ${m.threads}T`, base }))
}

async function main(): Promise<void> {
  const program = new Command('npm run bench:compare --')
    .description('Measures this working tree and another revision of Tersor, interleaved.')
    .argument('<base>', 'a git revision: main, HEAD~3, a tag')
    .option('--family <names>', `families, separated by commas: ${families.map((f) => f.name).join(', ')} (default: all)`)
    .option('--case <regex>', 'only cases whose "family: name" matches')
    .option('--threads <counts>', 'numbers of threads', '1')
    .option('--isa <caps>', 'instruction sets (default: the strongest here)')
    .option('--rounds <n>', 'samples of each', '15')
    .option('--tolerance <share>', 'how much slower counts as slower', '0.05')
  const options = program.parse().opts<Options>()
  const [base = ''] = program.args
  process.stderr.write(`building ${base}\n`)
  const folder = checkout(base)
  for (const tool of ['build-native.cjs', 'build-ts.cjs'])
    execFileSync(process.execPath, [`tools/${tool}`], { cwd: root, stdio: 'inherit' })
  const wanted = options.family === undefined ? undefined : list(options.family)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const line = progressLine()
  const { measured, aborted } = await runBench(
    {
      families: families.filter((f) => wanted?.includes(f.name) ?? true),
      threads: list(options.threads).map(Number),
      isas: options.isa === undefined ? [strongestIsa()] : list(options.isa),
      ...(options.case === undefined ? {} : { pattern: new RegExp(options.case) }),
      rare: false,
      base: folder,
    },
    { rounds: Number(options.rounds), budgetMs: 2000, signal: stop.signal, onProgress: (p) => line.show(p) },
  )
  line.clear()
  const tolerance = Number(options.tolerance)
  const rows = measured.flatMap(pairs)
  const verdict = (f: Figure): string => (isSlower(f, tolerance) ? 'SLOWER' : f.ratio! > 1 + tolerance && f.ratioQ1! > 1 ? 'faster' : '')
  const cells = rows.map(({ label, base: f }) => [label, `${digits(f.ratio)}x`, `${digits(f.ratioQ1)}-${digits(f.ratioQ3)}`, verdict(f)])
  process.stdout.write(`${table([['case', 'faster by', 'quartiles', ''], ...cells])}\n`)
  const slower = rows.filter(({ base: f }) => isSlower(f, tolerance)).length
  process.stdout.write(`${rows.length} compared with ${base}, ${slower} slower by more than ${digits(tolerance * 100)} %\n`)
  process.exitCode = aborted ? 130 : slower ? 1 : 0
}

if (process.argv[1] === import.meta.filename) await main()
