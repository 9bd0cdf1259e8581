/** The models of bench/cases/transformers.ts: built by Tersor, with weights uniform in +-0.05 in the order of their names, scales of norms 1 more. */
import { floats } from '../lib/data.js'
import type { Api } from './tersor-kernels.js'

export interface TransformerSizes {
  readonly net: 'bert' | 'gpt2'
  readonly layers: number
  readonly width: number
  readonly hidden: number
  readonly heads: number
  readonly vocabulary: number
  readonly positions: number
  readonly tokens: number
  readonly form: 'f32' | 'int8 dynamic'
}

const configs = {
  bert: (p: TransformerSizes) => ({
    model_type: 'bert',
    architectures: ['BertModel'],
    vocab_size: p.vocabulary,
    hidden_size: p.width,
    num_hidden_layers: p.layers,
    num_attention_heads: p.heads,
    intermediate_size: p.hidden,
    max_position_embeddings: p.positions,
  }),
  gpt2: (p: TransformerSizes) => ({
    model_type: 'gpt2',
    architectures: ['GPT2LMHeadModel'],
    vocab_size: p.vocabulary,
    n_embd: p.width,
    n_layer: p.layers,
    n_head: p.heads,
    n_inner: p.hidden,
    n_positions: p.positions,
  }),
} as const

export async function transformerModel(api: Api, p: TransformerSizes): Promise<any> {
  const root = api.transformerSpec(configs[p.net](p), {
    head: p.net === 'bert' ? 'embedding' : 'language',
    ...(p.net === 'bert' ? { output: 'tokens' } : {}),
  })
  let seed = 100
  const weight = (path: string, shape: readonly number[]): any => {
    const size = shape.reduce((a, b) => a * b, 1)
    const base = path.endsWith('gamma') ? 1 : 0
    return new api.DenseWeight(
      api.tensor(
        floats(size, seed++).map((v) => base + 0.05 * v),
        shape,
      ),
    )
  }
  const model = new api.Model(api.build(root, { weight }), { name: p.net, task: p.net === 'bert' ? 'embedding' : 'language', history: [] })
  return p.form === 'f32' ? model : (await api.compress(model, api.recipe([[api.passes.dynamic()]]))).model
}

export const transformerIds = ({ tokens, vocabulary }: TransformerSizes): Int32Array =>
  Int32Array.from({ length: tokens }, (_, i) => (i * 7919 + 13) % vocabulary)
