/**
 * Text from a causal language model, token by token: the most likely one (greedy), or drawn from the `topK` most likely at a temperature (Fan, Lewis,
 * Dauphin 2018). Keys and values of earlier tokens are kept, so each token costs one row.
 */
import { OptionError, ShapeError } from '../../base/errors.js'
import { Rng } from '../../base/rng.js'
import { KeyValueCache, type Model } from '../../nn/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { maxTokens, type TransformerConfig } from './body.js'

export interface GenerateOptions {
  /** Tokens to add at most. Default 20; the text as a whole has at most as many tokens as the model has positions. */
  readonly tokens?: number
  /** Draws from the k most likely tokens; default: takes the most likely. */
  readonly topK?: number
  /** Scores are divided by it before drawing. Default 1. */
  readonly temperature?: number
  /** Of the draws; the same seed gives the same text. Default 0. */
  readonly seed?: number
  /** Ends behind one of these ids (which is in the result). */
  readonly stop?: readonly number[]
  /** Sees each token as it comes; false ends the text. */
  readonly onToken?: (id: number) => boolean | void
}

/** Indices of the k largest, largest first; of equal ones the first. */
function largest(scores: Float32Array, k: number): number[] {
  const order: number[] = []
  for (let id = 0; id < scores.length; id++) {
    if (order.length === k && !(scores[id]! > scores[order[k - 1]!]!)) continue
    let at = order.length
    while (at > 0 && scores[id]! > scores[order[at - 1]!]!) at--
    order.splice(at, 0, id)
    if (order.length > k) order.pop()
  }
  return order
}

function draw(scores: Float32Array, k: number, temperature: number, rng: Rng): number {
  const ids = largest(scores, k)
  const top = scores[ids[0]!]!
  const weights = ids.map((id) => Math.exp((scores[id]! - top) / temperature))
  let left = rng.uniform() * weights.reduce((a, b) => a + b, 0)
  for (let i = 0; i < ids.length; i++) if ((left -= weights[i]!) < 0) return ids[i]!
  return ids[ids.length - 1]!
}

/**
 * The prompt and what the model writes behind it, as ids.
 *
 * - a model that is not causal, an empty prompt, options out of range: ERR_OPTION; a prompt longer than the model's positions: ERR_SHAPE
 *
 * @example
 * const ids = generate(model, tokenizer.encode('Once upon a time'), { tokens: 40, topK: 50, seed: 1 })
 * tokenizer.decode(ids)
 */
export function generate(model: Model, prompt: readonly number[], options: GenerateOptions = {}): number[] {
  const { tokens = 20, topK = 1, temperature = 1, seed = 0, stop = [], onToken } = options
  if (model.root.kind !== 'causalLanguage')
    throw new OptionError('ERR_OPTION', `generate: takes causal language models, got ${model.root.kind}`)
  const body = (model.root.config as unknown as { body: TransformerConfig }).body
  for (const [name, value] of Object.entries({ tokens, topK }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw new OptionError('ERR_OPTION', `generate: ${name} must be an integer >= 1, got ${value}`)
  if (!(temperature > 0 && temperature < Infinity))
    throw new OptionError('ERR_OPTION', `generate: temperature must be a positive number, got ${temperature}`)
  if (prompt.length === 0) throw new OptionError('ERR_OPTION', 'generate: the prompt must have at least one token')
  const room = maxTokens(body)
  if (prompt.length > room)
    throw new ShapeError('ERR_SHAPE', `generate: the model has ${room} positions, the prompt has ${prompt.length} tokens`)
  const rng = Rng.of(seed, 'generate')
  const cache = new KeyValueCache(Math.min(room, prompt.length + tokens))
  const ids = [...prompt]
  try {
    let next = prompt
    for (let i = 0; i < tokens && ids.length < room; i++) {
      const scores = scope(() => {
        const y = model.forward(tensor(Int32Array.from(next), [1, next.length]), { cache })
        return (y.read() as Float32Array).subarray((next.length - 1) * body.vocabulary)
      })
      const id = topK === 1 ? largest(scores, 1)[0]! : draw(scores, Math.min(topK, scores.length), temperature, rng)
      ids.push(id)
      next = [id]
      if (onToken?.(id) === false || stop.includes(id)) break
    }
  } finally {
    cache.dispose()
  }
  return ids
}
