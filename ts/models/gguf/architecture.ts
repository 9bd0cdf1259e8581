/** What an architecture of GGUF says about itself: names of tensors, keys of the configuration, as llama.cpp reads them. Reading and writing use the same tables. */
import { UnsupportedError } from '../../base/errors.js'
import type { GgufScalar, GgufSource } from '../../formats/index.js'
import type { TransformerConfig } from '../transformer/body.js'

export interface GgufName {
  readonly name: string
  /** Which third of q, k, v, which are one tensor there; undefined: the tensor is the weight. */
  readonly third?: number | undefined
  /** Rows are those of so many heads whose pairs of rotary features are neighbours there. */
  readonly pairedHeads?: number | undefined
}

/** What a reader of a configuration can ask the file. */
export interface GgufFacts {
  /** A key `<architecture>.<key>`; one that is missing or no number is ERR_MODEL_FORMAT. */
  readonly number: (key: string) => number
  readonly optional: (key: string) => number | undefined
  readonly text: (key: string) => string | undefined
  readonly has: (tensor: string) => boolean
  /** Elements of a tensor that is no weight. */
  readonly floats: (tensor: string) => Float32Array
  /** Rows of the word table. */
  readonly vocabulary: number
  /** ERR_UNSUPPORTED. */
  readonly refuse: (what: string) => never
}

export interface GgufArchitecture {
  /** general.architecture. */
  readonly name: string
  /** For messages. */
  readonly label: string
  /** Whether models with such a body belong here. */
  readonly takes: (body: TransformerConfig) => boolean
  /** Name there of the weight at `path` here; undefined where there is no such weight. */
  readonly nameOf: (path: string, body: TransformerConfig) => GgufName | undefined
  readonly bodyOf: (facts: GgufFacts) => TransformerConfig
  /** Throws where llama.cpp's layers do not compute what the body does. */
  readonly check: (where: string, body: TransformerConfig) => void
  readonly metadata: (body: TransformerConfig) => Record<string, GgufScalar>
  /** Tensors that are no weights. */
  readonly more?: (body: TransformerConfig) => readonly (readonly [string, GgufSource])[]
}

/** Module here, name there; `*` is the number of a layer. */
export type GgufRows = readonly (readonly [ours: string, theirs: string])[]
const suffixes: Readonly<Record<string, string>> = { weight: 'weight', bias: 'bias', gamma: 'weight', beta: 'bias' }

/** Last part of the module's path, and the name there. */
export function inRows(rows: GgufRows, path: string): { readonly part: string; readonly name: string } | undefined {
  const dot = path.lastIndexOf('.')
  let number = ''
  const module = path.slice(0, Math.max(dot, 0)).replace(/^(body\.layer)(\d+)/, (_, start: string, n: string) => {
    number = n
    return `${start}*`
  })
  const row = rows.find(([ours]) => ours === module)
  const suffix = suffixes[path.slice(dot + 1)]
  if (!row || !suffix) return undefined
  return { part: module.slice(module.lastIndexOf('.') + 1), name: `${row[1].replace('*', number)}.${suffix}` }
}

/** Numbers of the body that are keys in every architecture. */
export const commonNumbers = [
  ['context_length', 'positions'],
  ['embedding_length', 'width'],
  ['block_count', 'layers'],
  ['feed_forward_length', 'hidden'],
  ['attention.head_count', 'heads'],
] as const satisfies readonly (readonly [string, keyof TransformerConfig])[]

export const u32 = (value: number): GgufScalar => ({ type: 'u32', value })
export const f32 = (value: number): GgufScalar => ({ type: 'f32', value })

/** A body with the numbers of a file; `more` says what its layers are. */
export function bodyWith(facts: GgufFacts, more: Pick<TransformerConfig, 'activation' | 'eps' | 'rotary'>): TransformerConfig {
  const given = Object.fromEntries(commonNumbers.map(([key, field]) => [field, facts.number(key)]))
  const { width, layers } = given as { width: number; layers: number }
  return {
    ...(given as unknown as TransformerConfig),
    ...more,
    vocabulary: facts.vocabulary,
    embedding: width,
    distinct: layers,
    types: 0,
    padding: null,
    positionsFrom: 'start',
    norm: 'pre',
    causal: true,
    project: false,
    embeddingDropout: 0,
    dropout: 0,
    attentionDropout: 0,
    dropoutAfter: 'both',
  }
}

export function metadataWith(
  name: string,
  body: TransformerConfig,
  more: Readonly<Record<string, GgufScalar>>,
): Record<string, GgufScalar> {
  const all = {
    ...Object.fromEntries(commonNumbers.map(([key, field]) => [key, u32(body[field])])),
    vocab_size: u32(body.vocabulary),
    ...more,
  }
  return Object.fromEntries(Object.entries(all).map(([key, value]) => [`${name}.${key}`, value]))
}

/** Throws the first of `wrong` that is the case. */
export function refuseFirst(where: string, label: string, wrong: readonly (readonly [boolean, string])[]): void {
  const what = wrong.find(([is]) => is)?.[1]
  if (what !== undefined) throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: ${label} in GGUF has no ${what}`, { details: { what } })
}

/** What no architecture of language models has. */
export const wrongBodies = (body: TransformerConfig): readonly (readonly [boolean, string])[] => [
  [body.norm !== 'pre' || !body.causal, 'body that is not causal with norms before its layers'],
  [body.types > 0, 'sentence types'],
  [body.project || body.distinct !== body.layers, 'shared or projected layers'],
  [body.positionsFrom !== 'start', 'positions that depend on padding'],
]
