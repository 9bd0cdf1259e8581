/**
 * Long runs that a test suite has no time for: `npm run soak` (about 40 minutes), `npm run soak -- --short` (about a minute), `-- --only latency,leak`.
 *
 *   latency    fs.readFile beside a training in a worker: p99 <= 2 x idle + 20 ms, with libuv's threads as they are and with one (UV_THREADPOOL_SIZE=1)
 *   terminate  trainings in workers that are aborted at any moment: each ends with ERR_ABORTED, nothing stays allocated
 *   sessions   runs of sessions in worker threads that are terminated at any moment, of their start too: 500 (soak-sessions.ts)
 *   leak       1e5 steps: no tensor more than the model's, resident memory on a plateau
 *   sanitizers native runner with every kernel under ASan and UBSan (`npm test` on CI leaves the kernels out)
 *   gyp        a full build with node-gyp (on CI only its commands are looked at)
 *   fuzz       every parser of the package (npm run fuzz) and the native decoders (libFuzzer), `--minutes 2` each
 *   calibration  1e6 examples through the calibrators of static quantization: resident memory on a plateau
 *
 * Needs a build. Prints one line of JSON for each; exit code 1 where a promise does not hold.
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type * as nnModule from '../ts/nn/index.js'
import type * as dataModule from '../ts/data/index.js'
import type * as tersorModule from '../ts/index.js'
import { sessions } from './soak-sessions.js'

const dist = path.join(import.meta.dirname, '..', 'dist', 'esm')
const built = async <T>(file: string): Promise<T> => (await import(pathToFileURL(path.join(dist, file)).href)) as T
const tersor = await built<typeof tersorModule>('index.js')
const { build, freshValues, Model } = await built<typeof nnModule>('nn/index.js')
const { numberDataset } = await built<typeof dataModule>('data/index.js')
type Net = InstanceType<typeof Model>

const short = process.argv.includes('--short')
/** Of each fuzz target. */
const minutes = process.argv.includes('--minutes') ? Number(process.argv[process.argv.indexOf('--minutes') + 1]) : 2
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

function random(seed: number): { readonly uniform: () => number; readonly normal: () => number } {
  let state = seed
  const uniform = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647
  return { uniform, normal: () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()) }
}

/** Two LSTM layers of 200, 3,000 words: a step takes longer than 20 ms. */
function languageNet(): Net {
  const spec = tersor.languageModel({ vocabulary: 3000, width: 200, hidden: 200 })
  return new Model(build(spec, freshValues(random(1))), { name: 'lstm', task: 'language', history: [] })
}
const text = (length: number): Int32Array => {
  const { uniform } = random(2)
  return Int32Array.from({ length }, () => Math.floor(uniform() ** 3 * 3000))
}

const quantile = (times: readonly number[], share: number): number =>
  [...times].sort((a, b) => a - b)[Math.min(times.length - 1, Math.floor(share * times.length))]!
const rounded = (x: number): number => Number(x.toFixed(2))

/** Reads a small file every 10 ms until `done`. */
async function reads(file: string, done: () => boolean): Promise<number[]> {
  const times: number[] = []
  while (!done()) {
    const began = performance.now()
    await fs.readFile(file)
    times.push(performance.now() - began)
    await wait(10)
  }
  return times
}
const readsFor = (file: string, seconds: number): Promise<number[]> => {
  const end = performance.now() + 1000 * seconds
  return reads(file, () => performance.now() > end)
}

