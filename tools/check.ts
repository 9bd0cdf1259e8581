/**
 * `npm run check`: everything that must hold before a commit, under a minute. Each check prints one line; what failed, also why.
 *   npm run check [NAME...]      only the named ones
 */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from './problems.js'

const { binOf } = createRequire(import.meta.url)('./lib.cjs') as { binOf: (name: string, bin?: string) => string }

interface Check {
  readonly name: string
  /** Arguments to node; the next list runs when the one before succeeded. */
  readonly runs: readonly (readonly string[])[]
}

const tool = (file: string, ...args: string[]): string[] => ['--import', 'tsx', `tools/${file}`, ...args]
const lintFolders = ['ts', 'tools', 'test', 'bench', 'examples'].filter((folder) => existsSync(join(root, folder)))

const checks: readonly Check[] = [
  { name: 'floors', runs: [tool('check-floors.ts')] },
  { name: 'generated', runs: [tool('gen.ts', '--check')] },
  { name: 'size', runs: [tool('check-size.ts')] },
  { name: 'types', runs: [[binOf('typescript', 'tsc'), '-p', 'tsconfig.json']] },
  { name: 'isa-leaks', runs: [['tools/build-native.cjs'], tool('check-isa-leaks.ts')] },
  {
    name: 'format',
    runs: [
      [binOf('prettier'), '--log-level', 'warn', '--check', '.', '--cache', '--cache-location', 'node_modules/.cache/tersor/prettier'],
    ],
  },
  {
    name: 'lint',
    runs: [[binOf('eslint'), '--max-warnings', '0', '--no-warn-ignored', '--no-error-on-unmatched-pattern', ...lintFolders]],
  },
]

function runNode(args: readonly string[]): Promise<{ ok: boolean; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    const keep = (part: Buffer): void => void (output += part.toString())
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    child.on('close', (code) => resolve({ ok: code === 0, output }))
  })
}

async function runCheck({ name, runs }: Check): Promise<boolean> {
  const start = performance.now()
  let ok = true
  let output = ''
  for (const args of runs) {
    const one = await runNode(args)
    ok = one.ok
    output = one.output
    if (!ok) break
  }
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name.padEnd(10)} ${((performance.now() - start) / 1000).toFixed(1)} s`)
  if (!ok) console.log(output.trimEnd().replace(/^/gm, '     '))
  return ok
}

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !checks.some((check) => check.name === name))
if (unknown.length) throw new Error(`check: unknown check ${unknown.join(', ')}; there are ${checks.map((check) => check.name).join(', ')}`)
const todo = checks.filter((check) => !asked.length || asked.includes(check.name))
const queue = [...todo].reverse() // the long ones first, two at a time
const results: boolean[] = []
const worker = async (): Promise<void> => {
  for (let check = queue.shift(); check; check = queue.shift()) results.push(await runCheck(check))
}
void Promise.all([worker(), worker()]).then(() => {
  const failed = results.filter((ok) => !ok).length
  console.log(`${results.length - failed} passed, ${failed} failed, 0 skipped`)
  process.exitCode = failed ? 1 : 0
})
