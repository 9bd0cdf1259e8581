/** How long a model takes from its file to the first output and from then on: what `tersor run` and `tersor bench` say. */
import { loadModel } from '../models/file.js'
import type { Model } from '../nn/index.js'
import { formatMs } from '../report/format.js'
import { session, type Session, type SessionClass, type SessionInputs, type SessionOptions, type SessionValue } from '../runtime/index.js'

/** Milliseconds. The first output came after `firstOutputMs`: loading, graph passes, plan and first run; making the inputs does not count. */
export interface StartTimes {
  readonly loadMs: number
  /** Graph passes, of imported graphs. */
  readonly optimizeMs: number
  /** The run that is recorded, and making the plan of it. */
  readonly planMs: number
  readonly firstOutputMs: number
  /** The middle one of `steadyRuns` runs. */
  readonly steadyMs: number
  readonly steadyRuns: number
}
export interface Started {
  readonly model: Model
  readonly session: Session
  readonly prepared: SessionClass
  readonly inputs: SessionInputs
  readonly values: Record<string, SessionValue>
  readonly times: StartTimes
}

const MOST_RUNS = 20
const MOST_MS = 250

/** Loads a model, makes its plan for the inputs, runs once, and then again for up to a quarter of a second. The caller disposes session and model. */
export async function start(
  file: string,
  inputsOf: (model: Model) => SessionInputs,
  options: SessionOptions & { readonly signal?: AbortSignal } = {},
): Promise<Started> {
  const { signal, ...rest } = options
  const run = { ...(signal ? { signal } : {}) }
  const began = performance.now()
  const model = loadModel(file)
  const loadMs = performance.now() - began
  const inputs = inputsOf(model)
  const again = performance.now()
  const s = session(model, rest)
  const prepared = s.prepare(inputs)
  const values = await s.run(inputs, run)
  const first = performance.now()
  const runs: number[] = []
  while (runs.length < MOST_RUNS && (runs.length === 0 || performance.now() - first < MOST_MS)) {
    const from = performance.now()
    await s.run(inputs, run)
    runs.push(performance.now() - from)
  }
  const times = {
    loadMs,
    optimizeMs: s.info().optimizeMs,
    planMs: prepared.recordMs + prepared.compileMs,
    firstOutputMs: loadMs + first - again,
    steadyMs: runs.sort((a, b) => a - b)[runs.length >> 1]!,
    steadyRuns: runs.length,
  }
  return { model, session: s, prepared, inputs, values, times }
}

export function timesText(
  { loadMs, optimizeMs, planMs, firstOutputMs, steadyMs, steadyRuns }: StartTimes,
  { planned, steps, reason }: SessionClass,
): string {
  const passes = optimizeMs > 0 ? `, graph passes ${formatMs(optimizeMs)}` : ''
  const plan = planned ? `plan of ${steps} steps ${formatMs(planMs)}` : `no plan (runs eagerly: ${reason})`
  return `load ${formatMs(loadMs)}${passes}, ${plan}; first output after ${formatMs(firstOutputMs)}, then ${formatMs(steadyMs)} a run (middle of ${steadyRuns})`
}
