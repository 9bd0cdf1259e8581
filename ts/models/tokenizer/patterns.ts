/**
 * Regular expressions of a tokenizer.json. They run in JavaScript's backtracking engine, so a hostile one takes exponential time on a short text ("(a+)+$"). Those whose time is at
 * most quadratic from each place of the text, by their form (as those of the tokenizers in the test), run as they are on short texts; with any other, and on long texts, encoding gets a time limit.
 */
import type { Json } from '../../base/json-types.js'
import { withTimeLimit } from '../../native/time-limit.js'

/** Milliseconds for a text whose tokenizer has a pattern that may take exponential time: so many, and so many more for each 1000 characters. */
const LEAST_MS = 1000
const MS_PER_THOUSAND = 100
/** Characters up to which tame patterns need no limit: quadratic from each place is cubic over a text. */
export const SHORT_TEXT = 1000

/** Values of "Regex" anywhere in the file: splits, replacements. */
export function patternsOf(json: Json): string[] {
  const found: string[] = []
  const open: Json[] = [json]
  while (open.length > 0) {
    const v = open.pop()!
    if (typeof v !== 'object' || v === null) continue
    // Vocabularies and merges hold no patterns, and are long.
    for (const [key, inner] of Object.entries(v)) {
      if (key === 'Regex' && typeof inner === 'string') found.push(inner)
      else if (key !== 'vocab' && key !== 'merges' && typeof inner === 'object') open.push(inner)
    }
  }
  return found
}

/** What the paths through a pattern meet. */
interface Met {
  /** Unbounded repetitions. */
  readonly unbounded: number
  /** Places where a path may go on in two ways: optional atoms, ranges, alternatives. */
  readonly choices: number
}
interface Group {
  most: Met
  here: Met
}
const nothing: Met = { unbounded: 0, choices: 0 }
const plus = (a: Met, b: Met): Met => ({ unbounded: a.unbounded + b.unbounded, choices: a.choices + b.choices })
const larger = (a: Met, b: Met): Met => ({ unbounded: Math.max(a.unbounded, b.unbounded), choices: Math.max(a.choices, b.choices) })
/** Of the least and most times, behind an atom; undefined where no quantifier stands at i. */
function quantifierAt(pattern: string, i: number): { readonly least: number; readonly most: number; readonly length: number } | undefined {
  const c = pattern[i]
  if (c === '*' || c === '+') return { least: c === '*' ? 0 : 1, most: Infinity, length: 1 }
  if (c === '?') return { least: 0, most: 1, length: 1 }
  const range = c === '{' ? /^\{(\d+)(,?)(\d*)\}/.exec(pattern.slice(i, i + 24)) : null
  if (!range) return undefined
  const least = Number(range[1])
  return { least, most: range[2] === '' ? least : range[3] === '' ? Infinity : Number(range[3]), length: range[0].length }
}
/** Ranges that are longer count as unbounded. */
const SHORT = 64
const MOST: Met = { unbounded: 2, choices: 8 }

/**
 * Whether a pattern takes at most quadratic time from each place of a text, by its form: what is repeated has no choice inside, and no path meets more than two unbounded repetitions and
 * a few other choices. Back references and unbalanced patterns are not: false where in doubt.
 */
export function isTame(pattern: string): boolean {
  const groups: Group[] = [{ most: nothing, here: nothing }]
  /** What the last atom holds, for a quantifier behind it. */
  let atom: Met | undefined
  for (let i = 0; i < pattern.length; i++) {
    const c = pattern[i]!
    const group = groups.at(-1)!
    const times = quantifierAt(pattern, i)
    if (times) {
      if (!atom || (times.most > 1 && (atom.unbounded > 0 || atom.choices > 0))) return false
      if (times.most > SHORT) group.here = plus(group.here, { unbounded: 1, choices: 0 })
      else if (times.most > times.least) group.here = plus(group.here, { unbounded: 0, choices: 1 })
      i += times.length - 1
      if (pattern[i + 1] === '?' || pattern[i + 1] === '+') i++ // lazy
      atom = undefined
    } else if (c === '\\') {
      if (/[1-9k]/.test(pattern[i + 1] ?? '1')) return false
      i += /^[pP]\{[^}]*\}/.exec(pattern.slice(i + 1, i + 80))?.[0].length ?? 1
      atom = nothing
    } else if (c === '[') {
      for (i++; i < pattern.length && (pattern[i] !== ']' || pattern[i - 1] === '['); i++) if (pattern[i] === '\\') i++
      if (i >= pattern.length) return false
      atom = nothing
    } else if (c === '(') {
      groups.push({ most: nothing, here: nothing })
      i += /^\?(?:[:=!>]|<[=!]|<[^>]*>|[a-z-]*:)/.exec(pattern.slice(i + 1, i + 80))?.[0].length ?? 0
      atom = undefined
    } else if (c === ')') {
      if (groups.length === 1) return false
      const inner = groups.pop()!
      atom = larger(inner.most, inner.here)
      groups.at(-1)!.here = plus(groups.at(-1)!.here, atom)
    } else if (c === '|') {
      // At the top only one alternative is taken at each place of the text; inside, what follows the group may come back for the next.
      group.most = larger(group.most, groups.length > 1 ? plus(group.here, { unbounded: 0, choices: 1 }) : group.here)
      group.here = nothing
      atom = undefined
    } else atom = nothing
  }
  const whole = larger(groups[0]!.most, groups[0]!.here)
  return groups.length === 1 && whole.unbounded <= MOST.unbounded && whole.choices <= MOST.choices
}

/** Runs `work`, which encodes `length` characters, within the time for them; ERR_LIMIT when it takes longer. */
export function withinTime<T>(length: number, work: () => T): T {
  const timeout = LEAST_MS + Math.ceil((length * MS_PER_THOUSAND) / 1000)
  return withTimeLimit(
    timeout,
    work,
    () => `tokenizer: a regular expression of this tokenizer.json took more than ${timeout} ms for a text of ${length} characters`,
  )
}
