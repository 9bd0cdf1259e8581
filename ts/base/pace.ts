/** Keeps the event loop alive during long synchronous work, and stops it when asked. */
import { AbortError } from './errors.js'

/** Longest stretch of work between two turns of the event loop, plus one step. */
const STRETCH_MS = 15

/** Longest time that work under way elsewhere is waited for: reading a small file takes a turn of the event loop per system call. */
const PAUSE_MS = 2

/** Requests of others (files, names, sockets that were written to) whose answers come in further turns. */
function othersWait(): boolean {
  return process.getActiveResourcesInfo().some((name) => name.includes('Req'))
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

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
    const began = performance.now()
    do await turn()
    while (othersWait() && performance.now() - began < PAUSE_MS)
    last = performance.now()
    if (signal?.aborted) throw abortError(where, signal)
  }
}
