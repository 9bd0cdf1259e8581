/** GPT-2 in GGUF: names of tensors and keys of the configuration, as llama.cpp reads them (llama-arch.cpp, LLM_ARCH_GPT2). One table for both ways. */
import { UnsupportedError } from '../../base/errors.js'
import type { GgufScalar } from '../../formats/index.js'
import type { TransformerConfig } from '../transformer/body.js'

export const ARCHITECTURE = 'gpt2'

/** Module here, name there; `*` is the number of a layer. q, k, v are one tensor there, rows one after the other. */
const rows: readonly (readonly [ours: string, theirs: string])[] = [
  ['body.words', 'token_embd'],
  ['body.positions', 'position_embd'],
  ['body.layer*.norm1', 'blk.*.attn_norm'],
  ['body.layer*.attention.query', 'blk.*.attn_qkv'],
  ['body.layer*.attention.key', 'blk.*.attn_qkv'],
  ['body.layer*.attention.value', 'blk.*.attn_qkv'],
  ['body.layer*.attention.output', 'blk.*.attn_output'],
  ['body.layer*.norm2', 'blk.*.ffn_norm'],
  ['body.layer*.up', 'blk.*.ffn_up'],
  ['body.layer*.down', 'blk.*.ffn_down'],
  ['body.norm', 'output_norm'],
  ['decoder', 'output'],
]
const parts = ['query', 'key', 'value']
const suffixes: Readonly<Record<string, string>> = { weight: 'weight', bias: 'bias', gamma: 'weight', beta: 'bias' }

export interface GgufName {
  readonly name: string
  /** Which third of q, k, v; undefined: the tensor is the weight. */
  readonly third: number | undefined
}

/** Name there of the weight at `path` here; undefined where GPT-2 has no such weight. */
export function ggufName(path: string): GgufName | undefined {
  const dot = path.lastIndexOf('.')
  let number = ''
  const module = path.slice(0, Math.max(dot, 0)).replace(/^(body\.layer)(\d+)/, (_, start: string, n: string) => {
    number = n
    return `${start}*`
  })
  const row = rows.find(([ours]) => ours === module)
  const suffix = suffixes[path.slice(dot + 1)]
  if (!row || !suffix) return undefined
  const third = parts.indexOf(module.slice(module.lastIndexOf('.') + 1))
  return { name: `${row[1].replace('*', number)}.${suffix}`, third: third < 0 ? undefined : third }
}

const numbers: readonly (readonly [key: string, type: 'u32' | 'f32', field: keyof TransformerConfig])[] = [
  ['context_length', 'u32', 'positions'],
  ['embedding_length', 'u32', 'width'],
  ['block_count', 'u32', 'layers'],
  ['feed_forward_length', 'u32', 'hidden'],
  ['attention.head_count', 'u32', 'heads'],
  ['attention.layer_norm_epsilon', 'f32', 'eps'],
]

export function metadataOf(body: TransformerConfig): Record<string, GgufScalar> {
  const found = numbers.map(([key, type, field]) => [`${ARCHITECTURE}.${key}`, { type, value: body[field] as number }] as const)
  return { ...Object.fromEntries(found), [`${ARCHITECTURE}.vocab_size`]: { type: 'u32', value: body.vocabulary } }
}

/** The configuration by a reader of numbers; `vocabulary` from the shape of the table. */
export function bodyOf(number: (key: string) => number, vocabulary: number): TransformerConfig {
  const given = Object.fromEntries(numbers.map(([key, , field]) => [field, number(`${ARCHITECTURE}.${key}`)]))
  const { width, layers } = given as { width: number; layers: number }
  return {
    ...(given as unknown as TransformerConfig),
    vocabulary,
    embedding: width,
    distinct: layers,
    types: 0,
    padding: null,
    positionsFrom: 'start',
    activation: 'geluTanh',
    norm: 'pre',
    causal: true,
    project: false,
    embeddingDropout: 0,
    dropout: 0,
    attentionDropout: 0,
    dropoutAfter: 'both',
  }
}

/** Whether llama.cpp's GPT-2 computes what this body does. */
export function checkBody(where: string, body: TransformerConfig): void {
  const refuse = (what: string): never => {
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: GPT-2 in GGUF has no ${what}`, { details: { what } })
  }
  if (body.norm !== 'pre' || !body.causal) refuse('body that is not causal with norms before its layers')
  if (body.activation !== 'geluTanh') refuse(`activation ${body.activation}`)
  if (body.types > 0) refuse('sentence types')
  if (body.project || body.distinct !== body.layers) refuse('shared or projected layers')
  if (body.positionsFrom !== 'start') refuse('positions that depend on padding')
}
