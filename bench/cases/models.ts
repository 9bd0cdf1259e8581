/** Whole models from JavaScript, batch 1, typed arrays in and out: sessions beside onnxruntime-node. */
import type { Case, Family } from './case.js'
import { transformers } from './transformers.js'
import { graphCases } from './models-graph.js'

const net = { layers: 2, width: 768, hidden: 3072, heads: 12, tokens: 128 } as const
const products = 2 * net.tokens * (4 * net.width * net.width + 2 * net.width * net.hidden)
const attention = 2 * 2 * net.tokens * net.tokens * net.width
const operations = net.layers * (products + attention)

const encoder = (name: string, form: string, limit: 'limit.f32' | 'limit.int8', rivals: readonly string[]): Case => ({
  name,
  params: { ...net, form },
  operations,
  bytes: 0,
  limits: [{ kernel: limit, amount: operations }],
  parts: [
    { contender: 'tersor', kernel: 'model.encoder' },
    { contender: 'tersor', kernel: 'model.encoder.sync', label: 'on the main thread' },
    ...rivals.map((rival) => ({ contender: 'onnxruntime', kernel: 'model.encoder', params: { form: rival }, label: rival })),
  ],
  ms: 200,
})

export const models: Family = {
  name: 'models',
  title: 'models from JavaScript',
  unit: 'GOP/s',
  cases: [
    encoder('encoder 2x768 f32', 'f32', 'limit.f32', ['f32', 'f32 fused']),
    encoder('encoder 2x768 int8', 'int8 dynamic', 'limit.int8', ['int8 dynamic']),
    ...transformers,
    ...graphCases,
  ],
}
