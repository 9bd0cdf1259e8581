/** How one sample is taken: a function is called for some milliseconds, and the mean time of a call comes back. */
import { UnsupportedError } from '../base/errors.js'

export interface Sampler {
  /** Name and version: stands in the results. */
  readonly name: string
  /** Prepares a function for sampling; the result warms up, takes one sample of about `ms` milliseconds and gives
   * nanoseconds per call. */
  wrap(fn: () => unknown): (ms: number) => number | Promise<number>
}

const now = (): number => Number(process.hrtime.bigint())
const isPromise = (x: unknown): x is PromiseLike<unknown> => typeof (x as PromiseLike<unknown> | null)?.then === 'function'

/** Mean ns of n calls in a row; a promise is awaited before the next call. */
async function timeAsync(fn: () => unknown, n: number): Promise<number> {
  const start = now()
  for (let i = 0; i < n; i++) await fn()
  return (now() - start) / n
}

/** Half of a sample's time again goes before it, untimed: what ran in between has taken the caches, and pools of threads have to wake. */
const WARM_SHARE = 0.5
/** Nanoseconds: a call as long as this warms up within itself and is its own sample. */
const LONG_CALL = 20e6

/** Calls until the warm-up's time is filled, at least once; ns of the last call. */
async function warmUp(fn: () => unknown, ms: number): Promise<{ readonly ns: number; readonly isAsync: boolean }> {
  const start = now()
  let isAsync = false
  for (let begin = start; ;) {
    const result = fn()
    if (isPromise(result)) {
      isAsync = true
      await result
    }
    const end = now()
    if (end - begin > LONG_CALL || end - start > WARM_SHARE * ms * 1e6) return { ns: Math.max(1, end - begin), isAsync }
    begin = end
  }
}

/** A plain loop: the count grows until it fills the time, and is kept from sample to sample. */
export function loopSampler(): Sampler {
  return {
    name: 'loop',
    wrap(fn) {
      let count = 0
      let isAsync = false
      const timeSync = (n: number): number => {
        const start = now()
        for (let i = 0; i < n; i++) fn()
        return (now() - start) / n
      }
      return async (ms) => {
        const once = await warmUp(fn, ms)
        isAsync ||= once.isAsync
        if (once.ns > LONG_CALL) return once.ns
        if (!count) count = Math.max(1, Math.floor((ms * 1e6) / once.ns))
        for (let tries = 0; ; tries++) {
          const each = isAsync ? await timeAsync(fn, count) : timeSync(count)
          const wanted = Math.max(1, Math.floor((ms * 1e6) / Math.max(each, 0.1)))
          const enough = count * 2 >= wanted || tries === 4
          count = Math.min(wanted, count * 64)
          if (enough) return each
        }
      }
    },
  }
}

interface OneBenchmark {
  count: number
  readonly stats: { readonly mean: number; readonly sample: readonly number[] }
  readonly error?: unknown
  reset(): void
  run(options: { async: boolean }): void
}
interface BenchmarkModule {
  new (options: Record<string, unknown>): OneBenchmark
  readonly version: string
}

/**
 * Benchmark.js (the package `benchmark`): its compiled loop and its calibration; one run of it is one sample. Functions that return a promise
 * are measured by the plain loop: Benchmark.js would add a turn of its own to each call. ERR_UNSUPPORTED when the package is not installed.
 */
export async function benchmarkSampler(): Promise<Sampler> {
  let Benchmark: BenchmarkModule
  try {
    Benchmark = ((await import('benchmark')) as unknown as { default: BenchmarkModule }).default
  } catch (cause) {
    throw new UnsupportedError('ERR_UNSUPPORTED', "benchmarkSampler: the package 'benchmark' did not load; npm install benchmark", {
      cause,
    })
  }
  const loop = loopSampler()
  return {
    name: `Benchmark.js ${Benchmark.version}`,
    wrap(fn) {
      let bench: OneBenchmark | undefined
      let inLoop: ((ms: number) => number | Promise<number>) | undefined
      return async (ms) => {
        if (inLoop) return inLoop(ms)
        const once = await warmUp(fn, ms)
        if (once.isAsync) return (inLoop = loop.wrap(fn))(ms)
        if (once.ns > LONG_CALL) return once.ns
        // One sample of at least this time: without these two, it repeats until its own statistics are satisfied.
        bench ??= new Benchmark({ fn, minTime: ms / 1000, minSamples: 1, maxTime: 0 })
        const { count } = bench
        bench.reset()
        bench.count = count // what the last sample was calibrated to
        bench.run({ async: false })
        if (bench.error !== undefined) throw bench.error as Error
        return bench.stats.mean * 1e9
      }
    },
  }
}

/** Benchmark.js where it is installed, else the plain loop; the results say which. */
export async function defaultSampler(): Promise<Sampler> {
  return benchmarkSampler().catch(() => loopSampler())
}
