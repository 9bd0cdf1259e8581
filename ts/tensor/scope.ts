/**
 * scope(fn): every tensor made inside is disposed when fn returns, except those in its result (also nested in arrays, maps and plain
 * objects) and those passed to keep(). Inside a function that is being differentiated they are freed with the tape instead.
 * Scopes are synchronous; across an await use dispose() or `using`.
 */
import { OptionError } from '../base/errors.js'

interface Disposable {
  dispose(): void
}

export class Scope {
  #made = new Set<Disposable>()
  add(t: Disposable): void {
    this.#made.add(t)
  }
  delete(t: Disposable): void {
    this.#made.delete(t)
  }
  has(t: Disposable): boolean {
    return this.#made.has(t)
  }
  /** Takes the chosen ones out: their owner disposes them. */
  release(chosen: (t: Disposable) => boolean): Set<Disposable> {
    const out = new Set<Disposable>()
    for (const t of this.#made) if (chosen(t)) out.add(t)
    for (const t of out) this.#made.delete(t)
    return out
  }
  /** Disposes what was made here and is not in `kept`, which moves to `parent`. While a tape is open everything moves. */
  close(kept: ReadonlySet<unknown>, parent: Scope | undefined): void {
    for (const t of this.#made)
      if (openTapes > 0 || kept.has(t)) parent?.add(t)
      else t.dispose()
    this.#made.clear()
  }
}

const nothing: ReadonlySet<unknown> = new Set()
const stack: Scope[] = []
let openTapes = 0

/**
 * @internal A tape may hold any tensor that is made while it is open, so a scope that closes inside it hands its tensors to the scope that
 * the tape runs in, which frees them when the gradients are done.
 */
export const tapeScopes = {
  open: (): void => void openTapes++,
  close: (): void => void openTapes--,
}

export function currentScope(): Scope | undefined {
  return stack.length > 0 ? stack[stack.length - 1] : undefined // an index of -1 would take the slow path of property lookup
}

const plain = new WeakSet<object>()

/** @internal Says that no tensor is in a value, now or later: it is not searched, and what it would have to make first is not made. */
export function withoutTensors<T extends object>(value: T): T {
  plain.add(value)
  return value
}

/** Everything that looks like a tensor in a value: arrays, maps, sets and plain objects are searched. */
export function collectDisposables(value: unknown, found = new Set<unknown>(), seen = new Set<unknown>()): Set<unknown> {
  if (typeof value !== 'object' || value === null || seen.has(value) || plain.has(value)) return found
  seen.add(value)
  if ('handle' in value && 'dispose' in value) found.add(value)
  else if (Array.isArray(value) || value instanceof Set) for (const v of value) collectDisposables(v, found, seen)
  else if (value instanceof Map) for (const v of value.values()) collectDisposables(v, found, seen)
  else if (!ArrayBuffer.isView(value)) for (const v of Object.values(value)) collectDisposables(v, found, seen)
  return found
}

/**
 * Runs fn and frees what it made but did not return.
 *
 * @example
 * const y = scope(() => mul(add(a, b), c)) // the sum is freed, y stays
 */
export function scope<T>(fn: () => T): T {
  return withScope(new Scope(), fn)
}

/** @internal The same with a Scope that the caller can question while fn runs. */
export function withScope<T>(own: Scope, fn: () => T): T {
  stack.push(own)
  let kept = nothing
  try {
    const result = fn()
    if (result instanceof Promise)
      throw new OptionError(
        'ERR_OPTION',
        'scope: the function must be synchronous, it returned a promise; dispose tensors by hand across an await',
      )
    if (typeof result === 'object') kept = collectDisposables(result)
    return result
  } finally {
    stack.pop()
    own.close(kept, currentScope())
  }
}

/** Takes tensors out of every open scope: from now on their owner disposes them. Returns its argument. */
export function keep<T>(value: T): T {
  const kept = collectDisposables(value)
  for (const s of stack) for (const t of kept) s.delete(t as Disposable)
  return value
}
