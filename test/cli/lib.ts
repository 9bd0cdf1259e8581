/**
 * Help for the tests of the command line: the command in this process, or the compiled one as a child process where a test is about processes (signals,
 * environment, exit); small data in temporary folders.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { Rng } from '../../ts/base/rng.js'
import { runCli } from '../../ts/cli/program.js'
import { writeIdx, writeNpz } from '../../ts/formats/index.js'

export { tempDir } from '../formats/lib.js'

export const root = path.join(import.meta.dirname, '..', '..')
export const main = path.join(root, 'dist', 'esm', 'cli', 'main.js')
if (!fs.existsSync(main)) throw new Error(`${main} is missing: npm run build:ts`)

export interface Run {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Any of these: in a process of its own. */
export interface RunOptions {
  /** A child process without anything else asked for. */
  readonly alone?: boolean
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Called with all of stdout whenever some of it arrives. */
  readonly onOutput?: (stdout: string, child: ChildProcess) => void
  /** Runs the command through bash: `node` and its arguments are "$@". */
  readonly shell?: string
}

/** One thread: several of them run at a time. */
export function environment(change: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: '1', TERSOR_THREADS: '1', ...change }
  for (const name of ['FORCE_COLOR', 'NODE_OPTIONS', 'NODE_V8_COVERAGE']) delete env[name]
  if (!('TERSOR_ISA' in change)) delete env.TERSOR_ISA
  return env
}

export function tersor(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  return Object.keys(options).length ? processOf(args, options) : here(args)
}

async function here(args: readonly string[]): Promise<Run> {
  let [stdout, stderr] = ['', '']
  const code = await runCli(args, {
    stdout: { write: (text) => void (stdout += text) },
    stderr: { write: (text) => void (stderr += text) },
  })
  return { code, signal: null, stdout, stderr }
}

function processOf(args: readonly string[], { env = {}, cwd = root, onOutput, shell }: RunOptions): Promise<Run> {
  const command = [process.execPath, main, ...args]
  const [program, rest] = shell === undefined ? [command[0]!, command.slice(1)] : ['bash', ['-c', shell, 'bash', ...command]]
  const child = spawn(program, rest, { cwd, env: environment(env), stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString()
    onOutput?.(stdout, child)
  })
  child.stderr.on('data', (chunk: Buffer) => void (stderr += chunk.toString()))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}

/** Runs a command that must succeed. */
export async function succeeds(args: readonly string[], options: RunOptions = {}): Promise<Run> {
  const run = await tersor(args, options)
  if (run.code !== 0) throw new Error(`tersor ${args.join(' ')}: exit ${run.code ?? run.signal}\n${run.stdout}\n${run.stderr}`)
  return run
}

/** What a command that must succeed prints with --json: one value and nothing else. */
export async function json<T = Record<string, unknown>>(args: readonly string[], options: RunOptions = {}): Promise<T> {
  return JSON.parse((await succeeds([...args, '--json'], options)).stdout) as T
}

/** Kills or interrupts the command when its output matches, once. */
export function when(pattern: RegExp, signal: NodeJS.Signals): (stdout: string, child: ChildProcess) => void {
  let done = false
  return (stdout, child) => {
    if (done || !pattern.test(stdout)) return
    done = true
    child.kill(signal)
  }
}

/** Flowers of three kinds: four measures around a mean each, and the name. */
export function writeFlowers(file: string, size: number, seed = 1): string {
  const rng = Rng.of(seed, 'flowers')
  const kinds = ['rose', 'tulip', 'daisy']
  const rows = Array.from({ length: size }, (_, i) => {
    const kind = i % 3
    return [...Array.from({ length: 4 }, (_, j) => (kind * (j + 1) * 0.5 + 0.3 * rng.normal()).toFixed(4)), kinds[kind]].join(',')
  })
  fs.writeFileSync(file, `a,b,c,d,label\n${rows.join('\n')}\n`)
  return `csv:${file}`
}

/** Images with one bright quarter, which is the label. */
function quarters(size: number, side: number, seed: number): { x: Uint8Array; y: Uint8Array } {
  const rng = Rng.of(seed, 'quarters')
  const x = new Uint8Array(size * side * side)
  const y = new Uint8Array(size)
  for (let i = 0; i < size; i++) {
    const label = (y[i] = i % 4)
    for (let p = 0; p < side * side; p++) {
      const quarter = (Math.floor(p / side) >= side / 2 ? 2 : 0) + (p % side >= side / 2 ? 1 : 0)
      x[i * side * side + p] = Math.floor(rng.uniform() * 100) + (quarter === label ? 120 : 0)
    }
  }
  return { x, y }
}

/** A folder like that of MNIST, with 28 x 28 images of four classes. */
export function writeImages(dir: string, sizes: { readonly train: number; readonly test: number }): string {
  fs.mkdirSync(dir, { recursive: true })
  for (const [prefix, size, seed] of [
    ['train', sizes.train, 1],
    ['t10k', sizes.test, 2],
  ] as const) {
    const { x, y } = quarters(size, 28, seed)
    writeIdx(path.join(dir, `${prefix}-images-idx3-ubyte`), { dtype: 'u8', shape: [size, 28, 28], data: x })
    writeIdx(path.join(dir, `${prefix}-labels-idx1-ubyte`), { dtype: 'u8', shape: [size], data: y })
  }
  return `idx:${dir}`
}

/** The same images with a channel, 16 x 16, in one .npz. */
export function writeArrays(file: string, size: number): string {
  const { x, y } = quarters(size, 16, 3)
  writeNpz(file, [
    ['x', { dtype: 'u8', shape: [size, 1, 16, 16], data: x }],
    ['y', { dtype: 'u8', shape: [size], data: y }],
  ])
  return `npz:${file},divide=255`
}
