/** Process-wide facts and switches: instruction sets, kernel rows, threads, memory. */
import type { NativeIsa, NativeMemory, NativeRow } from './addon.js'
import { addon, nativeError } from './call.js'

export type { NativeIsa, NativeMemory, NativeRow } from './addon.js'

/** Native memory of the process (bytes, peak, budget) and of this thread's tensors. */
export function memory(): NativeMemory {
  return addon().memory()
}

/** Starts a new peak measurement. */
export function resetPeakMemory(): void {
  addon().resetPeak()
}

/** Largest number of native bytes the process may hold; 0 = the default share of RAM (TERSOR_MAX_BYTES). Beyond it: ERR_MEMORY_BUDGET. */
export function setMemoryBudget(bytes: number): void {
  const native = addon()
  if (native.setMemoryBudget(bytes) < 0) throw nativeError(native)
}

export function threads(): number {
  return addon().threads()
}

/** Threads that one operation may use, 1 to 256. Results do not depend on it. */
export function setThreads(n: number): void {
  const native = addon()
  if (native.setThreads(n) < 0) throw nativeError(native)
}

export function isa(): NativeIsa {
  return addon().isa()
}

/** Every kernel row of every family: which one runs on this machine, and what the others would need. */
export function kernelRows(): readonly NativeRow[] {
  return addon().kernelRows()
}
