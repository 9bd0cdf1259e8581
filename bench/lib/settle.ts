/**
 * Waiting for a contender's threads to fall asleep. Pools of threads spin for a while after their work, some for a tenth of a second; the next
 * contender would share the processors with them.
 */
import { readFileSync, readdirSync } from 'node:fs'

/** The kernel counts running threads at its clock ticks (1 to 10 ms). */
const WINDOW_MS = 8
const PATIENCE_MS = 400
/** Where nothing can be asked. */
const BLIND_MS = 30

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Nanoseconds that all threads of a process have run, or undefined where /proc does not tell. */
export function runtimeOf(pid: number): number | undefined {
  try {
    let sum = 0
    for (const task of readdirSync(`/proc/${pid}/task`))
      sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0])
    return Number.isNaN(sum) ? undefined : sum
  } catch {
    return undefined
  }
}

/** Resolves when the process has used under a tenth of one processor for a while, or after 0.4 s of it. */
export async function settled(pid: number): Promise<void> {
  let before = runtimeOf(pid)
  if (before === undefined) return sleep(BLIND_MS)
  for (const start = performance.now(); performance.now() - start < PATIENCE_MS;) {
    const from = performance.now()
    await sleep(WINDOW_MS)
    const now = runtimeOf(pid)
    if (now === undefined || (now - before) / 1e6 < 0.1 * (performance.now() - from)) return
    before = now
  }
}
