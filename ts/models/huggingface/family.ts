/**
 * What a family of Hugging Face models says about itself, as data: keys of its config.json, names of its tensors, its heads. families.ts lists them;
 * reading and writing go through the same tables.
 */
import type { JsonObject } from '../../base/json-types.js'
import type { ActivationName } from '../../nn/index.js'
import type { TextClassifierConfig } from '../transformer/heads.js'
import type { TransformerConfig } from '../transformer/body.js'

export const headNames = ['embedding', 'classifier', 'tokens', 'language'] as const
export type HeadName = (typeof headNames)[number]

/** How a tensor of the file becomes a weight: as it is, transposed (GPT-2's Conv1D holds [in, out]), or one third of a transposed q, k, v together. */
export type Layout = 'same' | 'transposed' | 'query' | 'key' | 'value'

/**
 * Module path here, name there, layout. `*` is the number of a layer; `@` stands for the prefix of the body, which files of a bare body leave out.
 * Weights are called weight -> weight, bias -> bias, gamma -> weight, beta -> bias.
 */
export type NameRow = readonly [ours: string, theirs: string, layout?: Layout]

export interface Family {
  /** `model_type` values with the prefix of their bodies ("bert" for bert.encoder...); the first one is written. */
  readonly types: Readonly<Record<string, string>>
  /** Beginning of the class names: "Bert" of BertForMaskedLM. */
  readonly className: string
  /** Class name endings by head; the first is written. */
  readonly classes: Readonly<Record<HeadName, readonly string[]>>
  /** Key in config.json and its default by field of the body; what no key says is in `fixed`. */
  readonly keys: Readonly<Partial<Record<keyof TransformerConfig, readonly [key: string, fallback?: JsonObject[string]]>>>
  readonly fixed: Partial<TransformerConfig>
  /** Keys of which only these values are supported (or the key's absence). */
  readonly only: Readonly<Record<string, readonly JsonObject[string][]>>
  /** What tie_word_embeddings is where config.json does not say. Default true. */
  readonly tied?: boolean
  /** Whether this family's layers compute what the body's do, besides `fixed`. Default: they are not rotary. */
  readonly holds?: (body: TransformerConfig) => boolean
  /** The body's other fields from the configuration, and back. */
  readonly derive?: (config: JsonObject, body: TransformerConfig) => Partial<TransformerConfig>
  readonly write?: (body: TransformerConfig) => JsonObject
  readonly body: readonly NameRow[]
  readonly heads: Readonly<Record<HeadName, readonly NameRow[]>>
  readonly hasPooler: boolean
  /** Keys that hold a head's dropout, the first that is there counts; none: 0. */
  readonly headDropout: Readonly<Record<'classifier' | 'tokens', readonly string[]>>
  readonly classifier: Partial<TextClassifierConfig>
  /** Function inside the masked language head; null: the head is causal. */
  readonly languageActivation: ActivationName | 'body' | null
  /** Copies in files of what is tied: name and the name of the original. */
  readonly copies: Readonly<Record<string, string>>
  /** Tensors of heads that are not read here, and buffers that are not weights. */
  readonly unread: readonly RegExp[]
  readonly buffers: readonly RegExp[]
}

/** Whether the head's matrix is the word table. */
export const isTied = (family: Family, json: JsonObject): boolean => (json.tie_word_embeddings ?? family.tied ?? true) !== false

/** hidden_act values and the functions that they are. */
export const activationsByName: Readonly<Record<string, ActivationName>> = {
  gelu: 'gelu',
  gelu_new: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_fast: 'geluTanh',
  relu: 'relu',
  silu: 'silu',
  swish: 'silu',
  tanh: 'tanh',
  mish: 'mish',
}

export function activationName(function_: ActivationName): string | undefined {
  return Object.keys(activationsByName).find((name) => activationsByName[name] === function_)
}
