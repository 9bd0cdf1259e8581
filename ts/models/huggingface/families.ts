/**
 * The families: BERT, RoBERTa, ALBERT, DistilBERT and GPT-2 as transformers 4 and 5 write them (checked against transformers 5.18, test/golden/make-huggingface.py).
 * Defaults are those of the classes' configurations: older files leave keys out.
 */
import { OptionError, UnsupportedError } from '../../base/errors.js'
import type { TransformerConfig } from '../transformer/body.js'
import type { Family, NameRow } from './family.js'
import { llama, mistral, qwen2 } from './llama.js'

const bertKeys = {
  vocabulary: ['vocab_size'],
  width: ['hidden_size'],
  layers: ['num_hidden_layers'],
  heads: ['num_attention_heads'],
  hidden: ['intermediate_size'],
  positions: ['max_position_embeddings'],
  types: ['type_vocab_size', 2],
  padding: ['pad_token_id', 0],
  activation: ['hidden_act', 'gelu'],
  eps: ['layer_norm_eps', 1e-12],
  dropout: ['hidden_dropout_prob', 0.1],
  attentionDropout: ['attention_probs_dropout_prob', 0.1],
} as const satisfies Family['keys']

const encoder = { norm: 'post', causal: false } as const
const ownLayers = (c: TransformerConfig): Partial<TransformerConfig> => ({
  embedding: c.width,
  distinct: c.layers,
  embeddingDropout: c.dropout,
})

const embeddingRows: readonly NameRow[] = [
  ['body.words', '@embeddings.word_embeddings'],
  ['body.positions', '@embeddings.position_embeddings'],
  ['body.types', '@embeddings.token_type_embeddings'],
  ['body.norm', '@embeddings.LayerNorm'],
]
const bertBody: readonly NameRow[] = [
  ...embeddingRows,
  ['body.layer*.attention.query', '@encoder.layer.*.attention.self.query'],
  ['body.layer*.attention.key', '@encoder.layer.*.attention.self.key'],
  ['body.layer*.attention.value', '@encoder.layer.*.attention.self.value'],
  ['body.layer*.attention.output', '@encoder.layer.*.attention.output.dense'],
  ['body.layer*.norm1', '@encoder.layer.*.attention.output.LayerNorm'],
  ['body.layer*.up', '@encoder.layer.*.intermediate.dense'],
  ['body.layer*.down', '@encoder.layer.*.output.dense'],
  ['body.layer*.norm2', '@encoder.layer.*.output.LayerNorm'],
]
const only = { position_embedding_type: ['absolute'], is_decoder: [false], add_cross_attention: [false], quantization_config: [] }
const positionIds = [/(^|\.)embeddings\.position_ids$/, /(^|\.)embeddings\.token_type_ids$/]
const questionAnswers = /^qa_outputs\.(weight|bias)$/
const pooler: readonly NameRow[] = [['pooler', '@pooler.dense']]

const bert: Family = {
  types: { bert: 'bert' },
  className: 'Bert',
  classes: {
    embedding: ['Model'],
    classifier: ['ForSequenceClassification'],
    tokens: ['ForTokenClassification'],
    language: ['ForMaskedLM', 'ForPreTraining'],
  },
  keys: bertKeys,
  fixed: encoder,
  only,
  derive: (_config, c) => ownLayers(c),
  body: bertBody,
  heads: {
    embedding: pooler,
    classifier: [...pooler, ['out', 'classifier']],
    tokens: [['out', 'classifier']],
    language: [
      ['transform', 'cls.predictions.transform.dense'],
      ['norm', 'cls.predictions.transform.LayerNorm'],
      ['decoder', 'cls.predictions.decoder'],
      ['', 'cls.predictions'],
    ],
  },
  hasPooler: true,
  headDropout: { classifier: ['classifier_dropout', 'hidden_dropout_prob'], tokens: ['classifier_dropout', 'hidden_dropout_prob'] },
  classifier: {},
  languageActivation: 'body',
  copies: {
    'cls.predictions.decoder.weight': '@embeddings.word_embeddings.weight',
    'cls.predictions.decoder.bias': 'cls.predictions.bias',
  },
  unread: [questionAnswers, /^cls\.seq_relationship\.(weight|bias)$/],
  buffers: positionIds,
}

