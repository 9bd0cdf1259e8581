/** One input after the other through a target: a value or a TersorError, within a bound of processor time. */
import { isTersorError } from '../../ts/base/errors.js'
import { cpuClock } from '../cpu-time.js'
import { inputOf, type Target } from './targets.js'

export interface Failure {
  readonly target: string
  readonly seed: number
  readonly index: number
  readonly what: string
}

export interface Outcome {
  readonly inputs: number
  readonly accepted: number
  readonly failures: readonly Failure[]
}

export interface FuzzOptions {
  readonly seed: number
  /** First input. */
  readonly from?: number
  /** Stop after so many inputs, or so many milliseconds. */
  readonly inputs?: number
  readonly ms?: number
  /** Before each input. */
  readonly begin?: (index: number) => void
  readonly onFailure?: (failure: Failure) => void
}

/** Milliseconds of processor time that an input of `bytes` may take (the least of three attempts). */
const boundOf = (bytes: number): number => 250 + (20 * bytes) / 2 ** 20

/** undefined: fine. */
async function tried(target: Target, bytes: Uint8Array, folder: string): Promise<{ accepted: boolean; what?: string }> {
  try {
    await target.read(bytes, folder)
    return { accepted: true }
  } catch (error) {
    if (isTersorError(error)) return error.code === 'ERR_INTERNAL' ? { accepted: false, what: error.message } : { accepted: false }
    return { accepted: false, what: error instanceof Error ? (error.stack ?? error.message) : String(error) }
  }
}

export async function fuzz(target: Target, folder: string, options: FuzzOptions): Promise<Outcome> {
  const { seed, from = 0, inputs = Infinity, ms = Infinity } = options
  const failures: Failure[] = []
  const started = performance.now()
  let accepted = 0
  let index = from
  for (; index - from < inputs && performance.now() - started < ms; index++) {
    options.begin?.(index)
    const bytes = inputOf(target, seed, index)
    const used = cpuClock()
    const outcome = await tried(target, bytes, folder)
    let { what } = outcome
    const bound = boundOf(bytes.length) + (target.workMs ?? 0)
    let took = used()
    // Compilation and collection only ever add time.
    for (let again = 0; again < 2 && took > bound && what === undefined; again++) {
      const spent = cpuClock()
      await tried(target, bytes, folder)
      took = Math.min(took, spent())
    }
    if (what === undefined && took > bound) what = `took ${took.toFixed(0)} ms, allowed are ${bound.toFixed(0)}`
    if (outcome.accepted) accepted++
    if (what !== undefined) {
      const failure = { target: target.name, seed, index, what }
      failures.push(failure)
      options.onFailure?.(failure)
    }
  }
  return { inputs: index - from, accepted, failures }
}
