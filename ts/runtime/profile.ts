/** What the steps of a plan cost: medians over runs, by layer, and a trace for Chrome's viewer (chrome://tracing, ui.perfetto.dev). */
import { writeFileSync } from 'node:fs'
import type { NativePlan } from '../native/addon.js'

export interface ProfileStep {
  readonly op: string
  /** Path of the module that called it; '' for the root, or where a function was given. */
  readonly layer: string
  readonly inputs: string
  readonly results: string
  /** Median. */
  readonly ms: number
  /** Of the time of all steps. */
  readonly share: number
}

export class Profile {
  /** Median time of a run, from the first step to the last. */
  readonly ms: number
  readonly runs: number
  readonly steps: readonly ProfileStep[]
  readonly #times: readonly Float64Array[]

  /** @internal times: begin and end of each step in nanoseconds, one array per run. */
  constructor(plan: NativePlan, labels: readonly string[], times: readonly Float64Array[]) {
    const count = plan.steps.length
    const ms = plan.steps.map((_, i) => median(times.map((t) => (t[2 * i + 1]! - t[2 * i]!) / 1e6)))
    const all = ms.reduce((a, b) => a + b, 0)
    this.#times = times
    this.runs = times.length
    this.ms = count === 0 ? 0 : median(times.map((t) => (t[2 * count - 1]! - t[0]!) / 1e6))
    this.steps = plan.steps.map(({ op, inputs, results, label }, i) => ({
      op,
      layer: labels[label] ?? '',
      inputs,
      results,
      ms: ms[i]!,
      share: all > 0 ? ms[i]! / all : 0,
    }))
  }

  /** Sums of the medians by op, the dearest first. */
  byOp(): { readonly op: string; readonly calls: number; readonly ms: number; readonly share: number }[] {
    return sums(this.steps, (s) => s.op).map(({ key, ...rest }) => ({ op: key, ...rest }))
  }

  /** Sums of the medians by layer, the dearest first. */
  byLayer(): { readonly layer: string; readonly calls: number; readonly ms: number; readonly share: number }[] {
    return sums(this.steps, (s) => s.layer).map(({ key, ...rest }) => ({ layer: key, ...rest }))
  }

  /** All runs as the JSON text of a trace: one complete event per step, times from the first step of the first run. */
  trace(): string {
    const start = this.#times[0]?.[0] ?? 0
    const micros = (ns: number): number => (ns - start) / 1000
    const events = this.#times.flatMap((times, run) =>
      this.steps.map(({ op, layer, inputs, results }, i) => ({
        name: layer ? `${op} ${layer}` : op,
        cat: 'op',
        ph: 'X',
        ts: micros(times[2 * i]!),
        dur: (times[2 * i + 1]! - times[2 * i]!) / 1000,
        pid: 1,
        tid: 1,
        args: { run, inputs, results },
      })),
    )
    return JSON.stringify({ displayTimeUnit: 'ns', traceEvents: events })
  }

  /** Writes `trace()` to a file. */
  saveTrace(path: string): void {
    writeFileSync(path, this.trace())
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length >> 1
  return sorted.length % 2 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2
}

function sums(
  steps: readonly ProfileStep[],
  keyOf: (s: ProfileStep) => string,
): { key: string; calls: number; ms: number; share: number }[] {
  const found = new Map<string, { key: string; calls: number; ms: number; share: number }>()
  for (const s of steps) {
    const key = keyOf(s)
    const sum = found.get(key) ?? { key, calls: 0, ms: 0, share: 0 }
    found.set(key, { key, calls: sum.calls + 1, ms: sum.ms + s.ms, share: sum.share + s.share })
  }
  return [...found.values()].sort((a, b) => b.ms - a.ms)
}
