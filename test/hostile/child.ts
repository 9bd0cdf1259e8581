/**
 * Bounds that need a process of their own: memory, stack, descriptors. Prints one JSON object: what each case did.
 * Run with --expose-gc.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { isTersorError } from '../../ts/base/errors.js'
import { parseJson } from '../../ts/base/json.js'
import { openGguf, parseGguf } from '../../ts/formats/gguf/index.js'
import { readIdx } from '../../ts/formats/idx.js'
import { readNpy } from '../../ts/formats/npy.js'
import { readNpz } from '../../ts/formats/npz.js'
import { openSafetensors, parseSafetensors, readSafetensors } from '../../ts/formats/safetensors.js'
import { safetensorsFile as file } from './build.js'
import { cpuClock } from '../cpu-time.js'

const codeOf = (run: () => unknown): string => {
  try {
    run()
    return 'ok'
  } catch (error) {
    return isTersorError(error) ? error.code : `untyped: ${String(error)}`
  }
}

const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-hostile-'))
const put = (name: string, bytes: Uint8Array): string => {
  fs.writeFileSync(path.join(dir, name), bytes)
  return path.join(dir, name)
}

/** A file of `bytes` bytes of which only the first are stored. */
function sparse(name: string, head: Uint8Array, bytes: number): string {
  const at = put(name, head)
  fs.truncateSync(at, bytes)
  return at
}

/** Code, milliseconds of processor time, and how far above the memory before the peak of the process rose. */
function measure(run: () => unknown): { code: string; ms: number; grewMiB: number } {
  global.gc?.()
  const before = process.memoryUsage().rss
  const peakBefore = process.resourceUsage().maxRSS * 1024
  const ms = cpuClock()
  const code = codeOf(run)
  const took = ms()
  const peak = process.resourceUsage().maxRSS * 1024
  return { code, ms: took, grewMiB: (peak > peakBefore ? peak - before : 0) / 2 ** 20 }
}

/** Written piece by piece: building it in memory would raise the peak that is measured. */
function putOverlapping(name: string, count: number): string {
  const at = path.join(dir, name)
  const entry = (i: number): string =>
    `${i ? ',' : '{'}"t${String(i).padStart(6, '0')}":{"dtype":"I8","shape":[160000],"data_offsets":[0,160000]}`
  const length = count * entry(1).length + 1
  const fd = fs.openSync(at, 'w')
  fs.writeSync(fd, file('', 0, BigInt(length)))
  for (let i = 0; i < count; i += 1000) fs.writeSync(fd, Array.from({ length: 1000 }, (_, k) => entry(i + k)).join(''))
  fs.writeSync(fd, '}')
  fs.writeSync(fd, new Uint8Array(160_000))
  fs.closeSync(fd)
  return at
}

const empties = (count: number): Uint8Array =>
  file(`{${Array.from({ length: count }, (_, i) => `"t${i}":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}`).join(',')}}`)

/** Magic, version 3 and counts; then the key of an array, its type, the type of its elements and their number. */
function ggufHead(tensors: bigint, keys: bigint, key = '', type = 0, of = 0, n = 0): Uint8Array {
  const head = Buffer.alloc(64)
  head.write('GGUF')
  head.writeUInt32LE(3, 4)
  head.writeBigUInt64LE(tensors, 8)
  head.writeBigUInt64LE(keys, 16)
  head.writeBigUInt64LE(BigInt(key.length), 24)
  head.write(key, 32)
  head.writeUInt32LE(type, 32 + key.length)
  head.writeUInt32LE(of, 36 + key.length)
  head.writeBigUInt64LE(BigInt(n), 40 + key.length)
  return head
}

function memory(): object {
  parseSafetensors(file('{}')) // warm
  const deep = put('g.safetensors', file('{"a":'.repeat(200_000)))
  const overlap = putOverlapping('f.safetensors', 100_000)
  const header32 = new Uint8Array(16)
  new DataView(header32.buffer).setUint32(0, 32 * 2 ** 20 + 1, true)
  header32[8] = 0x7b
  const npyHead = Buffer.from(
    "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (274877906912,), }".padEnd(128),
    'latin1',
  )
  return {
    headerOverLimit: measure(() => readSafetensors(sparse('a.safetensors', header32, 40 * 2 ** 20))),
    sparseTerabyte: measure(() => readSafetensors(sparse('b.safetensors', new Uint8Array(16), 2 ** 40))),
    sparseTerabyteNpy: measure(() => readNpy(sparse('c.npy', npyHead, 2 ** 40 + 128 - 128 * 1024))),
    sparseTerabyteIdx: measure(() => readIdx(sparse('d.idx', new Uint8Array(16), 2 ** 40))),
    sparseTerabyteGguf: measure(() => openGguf(sparse('h.gguf', ggufHead(0n, 0n), 2 ** 40))),
    ggufKeys: measure(() => openGguf(sparse('i.gguf', ggufHead(0n, 100_000n), 2 ** 40))),
    ggufStrings: measure(() => openGguf(sparse('j.gguf', ggufHead(0n, 1n, 'a', 9, 8, 2 ** 24), 64 * 2 ** 20))),
    sparseTerabyteNpz: measure(() => readNpz(sparse('e.npz', Buffer.from('PK\x03\x04'), 2 ** 40))),
    deepHeader: measure(() => readSafetensors(deep)),
    overlapping: measure(() => readSafetensors(overlap)),
  }
}

