/**
 * Turns of the event loop for others. A run that is computed on the calling thread settles its promise at once, and what follows goes on as a microtask: a
 * loop that awaits such runs would keep timers and sockets waiting for as long as it lasts.
 */
import { setImmediate } from 'node:timers/promises'

/** Milliseconds of such calls before others have a turn. */
const HELD_UP = 2

let held = 0

/** To be awaited behind a call that took `ms` of this thread, where it gives a promise. */
export function letOthersRun(ms: number): Promise<void> | undefined {
  held += ms
  if (held < HELD_UP) return undefined
  held = 0
  return setImmediate()
}