async function latency(seconds: number): Promise<object> {
  const dir = await fs.mkdtemp(path.join(os.tmpdir(), 'soak-'))
  const file = path.join(dir, 'small')
  await fs.writeFile(file, new Uint8Array(23_000))
  try {
    const pause = Math.min(10, seconds / 2)
    const before = await readsFor(file, pause)
    const stop = new AbortController()
    const ends = performance.now() + 1000 * seconds
    let [steps, over] = [0, false]
    const training = tersor
      .trainTaskInWorker(languageNet(), tersor.language(text(200_000)), {
        epochs: 1e6,
        batchSize: 20,
        clipNorm: 1,
        optimizer: { kind: 'adam' },
        schedule: { kind: 'constant', lr: 0.001 },
        signal: stop.signal,
        onEvent: (e) => {
          if (e.type === 'train-step') steps = e.step
        },
      })
      .catch((error: unknown) => error)
      .finally(() => (over = true))
    const during = await reads(file, () => over || performance.now() > ends)
    stop.abort()
    const error = (await training) as { readonly code?: string }
    const idle = [...before, ...(await readsFor(file, pause))]
    const [p99, idle99] = [quantile(during, 0.99), quantile(idle, 0.99)]
    const facts = {
      seconds,
      reads: during.length,
      steps,
      p50: rounded(quantile(during, 0.5)),
      p99: rounded(p99),
      worst: rounded(Math.max(...during)),
    }
    const still = {
      idleP50: rounded(quantile(idle, 0.5)),
      idleP99: rounded(idle99),
      uvThreads: process.env.UV_THREADPOOL_SIZE ?? '4',
      load: os.loadavg()[0],
    }
    return { ok: error.code === 'ERR_ABORTED' && steps > 0 && p99 <= 2 * idle99 + 20, ...facts, ...still }
  } finally {
    await fs.rm(dir, { recursive: true })
  }
}

async function terminate(trials: number): Promise<object> {
  const net = languageNet()
  const task = tersor.language(text(20_000))
  const before = tersor.memory()
  const { uniform } = random(3)
  const codes: Record<string, number> = {}
  let slowest = 0
  for (let i = 0; i < trials; i++) {
    const stop = new AbortController()
    let aborted = 0
    const abort = (): void => {
      aborted = performance.now()
      stop.abort()
    }
    // Every other one in the middle of its steps, the others at any moment of its start.
    const onEvent = (): void => void (i % 2 && setTimeout(abort, uniform() * 100))
    if (i % 2 === 0) setTimeout(abort, uniform() * 800)
    const code = await tersor.trainTaskInWorker(net, task, { epochs: 1e6, batchSize: 20, signal: stop.signal, onEvent }).then(
      () => 'finished',
      (error: { readonly code?: string }) => error.code ?? 'without a code',
    )
    slowest = Math.max(slowest, performance.now() - aborted)
    codes[code] = (codes[code] ?? 0) + 1
  }
  const after = tersor.memory()
  const ok = codes.ERR_ABORTED === trials && after.tensors === before.tensors && after.bytes === before.bytes
  return { ok, trials, codes, slowestMs: rounded(slowest), bytes: after.bytes - before.bytes, tensors: after.tensors - before.tensors }
}

/** A part of tools/test.cjs that CI has no time for. */
function part(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<object> {
  const root = path.join(import.meta.dirname, '..')
  const done = spawnSync(process.execPath, ['tools/test.cjs', ...args], { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } })
  const counts = done.stdout.trimEnd().split('\n').at(-1)
  return Promise.resolve({
    ok: done.status === 0,
    counts,
    ...(done.status === 0 ? {} : { output: done.stdout.slice(-2000) + done.stderr.slice(-2000) }),
  })
}

/** One target after the other; a failing input is in fuzz-failures with the command that repeats it. */
function fuzzing(seconds: number): Promise<object> {
  const root = path.join(import.meta.dirname, '..')
  const run = (what: string, command: string, args: readonly string[]): object => {
    const done = spawnSync(command, args, { cwd: root, encoding: 'utf8', maxBuffer: 64 << 20 })
    const output = `${done.stdout}${done.stderr}`.trim()
    return { what, ok: done.status === 0, output: done.status === 0 ? output.split('\n').slice(-40) : output.slice(-4000) }
  }
  const parsers = run('parsers', process.execPath, [...process.execArgv, 'test/fuzz/main.ts', '--seconds', String(seconds)])
  const native = run('native', process.execPath, ['tools/test.cjs', 'fuzz', '--seconds', String(seconds)])
  return Promise.resolve({ ok: [parsers, native].every((r) => (r as { ok: boolean }).ok), seconds, parsers, native })
}

