/** Sizes of published models, as their config.json has them: architectures without weights, by name. */
import { OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import { suggestion } from '../../base/nearest.js'
import type { ModuleSpec } from '../../nn/index.js'
import { readConfig, specWithHead } from './config.js'
import type { HeadName } from './family.js'

const bert = (width: number, layers: number, more: JsonObject = {}): JsonObject => ({
  model_type: 'bert',
  vocab_size: 30522,
  hidden_size: width,
  num_hidden_layers: layers,
  num_attention_heads: width / 64,
  intermediate_size: 4 * width,
  max_position_embeddings: 512,
  ...more,
})
const roberta = (width: number, layers: number): JsonObject =>
  bert(width, layers, { model_type: 'roberta', vocab_size: 50265, max_position_embeddings: 514, type_vocab_size: 1, layer_norm_eps: 1e-5 })
const albert = (width: number, layers: number, heads: number): JsonObject =>
  bert(width, layers, {
    model_type: 'albert',
    vocab_size: 30000,
    embedding_size: 128,
    num_attention_heads: heads,
    classifier_dropout_prob: 0.1,
  })
const distilbert = (vocabulary: number): JsonObject => ({
  model_type: 'distilbert',
  vocab_size: vocabulary,
  dim: 768,
  n_layers: 6,
  n_heads: 12,
  hidden_dim: 3072,
  max_position_embeddings: 512,
  seq_classif_dropout: 0.2,
})
const gpt2 = (width: number, layers: number, heads: number): JsonObject => ({
  model_type: 'gpt2',
  vocab_size: 50257,
  n_embd: width,
  n_layer: layers,
  n_head: heads,
  n_positions: 1024,
})

const llama = (width: number, layers: number, heads: number, keyHeads: number, hidden: number, more: JsonObject): JsonObject => ({
  model_type: 'llama',
  hidden_size: width,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: keyHeads,
  intermediate_size: hidden,
  rms_norm_eps: 1e-5,
  ...more,
})
const llama3 = (factor: number): JsonObject => ({
  vocab_size: 128256,
  rope_theta: 500000,
  max_position_embeddings: 131072,
  rope_scaling: { rope_type: 'llama3', factor, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 },
})

/** config.json by name, what defaults say left out. */
export const publishedConfigs = {
  'bert-base-uncased': bert(768, 12),
  'bert-base-cased': bert(768, 12, { vocab_size: 28996 }),
  'bert-large-uncased': bert(1024, 24),
  'bert-tiny': bert(128, 2),
  'minilm-l6': bert(384, 6, { num_attention_heads: 12 }),
  'tinybert-4l-312d': bert(312, 4, { num_attention_heads: 12, intermediate_size: 1200 }),
  'roberta-base': roberta(768, 12),
  'roberta-large': roberta(1024, 24),
  'albert-base-v2': albert(768, 12, 12),
  'albert-large-v2': albert(1024, 24, 16),
  'albert-xlarge-v2': albert(2048, 24, 16),
  'albert-xxlarge-v2': albert(4096, 12, 64),
  'distilbert-base-uncased': distilbert(30522),
  gpt2: gpt2(768, 12, 12),
  'gpt2-medium': gpt2(1024, 24, 16),
  'gpt2-large': gpt2(1280, 36, 20),
  'gpt2-xl': gpt2(1600, 48, 25),
  distilgpt2: gpt2(768, 6, 12),
  'llama-2-7b': llama(4096, 32, 32, 32, 11008, { vocab_size: 32000, max_position_embeddings: 4096 }),
  'llama-3.1-8b': llama(4096, 32, 32, 8, 14336, llama3(8)),
  'llama-3.2-1b': llama(2048, 16, 32, 8, 8192, { ...llama3(32), tie_word_embeddings: true }),
  'tinyllama-1.1b': llama(2048, 22, 32, 4, 5632, { vocab_size: 32000 }),
  'mistral-7b-v0.1': llama(4096, 32, 32, 8, 14336, {
    model_type: 'mistral',
    vocab_size: 32000,
    max_position_embeddings: 32768,
    sliding_window: 4096,
  }),
  'qwen2-0.5b': llama(896, 24, 14, 2, 4864, {
    model_type: 'qwen2',
    vocab_size: 151936,
    max_position_embeddings: 131072,
    rope_theta: 1000000,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: true,
  }),
} as const satisfies Readonly<Record<string, JsonObject>>
export type PublishedName = keyof typeof publishedConfigs

export interface SpecOptions {
  /** Default: 'language' of a causal model, 'embedding' (with the pooler that its files have) of the others. */
  readonly head?: HeadName
  /** Scores of a classifier; default: what the configuration says, or 2. */
  readonly classes?: number
  /** Of an embedding; default 'pooled' where there is a pooler, else 'mean'. */
  readonly output?: 'tokens' | 'mean' | 'first' | 'pooled'
}

/**
 * An architecture from the name of a published model, or from an object like config.json: to train from scratch, or to count.
 *
 * - an unknown name: ERR_OPTION; a configuration that is not supported: ERR_UNSUPPORTED, one that is none: ERR_MODEL_FORMAT
 *
 * @example
 * parameterCount(transformerSpec('bert-base-uncased'))   // 109482240
 */
export function transformerSpec(model: PublishedName | JsonObject, options: SpecOptions = {}): ModuleSpec {
  if (typeof model === 'string' && !Object.hasOwn(publishedConfigs, model))
    throw new OptionError(
      'ERR_OPTION',
      `transformerSpec: unknown model ${JSON.stringify(model)}${suggestion(model, Object.keys(publishedConfigs))}`,
    )
  const config = readConfig('transformerSpec', typeof model === 'string' ? publishedConfigs[model] : model, options.head)
  const pooler = config.family.hasPooler
  return specWithHead(config, config.head ?? (config.body.causal ? 'language' : 'embedding'), {
    classes: options.classes ?? config.labels.length,
    output: options.output ?? (pooler ? 'pooled' : 'mean'),
    pooler,
  })
}