const roberta: Family = {
  ...bert,
  types: { roberta: 'roberta', 'xlm-roberta': 'roberta', camembert: 'roberta' },
  className: 'Roberta',
  classes: { ...bert.classes, language: ['ForMaskedLM'] },
  keys: { ...bertKeys, padding: ['pad_token_id', 1] },
  fixed: { ...encoder, positionsFrom: 'padding' },
  heads: {
    embedding: pooler,
    classifier: [
      ['pooler', 'classifier.dense'],
      ['out', 'classifier.out_proj'],
    ],
    tokens: [['out', 'classifier']],
    language: [
      ['transform', 'lm_head.dense'],
      ['norm', 'lm_head.layer_norm'],
      ['decoder', 'lm_head.decoder'],
      ['', 'lm_head'],
    ],
  },
  classifier: { dropoutFirst: true },
  languageActivation: 'gelu',
  copies: { 'lm_head.decoder.weight': '@embeddings.word_embeddings.weight', 'lm_head.decoder.bias': 'lm_head.bias' },
  unread: [questionAnswers],
}

const albertLayer = '@encoder.albert_layer_groups.*.albert_layers.0'
const albert: Family = {
  ...bert,
  types: { albert: 'albert' },
  className: 'Albert',
  keys: {
    ...bertKeys,
    embedding: ['embedding_size', 128],
    activation: ['hidden_act', 'gelu_new'],
    dropout: ['hidden_dropout_prob', 0],
    attentionDropout: ['attention_probs_dropout_prob', 0],
    distinct: ['num_hidden_groups', 1],
  },
  // The feed-forward net of ALBERT's layer has no dropout behind it.
  fixed: { ...encoder, project: true, dropoutAfter: 'attention' },
  only: { ...only, inner_group_num: [1] },
  derive: (_config, c) => ({ embeddingDropout: c.dropout }),
  body: [
    ...embeddingRows,
    ['body.project', '@encoder.embedding_hidden_mapping_in'],
    ['body.layer*.attention.query', `${albertLayer}.attention.query`],
    ['body.layer*.attention.key', `${albertLayer}.attention.key`],
    ['body.layer*.attention.value', `${albertLayer}.attention.value`],
    ['body.layer*.attention.output', `${albertLayer}.attention.dense`],
    ['body.layer*.norm1', `${albertLayer}.attention.LayerNorm`],
    ['body.layer*.up', `${albertLayer}.ffn`],
    ['body.layer*.down', `${albertLayer}.ffn_output`],
    ['body.layer*.norm2', `${albertLayer}.full_layer_layer_norm`],
  ],
  heads: {
    embedding: [['pooler', '@pooler']],
    classifier: [
      ['pooler', '@pooler'],
      ['out', 'classifier'],
    ],
    tokens: [['out', 'classifier']],
    language: [
      ['transform', 'predictions.dense'],
      ['norm', 'predictions.LayerNorm'],
      ['decoder', 'predictions.decoder'],
      ['', 'predictions'],
    ],
  },
  headDropout: { classifier: ['classifier_dropout_prob'], tokens: ['classifier_dropout_prob', 'hidden_dropout_prob'] },
  copies: { 'predictions.decoder.weight': '@embeddings.word_embeddings.weight', 'predictions.decoder.bias': 'predictions.bias' },
  unread: [questionAnswers, /^sop_classifier\.classifier\.(weight|bias)$/],
}

const distilbert: Family = {
  ...bert,
  types: { distilbert: 'distilbert' },
  className: 'DistilBert',
  classes: { ...bert.classes, language: ['ForMaskedLM'] },
  keys: {
    vocabulary: ['vocab_size'],
    width: ['dim'],
    layers: ['n_layers'],
    heads: ['n_heads'],
    hidden: ['hidden_dim'],
    positions: ['max_position_embeddings'],
    padding: ['pad_token_id', 0],
    activation: ['activation', 'gelu'],
    dropout: ['dropout', 0.1],
    attentionDropout: ['attention_dropout', 0.1],
  },
  // No dropout behind the attention's projection.
  fixed: { ...encoder, eps: 1e-12, types: 0, dropoutAfter: 'feedForward' },
  body: [
    ...embeddingRows.filter(([ours]) => ours !== 'body.types'),
    ['body.layer*.attention.query', '@transformer.layer.*.attention.q_lin'],
    ['body.layer*.attention.key', '@transformer.layer.*.attention.k_lin'],
    ['body.layer*.attention.value', '@transformer.layer.*.attention.v_lin'],
    ['body.layer*.attention.output', '@transformer.layer.*.attention.out_lin'],
    ['body.layer*.norm1', '@transformer.layer.*.sa_layer_norm'],
    ['body.layer*.up', '@transformer.layer.*.ffn.lin1'],
    ['body.layer*.down', '@transformer.layer.*.ffn.lin2'],
    ['body.layer*.norm2', '@transformer.layer.*.output_layer_norm'],
  ],
  heads: {
    embedding: [],
    classifier: [
      ['pooler', 'pre_classifier'],
      ['out', 'classifier'],
    ],
    tokens: [['out', 'classifier']],
    language: [
      ['transform', 'vocab_transform'],
      ['norm', 'vocab_layer_norm'],
      ['decoder', 'vocab_projector'],
      ['', 'vocab_projector'],
    ],
  },
  hasPooler: false,
  headDropout: { classifier: ['seq_classif_dropout'], tokens: ['dropout'] },
  classifier: { pooler: 'relu' },
  copies: { 'vocab_projector.weight': '@embeddings.word_embeddings.weight' },
  unread: [questionAnswers],
}

