/**
 * Waiting for a contender's threads to fall asleep. Pools of threads spin for a while after their work, some for a tenth of a second; the next
 * contender would share the processors with them.
 */
import { readFileSync, readdirSync } from 'node:fs'

/** Between two looks; asleep means asleep in this many looks in a row: a thread may wait for a moment between two tasks. */
const LOOK_MS = 1
const LOOKS = 3
const PATIENCE_MS = 400
/** Where nothing can be asked. */
const BLIND_MS = 30

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * How many threads of a process run or want to run, or undefined where /proc does not tell. A thread that spins counts also while another program
 * has its processor: its state says what it wants, not what it gets.
 */
export function runnableThreads(pid: number): number | undefined {
  try {
    let count = 0
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      const stat = readFileSync(`/proc/${pid}/task/${task}/stat`, 'utf8')
      // The name before the state stands in parentheses and may hold any character.
      if (stat[stat.lastIndexOf(')') + 2] === 'R') count++
    }
    return count
  } catch {
    return undefined
  }
}

/** Resolves when all threads of the process sleep, or after 0.4 s. */
export async function settled(pid: number): Promise<void> {
  if (runnableThreads(pid) === undefined) return sleep(BLIND_MS)
  let looks = 0
  for (const start = performance.now(); looks < LOOKS && performance.now() - start < PATIENCE_MS;) {
    await sleep(LOOK_MS)
    looks = runnableThreads(pid) ? 0 : looks + 1
  }
}
