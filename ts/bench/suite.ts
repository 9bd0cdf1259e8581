/**
 * Contenders measured interleaved: rounds over all of them, a few milliseconds each, so that all see the same states of a noisy machine.
 * Ratios are taken round by round. What cannot run is listed with its reason, never dropped.
 */
import { OptionError } from '../base/errors.js'
import { machine, type Machine } from './machine.js'
import { defaultSampler, type Sampler } from './sampler.js'
import { ratio, summarize, type Summary } from './statistics.js'

export interface BenchCase {
  readonly name: string
}

/** A contender that is ready for one case and takes its own samples: another process, another clock. */
export interface Prepared {
  /** Runs for about `ms` milliseconds; nanoseconds per call. */
  sample(ms: number): number | Promise<number>
  close?(): void | Promise<void>
  /** A number that all contenders of the case should agree on, such as the sum of the results. */
  readonly check?: number
  /** Operations or bytes of one call, where only the contender knows them. */
  readonly work?: number
}

/** A function to be called, a Prepared, or why this contender cannot run the case. */
export type Ready = (() => unknown) | Prepared | { readonly unsupported: string }

export interface Contender<C extends BenchCase> {
  readonly name: string
  readonly version?: string
  /** Why it is not there at all; prepare is then not called. */
  readonly absent?: string
  prepare(c: C): Ready | Promise<Ready>
}

export interface SuiteSpec<C extends BenchCase> {
  readonly name: string
  readonly cases: readonly C[]
  /** The first one is what the others are compared with. */
  readonly contenders: readonly Contender<C>[] | ((c: C) => readonly Contender<C>[])
  /** Default: Benchmark.js where installed, else a plain loop. */
  readonly sampler?: Sampler
}

export interface RunOptions {
  /** Samples of each contender. Default 15. */
  readonly rounds?: number
  /** Length of a sample. Default 4. */
  readonly ms?: number
  /** Milliseconds that one contender may take in one case: slow ones get fewer rounds, at least 3. Default 2000. */
  readonly budgetMs?: number
  /** Stops after the running sample; what was measured is kept. */
  readonly signal?: AbortSignal
  readonly onProgress?: (p: Progress) => void
  /** Called with each case as soon as it is measured. */
  readonly onResult?: (r: CaseResult<BenchCase>) => void
}

export interface Progress {
  readonly case: string
  /** Position of the case among `total`. */
  readonly index: number
  readonly total: number
  readonly round: number
  readonly rounds: number
  readonly elapsedMs: number
  /** Estimate, NaN before the first case is done. */
  readonly remainingMs: number
}

export interface Entry {
  readonly contender: string
  readonly version?: string
  /** Nanoseconds per call of each round; NaN where it was not sampled. */
  readonly samples: readonly number[]
  readonly ns: Summary
  /** Its time over that of the case's first contender: above 1, the first one is faster. */
  readonly ratio: Summary
  readonly check?: number
  readonly work?: number
  /** Why there are no samples. */
  readonly absent?: string
}

export interface CaseResult<C extends BenchCase> {
  readonly case: C
  readonly entries: readonly Entry[]
}

export interface SuiteResult<C extends BenchCase> {
  readonly name: string
  readonly date: string
  readonly machine: Machine
  readonly sampler: string
  readonly rounds: number
  /** True when the signal stopped it: later cases are missing. */
  readonly aborted: boolean
  readonly cases: readonly CaseResult<C>[]
}

export interface Suite<C extends BenchCase> {
  run(options?: RunOptions): Promise<SuiteResult<C>>
}

/**
 * A set of cases and the contenders that run them.
 *
 * @example
 * const result = await suite({
 *   name: 'sum',
 *   cases: [{ name: '1000', values: new Float32Array(1000) }],
 *   contenders: [
 *     { name: 'loop', prepare: ({ values }) => () => { let s = 0; for (const v of values) s += v; return s } },
 *     { name: 'reduce', prepare: ({ values }) => () => values.reduce((a, b) => a + b) },
 *   ],
 * }).run({ rounds: 5 })
 * result.cases[0].entries[1].ratio.median   // how many times as long as the loop
 */
export function suite<C extends BenchCase>(spec: SuiteSpec<C>): Suite<C> {
  return { run: (options = {}) => runSuite(spec, options) }
}

