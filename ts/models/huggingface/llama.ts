/**
 * Llama, Mistral and Qwen2 as transformers 4 and 5 write them. Sizes and RMS norms are keys of config.json like those of the other families; what is rotary is
 * read and written here: `rope_theta` and `rope_scaling` (4) or `rope_parameters` (5), groups of keys, biases, windows.
 */
import { UnsupportedError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import type { RotaryConfig, TransformerConfig } from '../transformer/body.js'
import type { Family } from './family.js'

const refuse = (what: string): never => {
  throw new UnsupportedError('ERR_UNSUPPORTED', `config.json: ${what} is not supported`, { details: { what } })
}
const object = (json: Json | undefined): JsonObject =>
  typeof json === 'object' && json !== null && !Array.isArray(json) ? (json as JsonObject) : {}
/** Numbers pass unchecked: the body's schema says what is wrong with them. */
const number = (json: Json | undefined, otherwise: number): number => (json === undefined || json === null ? otherwise : (json as number))

function scalingOf(s: JsonObject): RotaryConfig['scaling'] {
  const type = s.rope_type ?? s.type ?? 'default'
  if (s.partial_rotary_factor !== undefined && s.partial_rotary_factor !== 1)
    refuse(`partial_rotary_factor ${JSON.stringify(s.partial_rotary_factor)}`)
  if (type === 'default') return null
  if (type === 'linear') return { type, factor: s.factor as number }
  if (type !== 'llama3') return refuse(`rope_type ${JSON.stringify(type)} (known: default, linear, llama3)`)
  return {
    type,
    factor: s.factor as number,
    lowFrequency: s.low_freq_factor as number,
    highFrequency: s.high_freq_factor as number,
    positions: s.original_max_position_embeddings as number,
  }
}

interface Kind {
  readonly attentionBias: (json: JsonObject) => RotaryConfig['attentionBias']
  readonly window: (json: JsonObject) => number | null
}

/** Fields that no key says alone; `padding` below 0 stands for none. */
const derive =
  ({ attentionBias, window }: Kind) =>
  (json: JsonObject, c: TransformerConfig): Partial<TransformerConfig> => {
    const parameters = object(json.rope_parameters)
    return {
      embedding: c.width,
      distinct: c.layers,
      embeddingDropout: 0,
      dropout: 0,
      padding: c.padding !== null && c.padding < 0 ? null : c.padding,
      rotary: {
        keyHeads: number(json.num_key_value_heads, c.heads),
        headWidth: number(json.head_dim, c.width / c.heads),
        theta: number(parameters.rope_theta ?? json.rope_theta, 10_000),
        scaling: scalingOf({ ...object(json.rope_scaling), ...parameters }),
        interleaved: false,
        attentionBias: attentionBias(json),
        feedForwardBias: json.mlp_bias === true,
        window: window(json),
      },
    }
  }

function write(c: TransformerConfig): JsonObject {
  const { keyHeads, headWidth, theta, scaling, interleaved, attentionBias, feedForwardBias, window } = c.rotary!
  if (interleaved) refuse('a rotary embedding of neighbouring features')
  if (scaling?.type === 'divisors') refuse('a divisor for each angle')
  const common = scaling && { rope_type: scaling.type, factor: (scaling as { readonly factor: number }).factor }
  return {
    num_key_value_heads: keyHeads,
    head_dim: headWidth,
    rope_theta: theta,
    rope_scaling:
      scaling?.type === 'llama3'
        ? {
            ...common!,
            low_freq_factor: scaling.lowFrequency,
            high_freq_factor: scaling.highFrequency,
            original_max_position_embeddings: scaling.positions,
          }
        : common,
    ...(attentionBias === 'inputs' ? {} : { attention_bias: attentionBias === 'all', mlp_bias: feedForwardBias }),
    ...(window === null ? {} : { sliding_window: window }),
  }
}

export const llama: Family = {
  types: { llama: 'model' },
  className: 'Llama',
  classes: {
    embedding: ['Model'],
    classifier: ['ForSequenceClassification'],
    tokens: ['ForTokenClassification'],
    language: ['ForCausalLM'],
  },
  keys: {
    vocabulary: ['vocab_size'],
    width: ['hidden_size'],
    layers: ['num_hidden_layers'],
    heads: ['num_attention_heads'],
    hidden: ['intermediate_size'],
    positions: ['max_position_embeddings', 2048],
    padding: ['pad_token_id', null],
    activation: ['hidden_act', 'silu'],
    eps: ['rms_norm_eps', 1e-6],
    attentionDropout: ['attention_dropout', 0],
  },
  fixed: { norm: 'pre', causal: true, types: 0 },
  only: { pretraining_tp: [1], quantization_config: [] },
  tied: false,
  derive: derive({ attentionBias: (json) => (json.attention_bias === true ? 'all' : 'none'), window: () => null }),
  holds: (c) => c.rotary !== null && c.rotary.attentionBias !== 'inputs' && c.rotary.window === null,
  write,
  body: [
    ['body.words', '@embed_tokens'],
    ['body.layer*.norm1', '@layers.*.input_layernorm'],
    ['body.layer*.attention.query', '@layers.*.self_attn.q_proj'],
    ['body.layer*.attention.key', '@layers.*.self_attn.k_proj'],
    ['body.layer*.attention.value', '@layers.*.self_attn.v_proj'],
    ['body.layer*.attention.output', '@layers.*.self_attn.o_proj'],
    ['body.layer*.norm2', '@layers.*.post_attention_layernorm'],
    ['body.layer*.gate', '@layers.*.mlp.gate_proj'],
    ['body.layer*.up', '@layers.*.mlp.up_proj'],
    ['body.layer*.down', '@layers.*.mlp.down_proj'],
    ['body.norm', '@norm'],
  ],
  heads: { embedding: [], classifier: [['out', 'score']], tokens: [['out', 'score']], language: [['decoder', 'lm_head']] },
  hasPooler: false,
  headDropout: { classifier: [], tokens: ['classifier_dropout', 'hidden_dropout'] },
  classifier: { token: 'last', pooler: null, bias: false },
  languageActivation: null,
  copies: { 'lm_head.weight': '@embed_tokens.weight' },
  unread: [/^qa_outputs\.(weight|bias)$/],
  buffers: [/(^|\.)rotary_emb\.inv_freq$/],
}

export const mistral: Family = {
  ...llama,
  types: { mistral: 'model' },
  className: 'Mistral',
  // Files of the first version leave the window out.
  derive: derive({
    attentionBias: () => 'none',
    window: (json) => (json.sliding_window === undefined ? 4096 : (json.sliding_window as number | null)),
  }),
  holds: (c) => c.rotary !== null && c.rotary.attentionBias === 'none' && !c.rotary.feedForwardBias,
}

export const qwen2: Family = {
  ...llama,
  types: { qwen2: 'model' },
  className: 'Qwen2',
  only: { ...llama.only, use_sliding_window: [false] },
  derive: derive({ attentionBias: () => 'inputs', window: () => null }),
  holds: (c) => c.rotary !== null && c.rotary.attentionBias === 'inputs' && !c.rotary.feedForwardBias && c.rotary.window === null,
}
