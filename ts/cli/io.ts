/**
 * Where a command writes and where its exit code goes: the process, or for the time of {@link withIo} what a caller gave. Commands that run side by side
 * in one process each have their own.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import pc from 'picocolors'

export interface Output {
  write(text: string): unknown
  readonly isTTY?: boolean
}
export interface Io {
  readonly stdout: Output
  readonly stderr: Output
  exitCode?: number | string | null | undefined
}

const given = new AsyncLocalStorage<Io>()
const plain = pc.createColors(false)

export const io = (): Io => given.getStore() ?? process
/** Colors of the terminal; none where a caller captures what is written. */
export const colors = (): typeof pc => (given.getStore() ? { ...pc, ...plain } : pc)
export const withIo = <T>(own: Io, run: () => T): T => given.run(own, run)