const gpt2: Family = {
  types: { gpt2: 'transformer' },
  className: 'GPT2',
  classes: {
    embedding: ['Model'],
    classifier: ['ForSequenceClassification'],
    tokens: ['ForTokenClassification'],
    language: ['LMHeadModel'],
  },
  keys: {
    vocabulary: ['vocab_size'],
    width: ['n_embd'],
    layers: ['n_layer'],
    heads: ['n_head'],
    positions: ['n_positions', 1024],
    padding: ['pad_token_id', null],
    activation: ['activation_function', 'gelu_new'],
    eps: ['layer_norm_epsilon', 1e-5],
    embeddingDropout: ['embd_pdrop', 0.1],
    dropout: ['resid_pdrop', 0.1],
    attentionDropout: ['attn_pdrop', 0.1],
  },
  fixed: { norm: 'pre', causal: true, types: 0 },
  only: { add_cross_attention: [false], scale_attn_weights: [true], scale_attn_by_inverse_layer_idx: [false], quantization_config: [] },
  derive: (config, c) => ({
    embedding: c.width,
    distinct: c.layers,
    hidden: typeof config.n_inner === 'number' ? config.n_inner : 4 * c.width,
  }),
  write: (c) => ({ n_inner: c.hidden === 4 * c.width ? null : c.hidden, n_ctx: c.positions }),
  body: [
    ['body.words', '@wte'],
    ['body.positions', '@wpe'],
    ['body.layer*.norm1', '@h.*.ln_1'],
    ['body.layer*.attention.query', '@h.*.attn.c_attn', 'query'],
    ['body.layer*.attention.key', '@h.*.attn.c_attn', 'key'],
    ['body.layer*.attention.value', '@h.*.attn.c_attn', 'value'],
    ['body.layer*.attention.output', '@h.*.attn.c_proj', 'transposed'],
    ['body.layer*.norm2', '@h.*.ln_2'],
    ['body.layer*.up', '@h.*.mlp.c_fc', 'transposed'],
    ['body.layer*.down', '@h.*.mlp.c_proj', 'transposed'],
    ['body.norm', '@ln_f'],
  ],
  heads: { embedding: [], classifier: [['out', 'score']], tokens: [['out', 'classifier']], language: [['decoder', 'lm_head']] },
  hasPooler: false,
  headDropout: { classifier: [], tokens: ['classifier_dropout', 'hidden_dropout'] },
  classifier: { token: 'last', pooler: null, bias: false },
  languageActivation: null,
  copies: { 'lm_head.weight': '@wte.weight' },
  unread: [questionAnswers, /^multiple_choice_head\./],
  buffers: [/(^|\.)h\.\d+\.attn\.(bias|masked_bias)$/],
}

export const families: readonly Family[] = [bert, roberta, albert, distilbert, gpt2, llama, mistral, qwen2]

export function familyOfType(where: string, type: string): Family {
  const found = families.find((f) => Object.hasOwn(f.types, type))
  if (found) return found
  const known = families.flatMap((f) => Object.keys(f.types)).join(', ')
  throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: model_type ${JSON.stringify(type)} is not supported; known: ${known}`, {
    details: { what: `model_type ${type}` },
  })
}

/** The family whose files can hold such a body: the first that agrees with everything it fixes. */
export function familyOfBody(where: string, c: TransformerConfig): Family {
  const holds = (f: Family): boolean =>
    Object.entries(f.fixed).every(([name, value]) => name === 'dropoutAfter' || c[name as keyof TransformerConfig] === value) &&
    (f === albert || (c.distinct === c.layers && !c.project)) &&
    (f.keys.types !== undefined ? c.types > 0 : c.types === 0) &&
    (f === roberta || c.positionsFrom === 'start') &&
    (f.holds?.(c) ?? c.rotary === null)
  const found = families.find(holds)
  if (found) return found
  throw new OptionError('ERR_OPTION', `${where}: no Hugging Face family (${families.map((f) => f.className).join(', ')}) has such a body`)
}
