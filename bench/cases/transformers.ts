/** Transformers of published sizes with seeded weights, batch 1, from token ids to vectors or scores: sessions beside onnxruntime-node on the graph that `saveOnnx` writes of the same model. */
import type { Case } from './case.js'

/** What of a published configuration sets the work; the rest is the family's default. */
interface Net {
  readonly net: 'bert' | 'gpt2'
  readonly layers: number
  readonly width: number
  readonly hidden: number
  readonly heads: number
  readonly vocabulary: number
  readonly positions: number
  readonly tokens: number
}
const base = { layers: 12, width: 768, hidden: 3072, heads: 12 } as const
const bert: Net = { ...base, net: 'bert', vocabulary: 30522, positions: 512, tokens: 128 }
const gpt2: Net = { ...base, net: 'gpt2', vocabulary: 50257, positions: 1024, tokens: 64 }

/** Multiply-adds count as 2. GPT-2 gives the scores of all words at each place. */
function operationsOf({ net, layers, width, hidden, vocabulary, tokens }: Net): number {
  const products = 2 * tokens * (4 * width * width + 2 * width * hidden)
  const attention = 2 * 2 * tokens * tokens * width
  return layers * (products + attention) + (net === 'gpt2' ? 2 * tokens * width * vocabulary : 0)
}

function one(name: string, net: Net, form: 'f32' | 'int8 dynamic'): Case {
  const operations = operationsOf(net)
  return {
    name: `${name} ${form === 'f32' ? form : 'int8'}`,
    params: { ...net, form },
    operations,
    bytes: 0,
    limits: [{ kernel: form === 'f32' ? 'limit.f32' : 'limit.int8', amount: operations }],
    parts: [
      { contender: 'tersor', kernel: 'model.transformer' },
      { contender: 'tersor', kernel: 'model.transformer.sync', label: 'on the main thread' },
      { contender: 'onnxruntime', kernel: 'model.transformer', label: form },
    ],
    ms: 500,
  }
}

export const transformers: readonly Case[] = [
  one('BERT-base', bert, 'f32'),
  one('BERT-base', bert, 'int8 dynamic'),
  one('GPT-2', gpt2, 'f32'),
]
