/**
 * Keys and values of the tokens that a decoder has seen, so that each new token costs one row: attention layers with `causal` find it in
 * `ForwardContext.cache`, append the keys and values of the tokens that they are given and attend to all. Not for training.
 */
import { OptionError, ShapeError } from '../base/errors.js'
import { permute, slice } from '../autograd/index.js'
import { assign } from '../ops/in-place.js'
import { keep, scope, zeros, type Tensor } from '../tensor/index.js'

interface Entry {
  keys: Tensor
  values: Tensor
  length: number
}

/**
 * @example
 * const cache = new KeyValueCache()
 * // scores of a prompt, then of one more token
 * // model.forward(prompt, { cache }); model.forward(next, { cache })
 * cache.dispose()
 */
export class KeyValueCache {
  readonly #entries = new Map<string, Entry>()
  readonly #positions = new Map<string, number>()
  readonly #capacity: number

  /** Room for `capacity` tokens at first; it grows by itself. */
  constructor(capacity = 64) {
    if (!(Number.isSafeInteger(capacity) && capacity > 0))
      throw new OptionError('ERR_OPTION', `KeyValueCache: capacity must be an integer >= 1, got ${capacity}`)
    this.#capacity = capacity
  }

  /** Tokens seen so far by the layers that have run. */
  get length(): number {
    return Math.max(0, ...[...this.#entries.values()].map((e) => e.length), ...this.#positions.values())
  }

  /** Puts k and v [B, T, C] behind those of the layer at `path`; gives all of them, as views that hold until the next call. */
  append(path: string, k: Tensor, v: Tensor): { keys: Tensor; values: Tensor } {
    const [b, t] = k.shape as [number, number, number]
    let entry = this.#entries.get(path)
    const fits = (old: Tensor, x: Tensor): boolean => old.shape[1] === x.shape[0] && old.shape[2] === x.shape[2] && old.dtype === x.dtype
    if (entry && !(fits(entry.keys, k) && fits(entry.values, v)))
      throw new ShapeError('ERR_SHAPE', `KeyValueCache: "${path}" holds ${entry.keys} and ${entry.values}, got ${k} and ${v}`)
    const length = (entry?.length ?? 0) + t
    if (!entry || length > entry.keys.shape[0]!) {
      const room = Math.max(length, entry ? 2 * entry.keys.shape[0]! : this.#capacity)
      const grown = { keys: keep(zeros([room, b, k.shape[2]!], k.dtype)), values: keep(zeros([room, b, v.shape[2]!], v.dtype)), length: 0 }
      if (entry) {
        const old = entry
        scope(() => {
          put(grown.keys, 0, part(old.keys, old.length))
          put(grown.values, 0, part(old.values, old.length))
        })
        grown.length = old.length
        old.keys.dispose()
        old.values.dispose()
      }
      this.#entries.set(path, (entry = grown))
    }
    put(entry.keys, entry.length, k)
    put(entry.values, entry.length, v)
    entry.length = length
    return { keys: part(entry.keys, length), values: part(entry.values, length) }
  }

  /** Keys and values that stay the same from call to call (cross attention): made by the first one. */
  fixed(path: string, make: () => { keys: Tensor; values: Tensor }): { keys: Tensor; values: Tensor } {
    const entry = this.#entries.get(path)
    if (entry) return entry
    const { keys, values } = make()
    this.#entries.set(path, { keys: keep(keys), values: keep(values), length: 0 })
    return { keys, values }
  }

  /** Position of the first of `tokens` new tokens for the layer at `path`, which counts them. */
  advance(path: string, tokens: number): number {
    const at = this.#positions.get(path) ?? 0
    this.#positions.set(path, at + tokens)
    return at
  }

  /** Forgets everything: the beginning of another text. */
  dispose(): void {
    for (const { keys, values } of this.#entries.values()) {
      keys.dispose()
      values.dispose()
    }
    this.#entries.clear()
    this.#positions.clear()
  }
}

// Buffers are [room, B, C], so that the tokens that are added lie in one piece.
const swapped = (x: Tensor): Tensor => permute(x, [1, 0, 2])

/** Tokens [0, n) as [B, n, C]. */
function part(buffer: Tensor, n: number): Tensor {
  return swapped(piece(buffer, 0, n))
}
function piece(buffer: Tensor, from: number, tokens: number): Tensor {
  return slice(buffer, [from, 0, 0], [tokens, buffer.shape[1]!, buffer.shape[2]!])
}

/** Writes x [B, T, C] from token `from` on. */
function put(buffer: Tensor, from: number, x: Tensor): void {
  scope(() => assign(piece(buffer, from, x.shape[1]!), swapped(x)))
}
