/** What is fuzzed: a target makes an input from random numbers, and reads it as a user would. A value or a TersorError must come of it. */
import type { Random } from './mutate.js'

export interface Target {
  readonly name: string
  /** Milliseconds that reading may take beyond the bound of a parser, because it goes on to work with what was read. */
  readonly workMs?: number
  readonly make: (r: Random) => Uint8Array
  /** `folder` is empty and belongs to the run. */
  readonly read: (bytes: Uint8Array, folder: string) => void | Promise<void>
}

/** Which of several seeds or ways to read is meant, before the bytes. */
export const numbered = (k: number, bytes: Uint8Array): Uint8Array => Uint8Array.from([k, ...bytes])
