/**
 * Tokenizers of Hugging Face (WordPiece, byte-level BPE, unigram) by @huggingface/tokenizers, as part of a model: packed into its extra "tokenizer",
 * cut to the model's length, padded into batches.
 */
import { Tokenizer } from '@huggingface/tokenizers'
import { isTersorError, ModelFormatError, OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import type { Model } from '../../nn/index.js'
import { tensor, type Tensor } from '../../tensor/index.js'
import { packJson, unpackJson } from '../header.js'
import { registerTextEncoder, TOKENIZER } from '../inputs.js'
import { maxTokens, type TransformerConfig } from '../transformer/body.js'
import { isTame, patternsOf, SHORT_TEXT, withinTime } from './patterns.js'

/** What the extra "tokenizer" holds: tokenizer.json and tokenizer_config.json. */
export interface HubTokenizerFiles extends JsonObject {
  readonly tokenizer: 'huggingface'
  readonly json: JsonObject
  readonly config: JsonObject
}

/** What is used of the package. */
interface Encoding {
  readonly ids: number[]
  readonly token_type_ids?: number[]
}
interface Engine {
  encode(text: string, options: { text_pair?: string; add_special_tokens?: boolean; return_token_type_ids?: boolean }): Encoding
  decode(ids: number[], options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean }): string
  token_to_id(token: string): number | undefined
}

const EngineClass = Tokenizer as unknown as new (tokenizer: object, config: object) => Engine

/** A text, or two that belong together (premise and hypothesis). */
export type TextOrPair = string | readonly [string, string]

const isObject = (v: unknown): v is JsonObject => typeof v === 'object' && v !== null && !Array.isArray(v)

export class HubTokenizer {
  readonly files: HubTokenizerFiles
  readonly #engine: Engine
  /** Special tokens around a text: how many stand behind it. */
  readonly #behind: number
  /** Whether a short text may take exponential time. */
  readonly #timed: boolean
  readonly #around: number