async function leak(steps: number): Promise<object> {
  const size = 64
  const { normal } = random(4)
  const data = numberDataset({
    name: 'points',
    features: Float32Array.from({ length: size * 8 }, normal),
    inputShape: [8],
    labels: Int32Array.from({ length: size }, (_, i) => i % 2),
    classes: ['a', 'b'],
  })
  const made = tersor.architectures.mlp({ inputShape: [8], classes: 2 })
  const net = new Model(build(made.spec, freshValues(random(5))), {
    name: 'mlp',
    task: 'classification',
    classes: data.classes,
    inputShape: [8],
    history: [],
  })
  const before = tersor.memory().tensors
  const resident: number[] = []
  const { model } = await tersor.train(net, data, {
    epochs: Math.ceil(steps / 4),
    batchSize: 16,
    schedule: { kind: 'constant', lr: 0.01 },
    checkpoint: () => {
      if (resident.length === 0 || performance.now() - last > 250) {
        last = performance.now()
        resident.push(process.memoryUsage.rss())
      }
    },
  })
  const tensors = tersor.memory().tensors - before - model.leaves().size
  // The first fifth fills caches of all kinds.
  const settled = resident.slice(Math.floor(resident.length / 5))
  const growth =
    (quantile(settled.slice(-Math.ceil(settled.length / 4)), 0.5) - quantile(settled.slice(0, Math.ceil(settled.length / 4)), 0.5)) /
    2 ** 20
  return { ok: tensors <= 0 && growth < 32, steps, tensors, growthMiB: rounded(growth) }
}
let last = 0

/** Statistics of all calibrators over many examples: resident memory of the last quarter against the first. */
async function calibration(samples: number): Promise<object> {
  const { normal } = random(6)
  const data = numberDataset({
    name: 'points',
    features: Float32Array.from({ length: samples * 8 }, normal),
    inputShape: [8],
    labels: new Int32Array(samples),
    classes: ['a', 'b'],
  })
  const made = tersor.architectures.mlp({ inputShape: [8], classes: 2 })
  const net = new Model(build(made.spec, freshValues(random(7))), { name: 'mlp', task: 'classification', inputShape: [8], history: [] })
  const { quantize, recipe } = tersor
  const stage = (['minmax', 'ema', 'entropy'] as const).map((calibration, i) =>
    quantize.static({ calibration, samples }, { targets: [net.weights().filter((w) => w.role === 'matrix')[i]!.path] }),
  )
  const resident: number[] = []
  await tersor.compress(net, recipe([[...stage, quantize.smooth({ samples })]]), {
    data,
    onEvent: (e) => {
      if (e.type === 'progress' && e.task === 'calibration') resident.push(process.memoryUsage.rss())
    },
  })
  const settled = resident.slice(Math.floor(resident.length / 5))
  const quarter = Math.ceil(settled.length / 4)
  const growth = (quantile(settled.slice(-quarter), 0.5) - quantile(settled.slice(0, quarter), 0.5)) / 2 ** 20
  return { ok: resident.length >= 8 && growth < 16, samples, growthMiB: rounded(growth) }
}

const runs: Readonly<Record<string, () => Promise<object>>> = {
  latency: () => latency(short ? 20 : 600),
  latencyOneThread: () => latency(short ? 10 : 120),
  terminate: () => terminate(short ? 12 : 500),
  sessions: () => sessions(tersor, short ? 20 : 500),
  sanitizers: () => part(['asan']),
  gyp: () => part(['packaging', 'test/packaging/builders.test.ts'], { TERSOR_FULL_BUILD: '1' }),
  fuzz: () => fuzzing(short ? 3 : 60 * minutes),
  leak: () => leak(short ? 4000 : 100_000),
  calibration: () => calibration(short ? 50_000 : 1_000_000),
}
/** What stands in front of the start of a process. */
const environments: Readonly<Record<string, NodeJS.ProcessEnv>> = { latencyOneThread: { UV_THREADPOOL_SIZE: '1' } }

const alone = process.argv.indexOf('--run')
if (alone >= 0) {
  const name = process.argv[alone + 1]!
  const result = (await runs[name]!()) as { readonly ok: boolean }
  console.log(JSON.stringify({ name, ...result }))
  process.exitCode = result.ok ? 0 : 1
} else {
  const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1]!.split(',') : Object.keys(runs)
  const unknown = only.find((name) => !Object.hasOwn(runs, name))
  if (unknown !== undefined) throw new Error(`soak: knows ${Object.keys(runs).join(', ')}, not ${unknown}`)
  for (const name of only) {
    const args = [
      ...process.execArgv,
      fileURLToPath(import.meta.url),
      '--run',
      name,
      ...(short ? ['--short'] : []),
      '--minutes',
      String(minutes),
    ]
    const { status } = spawnSync(process.execPath, args, { stdio: 'inherit', env: { ...process.env, ...environments[name] } })
    if (status !== 0) process.exitCode = 1
  }
}
