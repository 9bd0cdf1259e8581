/**
 * Fuzzing of every parser: `npm run fuzz -- [--target onnx,tfjs] [--seconds 60] [--seed 1] [--out folder]`; `--from 123 --inputs 1` repeats one input.
 *
 * Each target runs in a process of its own with bounded memory; one that dies or hangs is started again behind the input that did it. A failing input
 * is written to a file beside the command that repeats it. Exit code 1 when anything failed.
 */
import cp from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { fuzz } from './engine.js'
import { inputOf, targets, type Target } from './targets.js'

const { values: args } = parseArgs({
  options: {
    target: { type: 'string' },
    seconds: { type: 'string', default: '10' },
    seed: { type: 'string' },
    from: { type: 'string', default: '0' },
    inputs: { type: 'string' },
    out: { type: 'string', default: 'fuzz-failures' },
    child: { type: 'string' },
  },
})

const MiB = 2 ** 20
/** Resident memory of a child; the addon, node and the compiled sources take some 300 MiB of it. */
const MEMORY = 1024 * MiB
/** A child that began an input and shows no other one for so long hangs; long, because the machine may be busy with other things. */
const HANG_MS = 30_000

/** Errors that were seen already are counted, not written again. */
const siteOf = (what: string): string =>
  what
    .split('\n')
    .slice(0, 3)
    .map((line) => line.replace(/[\d.]+/g, '#').replace(/"[^"]*"/g, '""'))
    .join('|')
    .slice(0, 300)

async function runChild(target: Target, progress: string): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-fuzz-'))
  const fd = fs.openSync(progress, 'w')
  const place = new Float64Array(1)
  const bytes = new Uint8Array(place.buffer)
  let peak = 0
  try {
    const outcome = await fuzz(target, folder, {
      seed: Number(args.seed),
      from: Number(args.from),
      ms: 1000 * Number(args.seconds),
      ...(args.inputs === undefined ? {} : { inputs: Number(args.inputs) }),
      begin: (index) => {
        place[0] = index
        fs.writeSync(fd, bytes, 0, 8, 0)
        if (index % 64 !== 0) return
        peak = Math.max(peak, process.memoryUsage.rss())
        if (peak > MEMORY) throw new Error(`resident memory ${Math.round(peak / MiB)} MiB`)
      },
      onFailure: (failure) => void process.send?.({ failure }),
    })
    process.send?.({ done: { inputs: outcome.inputs, accepted: outcome.accepted, peak } })
  } finally {
    fs.closeSync(fd)
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

interface Totals {
  inputs: number
  accepted: number
  peak: number
  failures: number
}

/** One child from input `from` on; gives the input after the one that killed it, or undefined at the end. */
async function oneChild(
  target: Target,
  seed: number,
  from: number,
  seconds: number,
  totals: Totals,
  seen: Set<string>,
): Promise<number | undefined> {
  const progress = path.join(os.tmpdir(), `tersor-fuzz-${process.pid}-${target.name}`)
  const keep = (index: number, what: string): void => {
    totals.failures++
    const site = siteOf(what)
    if (seen.has(site)) return
    seen.add(site)
    fs.mkdirSync(args.out, { recursive: true })
    const file = path.join(args.out, `${target.name}-${seed}-${index}`)
    fs.writeFileSync(file, inputOf(target, seed, index))
    const command = `npm run fuzz -- --target ${target.name} --seed ${seed} --from ${index} --inputs 1`
    fs.writeFileSync(`${file}.txt`, `${command}\n\n${what}\n`)
    console.log(`${target.name}: input ${index}: ${what.split('\n')[0]!}\n  ${file}\n  ${command}`)
  }
  const child = cp.fork(
    import.meta.filename,
    ['--child', progress, '--target', target.name, '--seed', String(seed), '--from', String(from), '--seconds', String(seconds), ...(args.inputs === undefined ? [] : ['--inputs', args.inputs])], // prettier-ignore
    { execArgv: [...process.execArgv, '--max-old-space-size=512'], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
  )
  let stderr = ''
  child.stderr!.on('data', (data: Buffer) => (stderr = (stderr + data.toString()).slice(-4000)))
  let finished = false
  child.on(
    'message',
    (message: { failure?: { index: number; what: string }; done?: { inputs: number; accepted: number; peak: number } }) => {
      if (message.failure) keep(message.failure.index, message.failure.what)
      if (!message.done) return
      finished = true
      totals.inputs += message.done.inputs
      totals.accepted += message.done.accepted
      totals.peak = Math.max(totals.peak, message.done.peak)
    },
  )
  /** The input that the child is at; undefined before the first. */
  const position = (): number | undefined => {
    const bytes = fs.existsSync(progress) ? Uint8Array.from(fs.readFileSync(progress)) : new Uint8Array(0)
    return bytes.length === 8 ? new Float64Array(bytes.buffer)[0] : undefined
  }
  let hung = false
  let last: number | undefined
  let since = Date.now()
  const watch = setInterval(() => {
    const now = position()
    if (now !== last || now === undefined) {
      last = now
      since = Date.now()
    }
    if (Date.now() - since > HANG_MS) {
      hung = true
      child.kill('SIGKILL')
    }
  }, 500)
  const [code, signal] = await new Promise<[number | null, string | null]>((resolve) => child.on('close', (c, s) => resolve([c, s])))
  clearInterval(watch)
  const index = position() ?? from
  fs.rmSync(progress, { force: true })
  if (finished) return undefined
  totals.inputs += index - from + 1
  keep(index, hung ? 'hangs' : `the process died (${signal ?? `exit code ${code}`})\n${stderr}`)
  return index + 1
}

async function main(): Promise<void> {
  const named = args.target?.split(',')
  const unknown = named?.filter((name) => !targets.some((t) => t.name === name)) ?? []
  if (unknown.length > 0) throw new Error(`unknown target ${unknown.join(', ')}; known: ${targets.map((t) => t.name).join(', ')}`)
  const chosen = targets.filter((t) => named?.includes(t.name) ?? true)
  if (args.child !== undefined) return runChild(chosen[0]!, args.child)
  const seed = args.seed === undefined ? Date.now() % 2 ** 31 : Number(args.seed)
  let failures = 0
  for (const target of chosen) {
    const totals: Totals = { inputs: 0, accepted: 0, peak: 0, failures: 0 }
    const seen = new Set<string>()
    const end = Date.now() + 1000 * Number(args.seconds)
    let from: number | undefined = Number(args.from)
    while (from !== undefined && Date.now() < end) from = await oneChild(target, seed, from, (end - Date.now()) / 1000, totals, seen)
    failures += totals.failures
    const share = totals.inputs ? Math.round((100 * totals.accepted) / totals.inputs) : 0
    console.log(
      `${target.name}: seed ${seed}, ${totals.inputs} inputs, ${share} % accepted, ${Math.round(totals.peak / MiB)} MiB, ${totals.failures} failures of ${seen.size} kinds`,
    )
  }
  if (failures > 0) process.exitCode = 1
}

await main()