/** The factor by which time grows for each doubling, from n to 8n: a single doubling would measure caches and garbage collection too. */
function linearity(): object {
  // In turn, so that a slow phase of the machine meets both.
  const perDoubling = (make: (n: number) => Uint8Array, n: number, parse: (bytes: Uint8Array) => unknown = parseSafetensors): number => {
    const [small, large] = [make(n), make(8 * n)]
    const times = Array.from({ length: 9 }, () => [measure(() => parse(small)).ms, measure(() => parse(large)).ms] as const)
    return Math.cbrt(Math.min(...times.map(([, t]) => t)) / Math.min(...times.map(([t]) => t)))
  }
  const metadata = (n: number): Uint8Array => file(`{"__metadata__":{${Array.from({ length: n }, (_, i) => `"${i}":"x"`).join(',')}}}`)
  // Counted: keys as they are given, each a boolean.
  const ggufKeys = (n: number): Uint8Array => {
    const keys = Buffer.concat(Array.from({ length: n }, (_, i) => ggufHead(0n, 0n, String(i).padStart(8), 0).subarray(24, 45)))
    return Buffer.concat([ggufHead(0n, BigInt(n)).subarray(0, 24), keys])
  }
  return { tensors: perDoubling(empties, 5_000), metadata: perDoubling(metadata, 10_000), gguf: perDoubling(ggufKeys, 10_000, parseGguf) }
}

function keys(): object {
  const text = Buffer.from(`{${Array.from({ length: 1_000_000 }, (_, i) => `"key ${i}":${i}`).join(',')}}`)
  const twice = Buffer.from(`${text.toString().slice(0, -1)},"key 0":0}`)
  const accepted = measure(() => parseJson(text))
  const rejected = measure(() => parseJson(twice))
  return { accepted, rejected }
}

function descriptors(open: (file: string) => unknown, bad: string): object {
  const count = (): number => fs.readdirSync('/proc/self/fd').length
  const round = (): void => {
    for (let i = 0; i < 10_000; i++) if (codeOf(() => open(bad)) !== 'ERR_MODEL_FORMAT') throw new Error('read a bad file')
  }
  round()
  round()
  global.gc?.()
  const before = { fds: count(), rss: process.memoryUsage().rss }
  round()
  global.gc?.()
  return { fds: count() - before.fds, grewMiB: (process.memoryUsage().rss - before.rss) / 2 ** 20 }
}

/** Compiles a source file and what it imports to CommonJS files, leaves first. */
function compile(ts: typeof import('typescript'), source: string, done: Map<string, string>): string {
  const known = done.get(source)
  if (known !== undefined) return known
  const out = path.join(dir, `${path.basename(path.dirname(source))}-${path.basename(source, '.ts')}.cjs`)
  const options = { compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022, esModuleInterop: true } }
  const text = ts.transpileModule(fs.readFileSync(source, 'utf8'), options).outputText
  const linked = text.replace(/require\("(\.[^"]+)\.js"\)/g, (_, name: string) => {
    return `require(${JSON.stringify(compile(ts, path.resolve(path.dirname(source), `${name}.ts`), done))})`
  })
  fs.writeFileSync(out, linked)
  done.set(source, out)
  return out
}

/**
 * The deep files again, on a small stack. Of `stackSizeMb` Node keeps 192 KiB for itself, so that 0.3 leaves 115 KiB; with 0.25 Node 20 often
 * fails to start a worker, whatever it runs. The modules are loaded leaves first: nested loading would take the stack too.
 */
async function smallStack(): Promise<object> {
  const compiled = new Map<string, string>()
  const { default: ts } = await import('typescript') // only now: its memory would hide that of the cases before
  compile(ts, path.join(import.meta.dirname, 'deep-worker.ts'), compiled)
  const entry = path.join(dir, 'entry.cjs')
  fs.writeFileSync(entry, [...compiled.values()].map((name) => `require(${JSON.stringify(name)})`).join('\n'))
  const worker = new Worker(entry, { execArgv: [], resourceLimits: { stackSizeMb: 0.3 } })
  return new Promise((resolve, reject) => {
    worker.once('message', (message: object) => resolve(message))
    worker.once('error', reject)
  })
}

// In this order: later ones leave more memory behind.
const result = {
  memory: memory(),
  descriptors: fs.existsSync('/proc/self/fd')
    ? {
        safetensors: descriptors(openSafetensors, put('bad.safetensors', file('{"x":{}}'))),
        gguf: descriptors(openGguf, put('bad.gguf', ggufHead(0n, 1n, 'a', 99))),
      }
    : null,
  linearity: linearity(),
  keys: keys(),
  stack: await smallStack(),
}
fs.rmSync(dir, { recursive: true, force: true })
console.log(JSON.stringify(result))
