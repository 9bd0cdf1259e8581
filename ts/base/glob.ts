/**
 * Patterns over dotted paths: `*` is any run of characters inside one part, `?` one of them, `**` any run of whole text; everything else
 * stands for itself. A pattern also matches what lies below a path that it matches (`conv*` matches `conv1.weight`).
 *
 * Not translated to a RegExp: the states are walked side by side, so matching costs O(pattern x path) for every input and a hostile
 * pattern cannot make it exponential.
 */
import { OptionError } from './errors.js'

export const MAX_PATTERN = 1024

const ANY_INSIDE = -1
const ANY = -2
const ONE = -3

/** Code units and wildcards of a pattern. */
function tokens(pattern: string): Int32Array {
  const out: number[] = []
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === '?') out.push(ONE)
    else if (pattern[i] !== '*') out.push(pattern.charCodeAt(i))
    else if (pattern[i + 1] === '*') {
      i++
      if (out.at(-1) !== ANY) out.push(ANY)
    } else out.push(ANY_INSIDE)
  }
  return Int32Array.from(out)
}

const DOT = '.'.charCodeAt(0)

/** A function that tells whether a path, or a path above it, matches. ERR_OPTION for an empty or overlong pattern. */
export function glob(pattern: string): (path: string) => boolean {
  if (typeof pattern !== 'string' || pattern.length === 0 || pattern.length > MAX_PATTERN)
    throw new OptionError(
      'ERR_OPTION',
      `glob: a pattern must have 1 to ${MAX_PATTERN} characters, got ${typeof pattern === 'string' ? pattern.length : typeof pattern}`,
    )
  const token = tokens(pattern)
  const n = token.length
  return (path) => {
    // state[i]: the first i tokens match what was read so far
    let state = new Uint8Array(n + 1)
    let next = new Uint8Array(n + 1)
    state[0] = 1
    skipStars(state)
    for (let at = 0; at < path.length; at++) {
      const c = path.charCodeAt(at)
      if (c === DOT && state[n]) return true
      next.fill(0)
      let alive = false
      for (let i = 0; i < n; i++) {
        if (!state[i]) continue
        const t = token[i]!
        const stays = t === ANY || (t === ANY_INSIDE && c !== DOT)
        const moves = !stays && (t === c || (t === ONE && c !== DOT))
        if (stays) next[i] = 1
        if (moves) next[i + 1] = 1
        alive ||= stays || moves
      }
      if (!alive) return false
      skipStars(next)
      ;[state, next] = [next, state]
    }
    return state[n] === 1
  }
  function skipStars(state: Uint8Array): void {
    for (let i = 0; i < n; i++) if (state[i] && (token[i] === ANY || token[i] === ANY_INSIDE)) state[i + 1] = 1
  }
}

/** True when any of the patterns matches. */
export function globs(patterns: readonly string[]): (path: string) => boolean {
  const list = patterns.map(glob)
  return (path) => list.some((matches) => matches(path))
}
