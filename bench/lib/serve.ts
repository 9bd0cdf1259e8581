/** The contender's side of the protocol for Node programs. Samples are taken by Benchmark.js (promises by a plain loop). */
import { readFileSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { defaultSampler } from '../../ts/bench/sampler.js'
import type { Hello, Job } from './protocol.js'

export interface ServedCase {
  /** Visited in turn: more than one for weights that must come from memory. A promise is awaited. */
  readonly calls: readonly (() => unknown)[]
  readonly check?: number
  /** Bytes by which resident memory grew at most in preparation and two calls. */
  readonly peak?: number
  /** Bytes of tensors at most, where the contender counts them. */
  readonly tensors?: number
  release?(): void | Promise<void>
}

const status = (field: string): number =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? 0) * 1024
let start = 0
let tensors = 0
/** The package's own count of tensor bytes. */
interface Counting {
  memory(): { readonly bytes: number; readonly peakBytes: number }
  resetPeakMemory(): void
}
/** Highest resident memory (on Linux) and tensor bytes are counted from here on. What JavaScript has dropped before does not count as there. */
export function resetPeak(api: Counting): void {
  api.resetPeakMemory()
  tensors = api.memory().bytes
  if (process.platform !== 'linux') return
  global.gc?.()
  writeFileSync('/proc/self/clear_refs', '5')
  start = status('VmRSS')
}
/** Bytes by which resident memory grew at most since resetPeak. */
const peakGrowth = (): number => (process.platform === 'linux' ? status('VmHWM') - start : 0)

/** With what `served` needs at most from resetPeak() to the end of two calls. */
export function withPeak(served: ServedCase, api: Counting): ServedCase {
  for (let i = 0; i < 2; i++) served.calls[0]!()
  return { ...served, peak: peakGrowth(), tensors: api.memory().peakBytes - tensors }
}

export class Unsupported extends Error {}

interface Request {
  readonly id: number
  readonly op: string
  readonly slot?: number
  readonly ms?: number
}

/** Answers until stdin ends. `prepare` throws Unsupported for what it cannot run. */
export async function serve(hello: Hello, prepare: (job: Job) => ServedCase | Promise<ServedCase>): Promise<void> {
  const sampler = await defaultSampler()
  const slots = new Map<number, { served: ServedCase; sample: (ms: number) => number | Promise<number> }>()
  const answer = async (request: Request): Promise<object> => {
    const { slot = 0 } = request
    switch (request.op) {
      case 'hello':
        return hello
      case 'prepare': {
        await slots.get(slot)?.served.release?.()
        slots.delete(slot)
        const served = await prepare(request as unknown as Job)
        slots.set(slot, { served, sample: sampler.wrap(inTurn(served.calls)) })
        return {
          ok: true,
          ...(served.check === undefined ? {} : { check: served.check }),
          ...(served.peak ? { peak: served.peak } : {}),
          ...(served.tensors ? { tensors: served.tensors } : {}),
        }
      }
      case 'sample': {
        const prepared = slots.get(slot)
        if (!prepared) throw new Error('sample before prepare')
        return { ns: await prepared.sample(request.ms ?? 4) }
      }
      case 'release':
        for (const { served } of slots.values()) await served.release?.()
        slots.clear()
        return { ok: true }
      default:
        throw new Error(`unknown op ${request.op}`)
    }
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line) as Request
    let reply: object
    try {
      reply = await answer(request)
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error)
      reply = error instanceof Unsupported ? { unsupported: text } : { error: text }
    }
    process.stdout.write(`${JSON.stringify({ id: request.id, ...reply })}\n`)
  }
}

function inTurn(calls: readonly (() => unknown)[]): () => unknown {
  if (calls.length === 1) return calls[0]!
  let next = 0
  return () => {
    const call = calls[next]!
    next = next + 1 === calls.length ? 0 : next + 1
    return call()
  }
}