async function runSuite<C extends BenchCase>(spec: SuiteSpec<C>, options: RunOptions): Promise<SuiteResult<C>> {
  const { rounds = 15, ms = 4, budgetMs = 2000, signal } = options
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new OptionError('ERR_OPTION', `suite: rounds must be a positive integer, got ${rounds} (suite: ${spec.name})`)
  if (!(ms > 0 && ms < Infinity && budgetMs > 0))
    throw new OptionError('ERR_OPTION', `suite: ms and budgetMs must be positive, got ${ms} and ${budgetMs} (suite: ${spec.name})`)
  const sampler = spec.sampler ?? (await defaultSampler())
  const start = performance.now()
  const date = new Date().toISOString()
  const cases: CaseResult<C>[] = []
  for (const [index, c] of spec.cases.entries()) {
    if (signal?.aborted) break
    const report = (round: number): void => {
      const elapsedMs = performance.now() - start
      const done = index + round / rounds
      const remainingMs = index ? (elapsedMs / done) * (spec.cases.length - done) : NaN
      options.onProgress?.({ case: c.name, index, total: spec.cases.length, round, rounds, elapsedMs, remainingMs })
    }
    const contenders = typeof spec.contenders === 'function' ? spec.contenders(c) : spec.contenders
    const result = { case: c, entries: await runCase(c, contenders, { rounds, ms, budgetMs, signal, sampler, report }) }
    // A case that was stopped early counts when it has enough rounds for a median.
    if (signal?.aborted && result.entries.some((e) => !e.absent && e.ns.count < 3)) break
    cases.push(result)
    options.onResult?.(result)
  }
  return { name: spec.name, date, machine: machine(), sampler: sampler.name, rounds, aborted: signal?.aborted ?? false, cases }
}

interface Plan {
  readonly rounds: number
  readonly ms: number
  readonly budgetMs: number
  readonly signal: AbortSignal | undefined
  readonly sampler: Sampler
  report(round: number): void
}

class Runner<C extends BenchCase> {
  prepared: Prepared | undefined
  absent: string | undefined
  readonly samples: number[] = []
  /** In how many of the rounds it is sampled. */
  count = 0
  constructor(readonly contender: Contender<C>) {
    this.absent = contender.absent
  }

  async prepare(c: C, plan: Plan): Promise<void> {
    if (this.absent !== undefined) return
    await this.guard(async () => {
      const ready = await this.contender.prepare(c)
      if (typeof ready === 'function') this.prepared = { sample: plan.sampler.wrap(ready) }
      else if ('unsupported' in ready) this.absent = ready.unsupported
      else this.prepared = ready
      // The first sample calibrates and warms; it tells how many rounds fit the budget.
      const start = performance.now()
      await this.prepared?.sample(plan.ms)
      this.count = Math.min(plan.rounds, Math.max(3, Math.floor(plan.budgetMs / (performance.now() - start))))
    })
  }

  async sample(round: number, plan: Plan): Promise<void> {
    const turns = (r: number): number => Math.floor((r * this.count) / plan.rounds)
    const isDue = this.absent === undefined && turns(round + 1) > turns(round)
    this.samples.push(NaN)
    if (isDue) await this.guard(async () => void (this.samples[round] = await this.prepared!.sample(plan.ms)))
  }

  /** One contender's failure is its own result, not the end of the run. */
  private async guard(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.absent = `failed: ${error instanceof Error ? error.message : String(error)}`
    }
  }

  entry(first: readonly number[]): Entry {
    const { contender, samples, absent, prepared } = this
    const measured = absent === undefined ? samples : []
    return {
      contender: contender.name,
      ...(contender.version === undefined ? {} : { version: contender.version }),
      samples: measured,
      ns: summarize(measured),
      ratio: ratio(first, measured),
      ...(prepared?.check === undefined ? {} : { check: prepared.check }),
      ...(prepared?.work === undefined ? {} : { work: prepared.work }),
      ...(absent === undefined ? {} : { absent }),
    }
  }
}

async function runCase<C extends BenchCase>(c: C, contenders: readonly Contender<C>[], plan: Plan): Promise<Entry[]> {
  const runners = contenders.map((one) => new Runner(one))
  try {
    plan.report(0)
    for (const runner of runners) await runner.prepare(c, plan)
    for (let round = 0; round < plan.rounds && !plan.signal?.aborted; round++) {
      // Each round begins with another one: whoever comes after a slow neighbour is not always the same.
      for (let i = 0; i < runners.length; i++) await runners[(i + round) % runners.length]!.sample(round, plan)
      plan.report(round + 1)
    }
  } finally {
    for (const runner of runners) await runner.prepared?.close?.()
  }
  const first = runners[0]?.samples ?? []
  return runners.map((runner) => runner.entry(first))
}
