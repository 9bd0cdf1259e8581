/**
 * Worker threads with a running session that are terminated at any moment: each ends, the main thread's session goes on, nothing stays allocated (L04 of
 * the reliability rules). The package is bundled into one file first: a worker that imports it starts in a fifth of the time.
 */
import { build } from 'esbuild'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import type * as tersorModule from '../ts/index.js'

const root = path.join(import.meta.dirname, '..')
const modes = ['async', 'sync', 'record']
/** Of a worker until its first result; a machine that is busy may take long. */
const START_MS = 120_000
/** Of a terminate: beyond it the worker counts as hanging. */
const END_MS = 10_000

/** Of resident memory, from the second quarter of all trials to the last: the first fills caches, and between two collections workers lie about. */
const GROWTH_MIB = 32

/** One module of what worker-child.mjs imports, with the addon where the loader's own place is. */
async function bundle(folder: string): Promise<string> {
  const loader = path.join(root, 'dist', 'esm', 'native', 'load.cjs')
  const outfile = path.join(folder, 'library.mjs')
  const names = {
    require: `__create(${JSON.stringify(loader)})`,
    __filename: JSON.stringify(loader),
    __dirname: JSON.stringify(path.dirname(loader)),
  }
  const lines = Object.entries(names).map(([name, value]) => `const ${name} = ${value};`)
  await build({
    stdin: { contents: "export { ops, session, tensor } from './dist/esm/index.js'", resolveDir: root },
    bundle: true,
    minify: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    outfile,
    banner: { js: `import { createRequire as __create } from 'node:module'; ${lines.join(' ')}` },
    logLevel: 'error',
  })
  return pathToFileURL(outfile).href
}

const within = <T>(ms: number, what: string, wait: Promise<T>): Promise<T> => {
  const stop = new AbortController()
  const late = sleep(ms, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`${what} took more than ${ms} ms`)
  })
  return Promise.race([wait, late]).finally(() => {
    stop.abort()
    late.catch(() => undefined)
  })
}

/** Milliseconds from the making of a worker to its first result, of the latest that got so far: terminates within the start spread over it. */
let start = 500

/**
 * Milliseconds that the terminate took. Three of four workers compute by then, in one of the modes; every fourth is anywhere in its start: its modules, the
 * addon, the first compilation.
 */
async function one(library: string, i: number): Promise<number> {
  const mode = modes[i % 3]
  // Without execArgv a worker starts the main thread's TypeScript loader as well, which takes longer than all it does here.
  const made = performance.now()
  const worker = new Worker(path.join(root, 'test/runtime/worker-child.mjs'), { workerData: { mode, library }, execArgv: [] })
  const first = new Promise<unknown>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
    worker.once('exit', (code) => reject(new Error(`worker ${i} (${mode}) ended with ${code} before it was told to`)))
  })
  first.catch(() => undefined) // a late exit is the terminate's
  if (i % 4 === 3) await Promise.race([sleep(Math.random() * start), first])
  else {
    await within(START_MS, `the start of worker ${i} (${mode})`, first)
    start = performance.now() - made
    await sleep(Math.random() * 8)
  }
  const began = performance.now()
  await within(END_MS, `the terminate of worker ${i} (${mode})`, worker.terminate())
  return performance.now() - began
}

/** `trials` terminations, as many workers at a time as there are processors. */
export async function sessions(tersor: typeof tersorModule, trials: number): Promise<object> {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'soak-'))
  const library = await bundle(folder)
  const w = tersor.tensor([[2]])
  const main = tersor.session((x: never) => tersor.ops.matmul(x, w))
  const before = tersor.memory().bytes
  const times: number[] = []
  const faults: string[] = []
  const resident: number[] = []
  let next = 0
  const slot = async (): Promise<void> => {
    for (let i = next++; i < trials && faults.length < 10; i = next++) {
      try {
        times.push(await one(library, i))
        resident.push(process.memoryUsage.rss())
        const y = (await main.run({ data: Float32Array.of(i), shape: [1, 1] })).output!.data[0]
        if (y !== 2 * i) faults.push(`the session of the main thread gave ${y} for 2 * ${i}`)
      } catch (error) {
        faults.push((error as Error).message)
      }
    }
  }
  const began = performance.now()
  await Promise.all(Array.from({ length: os.availableParallelism() }, slot))
  for (let i = 0; i < 250 && tersor.memory().bytes > before; i++) await sleep(20) // runs in flight end on job threads
  const left = tersor.memory().bytes - before
  main.dispose()
  w.dispose()
  await fs.rm(folder, { recursive: true })
  times.sort((a, b) => a - b)
  const part = (share: number): number => Math.floor(share * resident.length)
  const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN
  const growth = (median(resident.slice(part(0.75))) - median(resident.slice(part(0.25), part(0.5)))) / 2 ** 20
  const at = (share: number): number => Number((times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? NaN).toFixed(1))
  return {
    ok: faults.length === 0 && times.length === trials && left <= 256 && growth < GROWTH_MIB, // 256: the session's own
    clean: `${times.length} of ${trials}`,
    terminateMs: { p50: at(0.5), p90: at(0.9), p99: at(0.99), worst: at(1) },
    bytes: left,
    growthMiB: Number(growth.toFixed(1)),
    seconds: Math.round((performance.now() - began) / 1000),
    load: os.loadavg()[0],
    ...(faults.length ? { faults } : {}),
  }
}
