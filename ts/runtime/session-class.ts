/** Classes of a session's inputs: what is known of each, and what of it is told; results by name. */
import { abortError } from '../base/pace.js'
import type { DType, TypedArray } from '../base/dtype.js'
import type { Shape } from '../base/shape.js'
import { addon } from '../native/call.js'
import { Tensor } from '../tensor/index.js'
import type { Feed, SessionValue } from './values.js'

/** One class of inputs and how it runs. */
export interface SessionClass {
  /** Names, dtypes and shapes: "f32[1,784]", "ids i32[1,9] mask f32[1,9]"; and the values that it is for: "x f32[1,512] sr i64[] sr=16000". */
  readonly inputs: string
  /** Inputs whose values decide what is computed. */
  readonly byValue?: readonly string[]
  /** False: calls go one by one through JavaScript, because of `reason`. */
  readonly planned: boolean
  readonly reason?: string
  /** The eager run that was recorded, and making the plan of it (weights are packed there). */
  readonly recordMs: number
  readonly compileMs: number
  readonly runs: number
  /** The first run from call to results, with recording and planning where it did these; the shortest of those after it. Absent before such a run has ended. */
  readonly firstMs?: number
  readonly steadyMs?: number
  /** Native calls of the eager run, and steps of the plan. */
  readonly steps?: number
  /** Memory of one run in progress; what its temporaries would take side by side; weights and tables that the plan reads. */
  readonly arenaBytes?: number
  readonly separateBytes?: number
  readonly constantBytes?: number
  readonly inPlace?: number
}

export interface OutputInfo {
  readonly name: string
  readonly dtype: DType
  readonly shape: Shape
}

/** Outputs of a run: arrays, handles or tensors. Where it was eager their sizes may be other ones than those of the run before. */
export interface Ran {
  readonly outputs: readonly OutputInfo[]
  readonly out: readonly unknown[]
}

export interface Class {
  readonly key: string
  /** Numbers of the inputs whose values, not only shapes, make the class. */
  readonly byValue: readonly number[]
  readonly names: readonly string[]
  /** Number of the native plan; 0: runs eagerly. */
  readonly plan: number
  readonly reason: string
  readonly outputs: readonly OutputInfo[]
  readonly labels: readonly string[]
  readonly recordMs: number
  readonly compileMs: number
  runs: number
  firstMs?: number
  steadyMs?: number
}

/** Notes how long a run took. */
export function timed(found: Class, ms: number): void {
  if (found.firstMs === undefined) found.firstMs = ms
  else if (!(ms >= found.steadyMs!)) found.steadyMs = ms
}

/** Values of the inputs that decide what is computed for which inputs of the same shapes get a plan; with others they run eagerly. */
export const MOST_VALUES = 8

export const OTHER_VALUES = ' (other values)'

/** Inputs that decide have had too many values: the rest runs eagerly. */
export function otherValues(feed: Feed, key: string, byValue: readonly number[]): Class {
  const names = byValue.map((i) => feed.names[i] || 'input').join(', ')
  const reason = `values of ${names} decide what is computed, and ${MOST_VALUES} of them have plans`
  return { key, byValue, names: feed.names, plan: 0, reason, outputs: [], labels: [], recordMs: 0, compileMs: 0, runs: 0 }
}

export const infosOf = (entries: readonly (readonly [string, Tensor])[]): OutputInfo[] =>
  entries.map(([name, { dtype, shape }]) => ({ name, dtype, shape }))

export function valuesOf({ outputs, out }: Ran): Record<string, SessionValue> {
  // A plain object, in which a result may be named `__proto__` all the same: entries become properties of its own.
  return Object.fromEntries(outputs.map(({ name, dtype, shape }, i) => [name, { dtype, shape, data: out[i] as TypedArray }]))
}

export function tensorsOf({ outputs, out }: Ran): Record<string, Tensor> {
  return Object.fromEntries(
    outputs.map(({ name, dtype, shape }, i) => {
      const t = out[i]
      return [name, t instanceof Tensor ? t : new Tensor(t as number, dtype, shape)]
    }),
  )
}

/** What a run on this thread gave, unless the caller's signal fires in the same turn: as a run that was handed over. */
export async function unlessAborted(ran: Ran, asTensors: boolean, signal: AbortSignal | undefined): Promise<Ran> {
  if (!signal) return ran
  await Promise.resolve()
  if (!signal.aborted) return ran
  if (asTensors) for (const t of Object.values(tensorsOf(ran))) t.dispose()
  throw abortError('session', signal)
}

export function describe({ key, byValue, names, plan, reason, recordMs, compileMs, runs, firstMs, steadyMs }: Class): SessionClass {
  const values = byValue.length === 0 ? {} : { byValue: byValue.map((i) => names[i] || 'input') }
  const times = { ...(firstMs === undefined ? {} : { firstMs }), ...(steadyMs === undefined ? {} : { steadyMs }) }
  const common = { inputs: key, planned: plan !== 0, recordMs, compileMs, runs, ...times, ...values }
  if (plan === 0) return { ...common, reason }
  const { steps, arenaBytes, separateBytes, constantBytes, inPlace } = addon().planInfo(plan)
  return { ...common, steps: steps.length, arenaBytes, separateBytes, constantBytes, inPlace }
}
