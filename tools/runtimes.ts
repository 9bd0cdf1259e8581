/**
 * `npm run runtimes`: the library in other hosts. Fetches Node 18 to 26, Bun and Deno as npm packages of exact version and content into the cache (once,
 * about 450 MB), runs tools/runtimes/smoke.mjs in each and prints a table; exit code 1 where a part fails.
 *   npm run runtimes -- bun node26      only those
 * Of Electron only the types: examples/electron is compiled against them.
 * Needs a build. What has no binary for this platform is skipped, visibly.
 */
import { spawn } from 'node:child_process'
import { chmodSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import { fetchPackage } from '../ts/data/cache.js'
import { root } from './problems.js'
import { electron, electronTypes } from './runtimes/electron.js'
import { hosts, type Host } from './runtimes/hosts.js'

interface Part {
  readonly part: string
  readonly ok: boolean
  readonly note: string
}
const PARTS = ['load', 'math', 'train', 'session', 'worker', 'files']

/** A part that is not answered (the process died in it) failed. */
async function smoke(program: string, args: readonly string[]): Promise<readonly Part[]> {
  const file = join(root, 'tools', 'runtimes', 'smoke.mjs')
  const child = spawn(program, [...args, file, join(root, 'dist')], { cwd: root, timeout: 120_000 })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (text: Buffer) => void (stdout += text.toString()))
  child.stderr.on('data', (text: Buffer) => void (stderr += text.toString()))
  const end = await new Promise<string>((resolve) => {
    child.on('error', (error) => resolve(error.message))
    child.on('close', (code, signal) => resolve(code === 0 ? '' : `exit ${code ?? signal}`))
  })
  const found = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Part)
  const died = end ? `${end}: ${stderr.trim().slice(-2000)}` : ''
  const all = PARTS.map((part) => found.find((one) => one.part === part) ?? { part, ok: false, note: died || 'no answer' })
  return died && all.every((one) => one.ok) ? [...all, { part: 'end', ok: false, note: died }] : all
}

async function programOf({ pkg, program }: Host): Promise<string> {
  const file = join(await fetchPackage(pkg, { cacheDir: join(root, '.cache', 'tersor') }), program)
  chmodSync(file, 0o755)
  return file
}

async function main(names: readonly string[]): Promise<boolean> {
  if (!existsSync(join(root, 'dist', 'esm', 'index.js'))) throw new Error('runtimes: dist/ is missing: npm run build')
  const all = [...hosts.map((h) => h.name), 'electron']
  const unknown = names.find((name) => !all.includes(name))
  if (unknown !== undefined) throw new Error(`runtimes: knows ${all.join(', ')}, not ${unknown}`)
  let [passed, failed, skipped] = [0, 0, 0]
  for (const host of hosts) {
    if (names.length && !names.includes(host.name)) continue
    if (host.platform !== `${process.platform}-${process.arch}`) {
      console.log(`skip ${host.name}: the package is for ${host.platform}`)
      skipped++
      continue
    }
    const parts = await smoke(await programOf(host), host.args)
    console.log(
      `${host.name.padEnd(7)} ${host.pkg.version.padEnd(9)} ${parts.map((p) => `${p.part} ${p.ok ? 'ok' : 'FAILED'}`).join('  ')}`,
    )
    for (const { part, ok, note } of parts) if (note) console.log(`        ${part}: ${ok ? note : note.replaceAll('\n', '\n        ')}`)
    passed += parts.filter((p) => p.ok).length
    failed += parts.filter((p) => !p.ok).length
  }
  if (names.length === 0 || names.includes('electron')) {
    const problems = await electronTypes()
    console.log(`electron ${electron.version.padEnd(8)} types of examples/electron ${problems ? `FAILED\n${problems}` : 'ok'}`)
    if (problems) failed++
    else passed++
  }
  console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
  return failed === 0
}

process.exitCode = (await main(process.argv.slice(2))) ? 0 : 1