  /** Content that is no tokenizer: ERR_MODEL_FORMAT. A text on which one of its regular expressions does not end: ERR_LIMIT, from here or from what encodes. */
  constructor(files: unknown) {
    if (!isObject(files) || files.tokenizer !== 'huggingface' || !isObject(files.json) || !isObject(files.config))
      throw new ModelFormatError('ERR_MODEL_FORMAT', "tokenizer: not a Hugging Face tokenizer { tokenizer: 'huggingface', json, config }")
    this.files = files as HubTokenizerFiles
    this.#timed = !patternsOf(files.json).every(isTame)
    this.#engine = guarded('tokenizer', () => new EngineClass(files.json as object, files.config as object))
    const inner = this.#encode('a', undefined, false).ids
    const whole = this.#encode('a', undefined, true).ids
    this.#around = whole.length - inner.length
    let before = 0
    while (before < this.#around && !inner.every((id, i) => whole[before + i] === id)) before++
    this.#behind = this.#around - before
  }

  #encode(text: string, pair: string | undefined, special: boolean): Encoding {
    const encode = (): Encoding =>
      this.#engine.encode(text, {
        ...(pair === undefined ? {} : { text_pair: pair }),
        add_special_tokens: special,
        return_token_type_ids: pair !== undefined,
      })
    const length = text.length + (pair?.length ?? 0)
    return guarded('tokenizer: encode', () => (this.#timed || length > SHORT_TEXT ? withinTime(length, encode) : encode()))
  }

  /** Ids with the special tokens of the model around them, at most `max`: the text is cut at its end, the special tokens stay. */
  encode(text: string, max = Infinity): number[] {
    const { ids } = this.#encode(text, undefined, true)
    if (ids.length <= max) return ids
    if (max < this.#around)
      throw new OptionError('ERR_OPTION', `tokenizer: the special tokens alone take ${this.#around}, at most ${max} are allowed`)
    return [...ids.slice(0, max - this.#behind), ...ids.slice(ids.length - this.#behind)]
  }

  /** Text of ids. */
  decode(ids: readonly number[], { special = false }: { readonly special?: boolean } = {}): string {
    if (ids.length === 0) return ''
    const decode = (): string => this.#engine.decode([...ids], { skip_special_tokens: !special, clean_up_tokenization_spaces: false })
    return guarded('tokenizer: decode', () => (this.#timed ? withinTime(ids.length, decode) : decode()))
  }

  idOf(token: string): number | undefined {
    return this.#engine.token_to_id(token)
  }

  /** Id that fills short rows: the pad token, or 0. */
  get padding(): number {
    const token = this.files.config.pad_token
    const name = isObject(token) ? token.content : token
    for (const candidate of [name, '[PAD]', '<pad>']) {
      const id = typeof candidate === 'string' ? this.idOf(candidate) : undefined
      if (id !== undefined) return id
    }
    return 0
  }

  /**
   * ids i32 [B, T] and mask f32 [B, T] of texts, padded to the longest; for pairs also types i32 [B, T]. A pair that is too long is ERR_OPTION.
   */
  batch(texts: readonly TextOrPair[], { max = Infinity }: { readonly max?: number } = {}): Record<string, Tensor> {
    const rows = texts.map((text): Encoding => {
      if (typeof text === 'string') return { ids: this.encode(text, max) }
      const pair = this.#encode(text[0], text[1], true)
      if (pair.ids.length > max)
        throw new OptionError('ERR_OPTION', `tokenizer: a pair of texts has ${pair.ids.length} tokens, at most ${max} are allowed`)
      return pair
    })
    const t = Math.max(1, ...rows.map(({ ids }) => ids.length))
    const ids = new Int32Array(rows.length * t).fill(this.padding)
    const mask = new Float32Array(rows.length * t)
    const types = new Int32Array(rows.length * t)
    rows.forEach((row, i) => {
      ids.set(row.ids, i * t)
      mask.fill(1, i * t, i * t + row.ids.length)
      types.set(row.token_type_ids ?? [], i * t)
    })
    const shape = [rows.length, t]
    return {
      ids: tensor(ids, shape),
      mask: tensor(mask, shape),
      ...(rows.some((r) => r.token_type_ids) ? { types: tensor(types, shape) } : {}),
    }
  }
}

/** The package throws plain errors at content that it does not know. */
function guarded<T>(where: string, fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    if (isTersorError(error)) throw error
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
      details: { format: 'tokenizer', reason: 'content' },
    })
  }
}

const made = new WeakMap<object, HubTokenizer>()

/**
 * The tokenizer that a model carries. A model without one is ERR_MODEL_FORMAT.
 *
 * @example
 * const tokenizer = tokenizerOf(load('bert-base-uncased'))
 * tokenizer.encode('Hello world')   // [101, 7592, 2088, 102]
 */
export function tokenizerOf(model: Model): HubTokenizer {
  const raw = model.extras[TOKENIZER]
  if (!raw) throw new ModelFormatError('ERR_MODEL_FORMAT', `${model.info.name}: the model has no extra "${TOKENIZER}" with its tokenizer`)
  let tokenizer = made.get(raw)
  if (!tokenizer) made.set(raw, (tokenizer = new HubTokenizer(unpackJson(`extra "${TOKENIZER}"`, raw))))
  return tokenizer
}

/** The model with another tokenizer: it goes into the model's file and into what `saveHuggingFace` writes. */
export function withTokenizer(model: Model, tokenizer: HubTokenizer): Model {
  return model.withExtras({ [TOKENIZER]: packJson('tokenizer', tokenizer.files) })
}

/** Tokens that a text may have in this model: positions, and model_max_length where that is less. */
export function tokenLimit(model: Model, tokenizer: HubTokenizer): number {
  const room = maxTokens((model.root.config as unknown as { body: TransformerConfig }).body)
  const said = tokenizer.files.config.model_max_length
  return typeof said === 'number' && said >= 1 ? Math.min(room, said) : room
}

for (const kind of ['textEmbedding', 'textClassifier', 'tokenClassifier', 'maskedLanguage', 'causalLanguage'])
  registerTextEncoder(kind, (model) => {
    const tokenizer = tokenizerOf(model)
    const max = tokenLimit(model, tokenizer)
    return {
      encode: (texts) => tokenizer.batch(texts, { max }),
      length: (text) => tokenizer.encode(text, max).length,
    }
  })
