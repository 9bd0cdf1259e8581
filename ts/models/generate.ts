/**
 * Text from a language model, token by token: the most likely one (greedy), or drawn, at a temperature, from the `topK` most likely (Fan, Lewis, Dauphin
 * 2018) or from the fewest that together have the probability `topP` (Holtzman et al. 2020, nucleus sampling). Transformers keep keys and values of
 * earlier tokens, recurrent models their state, so each token costs one row.
 */
import { OptionError, ShapeError } from '../base/errors.js'
import { Rng } from '../base/rng.js'
import { KeyValueCache, type Model } from '../nn/index.js'
import { onDevice } from '../native/device.js'
import { scope, tensor } from '../tensor/index.js'
import { CarriedState, continueText, type LanguageModelConfig } from './language.js'
import { maxTokens, type TransformerConfig } from './transformer/body.js'

export interface GenerateOptions {
  /** Tokens to add at most. Default 20; with a transformer the text as a whole has at most as many tokens as the model has positions. */
  readonly tokens?: number
  /** Draws from the k most likely tokens. Default: all where `topP` or `temperature` is given, else 1, the most likely. */
  readonly topK?: number
  /** Draws from the fewest tokens whose probabilities (behind temperature and `topK`) sum to at least this. In (0, 1], default 1. */
  readonly topP?: number
  /** Scores are divided by it before drawing. Default 1. */
  readonly temperature?: number
  /** Of the draws; the same seed gives the same text. Default 0. */
  readonly seed?: number
  /** Ends behind one of these ids (which is in the result). */
  readonly stop?: readonly number[]
  /** Ids that are never written, for example that of unknown words. */
  readonly avoid?: readonly number[]
  /** Sees each token as it comes; false ends the text. */
  readonly onToken?: (id: number) => boolean | void
}

/** A text that goes on: `scores` of the token behind the ids it gets, which follow those it got before. */
interface Continuation {
  readonly room: number
  scores(ids: readonly number[]): Float32Array
  dispose(): void
}

const asRow = (ids: readonly number[]): ReturnType<typeof tensor> => tensor(Int32Array.from(ids), [1, ids.length])

/** A step of the text, where the model lies. */
const on = <T>(model: Model, step: () => T): T => onDevice(model.device, () => scope(step))

function transformerText(model: Model, tokens: number): Continuation {
  const { body } = model.root.config as unknown as { readonly body: TransformerConfig }
  const room = maxTokens(body)
  const cache = new KeyValueCache(Math.min(room, tokens))
  return {
    room,
    scores: (ids) =>
      on(model, () => (model.forward(asRow(ids), { cache }).read() as Float32Array).subarray((ids.length - 1) * body.vocabulary)),
    dispose: () => cache.dispose(),
  }
}

function recurrentText(model: Model): Continuation {
  const { vocabulary } = model.root.config as unknown as LanguageModelConfig
  const state = new CarriedState()
  return {
    room: Infinity,
    scores: (ids) =>
      on(model, () => (continueText(model, asRow(ids), state).read() as Float32Array).subarray((ids.length - 1) * vocabulary)),
    dispose: () => state.dispose(),
  }
}

const continuations: Readonly<Record<string, (model: Model, tokens: number) => Continuation>> = {
  causalLanguage: transformerText,
  languageModel: recurrentText,
}

/** Indices of the k largest, largest first; of equal ones the first. */
function largest(scores: Float32Array, k: number): number[] {
  if (k > 64)
    return Array.from(scores.keys())
      .sort((a, b) => scores[b]! - scores[a]! || a - b)
      .slice(0, k)
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

interface Draw {
  readonly topK: number
  readonly topP: number
  readonly temperature: number
}

function draw(scores: Float32Array, { topK, topP, temperature }: Draw, rng: Rng): number {
  const ids = largest(scores, Math.min(topK, scores.length))
  const top = scores[ids[0]!]!
  const weights = ids.map((id) => Math.exp((scores[id]! - top) / temperature))
  let total = weights.reduce((a, b) => a + b, 0)
  if (topP < 1) {
    let [kept, n] = [0, 0]
    while (n < ids.length && kept < topP * total) kept += weights[n++]!
    ids.length = n
    total = kept
  }
  let left = rng.uniform() * total
  for (let i = 0; i < ids.length; i++) if ((left -= weights[i]!) < 0) return ids[i]!
  return ids[ids.length - 1]!
}

/** The text token by token, for whoever does other things in between. Options, errors: `generate`. */
export function* generateTokens(model: Model, prompt: readonly number[], options: GenerateOptions = {}): Generator<number, void> {
  const { tokens = 20, topP = 1, temperature, seed = 0, stop = [], avoid = [], onToken } = options
  const { topK = options.topP === undefined && temperature === undefined ? 1 : Infinity } = options
  const { kind } = model.root
  const refuse = (why: string): never => {
    throw new OptionError('ERR_OPTION', `generate: ${why}`)
  }
  if (!Object.hasOwn(continuations, kind)) refuse(`takes causal language models, got ${kind}`)
  for (const [name, value] of Object.entries({ tokens, ...(topK === Infinity ? {} : { topK }) }))
    if (!Number.isSafeInteger(value) || value < 1) refuse(`${name} must be an integer >= 1, got ${value}`)
  if (!(topP > 0 && topP <= 1)) refuse(`topP must be in (0, 1], got ${topP}`)
  if (temperature !== undefined && !(temperature > 0 && temperature < Infinity))
    refuse(`temperature must be a positive number, got ${temperature}`)
  if (prompt.length === 0) refuse('the prompt must have at least one token')
  const text = continuations[kind]!(model, prompt.length + tokens)
  try {
    if (prompt.length > text.room)
      throw new ShapeError('ERR_SHAPE', `generate: the model has ${text.room} positions, the prompt has ${prompt.length} tokens`)
    const rng = Rng.of(seed, 'generate')
    const how = { topK, topP, temperature: temperature ?? 1 }
    let next: readonly number[] = prompt
    for (let i = 0; i < tokens && prompt.length + i < text.room; i++) {
      const scores = text.scores(next)
      for (const id of avoid) scores[id] = -Infinity
      const id = topK === 1 ? largest(scores, 1)[0]! : draw(scores, how, rng)
      yield id
      next = [id]
      if (onToken?.(id) === false || stop.includes(id)) return
    }
  } finally {
    text.dispose()
  }
}

/**
 * The prompt and what the model writes behind it, as ids. Takes causal transformers (GPT-2, Llama) and recurrent language models.
 *
 * - a model that is not causal, an empty prompt, options out of range: ERR_OPTION; a prompt longer than the model's positions: ERR_SHAPE
 *
 * @example
 * const ids = generate(model, tokenizer.encode('Once upon a time'), { tokens: 40, topK: 50, seed: 1 })
 * tokenizer.decode(ids)
 */
export function generate(model: Model, prompt: readonly number[], options: GenerateOptions = {}): number[] {
  return [...prompt, ...generateTokens(model, prompt, options)]
}
