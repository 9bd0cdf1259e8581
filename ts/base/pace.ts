/** Keeps the event loop alive during long synchronous work, and stops it when asked. */
import { AbortError } from './errors.js'

/** Longest stretch of work between two turns of the event loop, plus one step. */
const STRETCH_MS = 15

/** ERR_ABORTED with the caller's reason as its cause. */
export function abortError(where: string, signal: AbortSignal): AbortError {
  const cause: unknown = signal.reason
  return new AbortError('ERR_ABORTED', `${where}: aborted by the caller`, { cause })
}

/**
 * A function to await between steps: lets other work run when the last time is long ago, throws ERR_ABORTED when the signal (its own, or
 * the one of the call) has fired.
 */
export function pacer(where: string, ownSignal?: AbortSignal): (signal?: AbortSignal) => Promise<void> {
  let last = performance.now()
  return async (signal = ownSignal) => {
    if (signal?.aborted) throw abortError(where, signal)
    if (performance.now() - last < STRETCH_MS) return
    await new Promise<void>((resolve) => setImmediate(resolve))
    last = performance.now()
    if (signal?.aborted) throw abortError(where, signal)
  }
}
