/** kill -9 in the middle of a compression: what was saved is whole, and the end is bit-identical (P01, promise 4 and 5). Every pass, and one long run at any moment. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { compress, passDefinitions, removeCheckpoints } from '../../ts/compress/index.js'
import { bitsOf } from './toys.js'
import { jobs, longJob, type Job } from './kill-jobs.js'

/** TERSOR_SOAK=100: that many. */
const KILLS = Number(process.env.TERSOR_SOAK ?? 20)
const dir = mkdtempSync(join(tmpdir(), 'tersor-kill-'))
const child = join(dir, 'child.mjs')
afterAll(() => rmSync(dir, { recursive: true, force: true }))

/** One file of plain JavaScript: a process that has to transform the sources first needs seconds to begin. The addon's loader stays where it is. */
beforeAll(async () => {
  await build({
    entryPoints: [join(import.meta.dirname, 'kill-child.ts')],
    outfile: child,
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node20' },
    logLevel: 'error',
    banner: { js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);" },
    plugins: [
      {
        name: 'loader',
        setup: (own) => own.onResolve({ filter: /\.cjs$/ }, ({ path, resolveDir }) => ({ path: join(resolveDir, path), external: true })),
      },
    ],
  })
})

async function straight({ model, recipe, options }: Job): Promise<string> {
  const done = await compress(model(), recipe, options())
  return createHash('sha256').update(bitsOf(done.model)).digest('hex')
}

/** Runs a child; `see` may kill it. */
function run(
  args: readonly string[],
  see?: (output: string, kill: () => void) => void,
): Promise<{ output: string; signal: string | null }> {
  const process_ = spawn(process.execPath, [child, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  process_.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    see?.(output, () => process_.kill('SIGKILL'))
  })
  return new Promise((resolve) => process_.on('close', (_code, signal) => resolve({ output, signal })))
}

it('there is a job for every pass of the package', () => {
  const own = [...passDefinitions().keys()].filter((name) => /^(prune|quantize|distill|sparsify|dual|factorize)\//.test(name))
  expect(own.filter((name) => !(name in jobs))).toEqual([])
})

it('every pass: killed in its middle and resumed, the same bits', { timeout: 120_000 }, async () => {
  const folder = join(dir, 'passes')
  const names = Object.keys(jobs)
  let before = '-'
  let expected = ''
  for (const name of [...names, undefined]) {
    // A child ends what the last one began, and begins the next.
    const [{ output, signal }, hash] = await Promise.all([
      run([folder, before, ...(name === undefined ? [] : [name])]),
      name === undefined ? '' : straight(jobs[name]!),
    ])
    const at = jobs[before]?.recipe.stages.map(([spec]) => spec!.pass).lastIndexOf(before)
    if (before !== '-') {
      expect(output, before).toContain(`done ${before} ${expected}`)
      expect(output, before).toContain(`resumed ${before} stage ${at}\n`)
      // What a retraining had done is not done again.
      const first = /^trains .*: step (\d+)$/m.exec(output)
      if (jobs[before]!.saves !== undefined && first) expect(Number(first[1]), before).toBeGreaterThan(0)
    }
    expect(signal, name).toBe(name === undefined ? null : 'SIGKILL')
    ;[before, expected] = [name ?? '', hash]
  }
})

it(`${KILLS} kills at any moment, no corrupt checkpoint, the same bits at the end`, { timeout: 60_000 + 15_000 * KILLS }, async () => {
  const folder = join(dir, 'long')
  const expected = await straight(longJob)
  let finished = 0
  for (let kill = 0; kill < KILLS; kill++) {
    let armed = false
    const { output } = await run([folder, 'long'], (text, stop) => {
      if (armed || !text.includes('saved')) return
      armed = true
      setTimeout(stop, (kill * 13) % 60)
    })
    const done = /^done ([0-9a-f]+)$/m.exec(output)
    if (done) {
      finished++
      expect(done[1]).toBe(expected)
      removeCheckpoints(folder)
    }
    // Whatever the moment: at most the two generations and one in the making, the lock and the temporary of this child, and no older ones.
    const files = readdirSync(folder)
    expect(files.filter((f) => f.startsWith('tersor-run-')).length).toBeLessThanOrEqual(3)
    expect(files.filter((f) => f.startsWith('tersor-model-')).length).toBeLessThanOrEqual(3)
    expect(files.filter((f) => f.startsWith('.tersor-')).length).toBeLessThanOrEqual(2)
  }
  expect(finished).toBeLessThan(KILLS / 2)
  let fallback = false
  const { model } = await compress(longJob.model(), longJob.recipe, {
    ...longJob.options(),
    checkpointDir: folder,
    resume: true,
    onEvent: (e) => void (e.type === 'resume' && (fallback = e.fallback)),
  })
  expect(fallback).toBe(false)
  expect(createHash('sha256').update(bitsOf(model)).digest('hex')).toBe(expected)
  expect(readdirSync(folder).filter((f) => f.startsWith('.tersor-'))).toEqual([])
})
