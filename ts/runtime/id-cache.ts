/**
 * Language models for programs that hand in one token at a time, with a cache of what went before (transformers.js).
 *
 * Such programs pass tensors `past_key_values.*` through without looking into them, except for the size next to last, the number of tokens so far. Here the cache
 * is one tensor with the ids of these tokens, i64 [batch, 1, past, 1]: the graph puts the new ids behind them and computes the whole text. Results are those of the
 * model; a text of T tokens costs T runs over all that is there, so this is for models and texts that are small. Outputs: `logits` of the whole text, of which such
 * programs read the last row, and `present.0.key`, the cache of the next call.
 */
import type { OnnxGraph, OnnxModel, OnnxNode, ValueInfo } from '../formats/onnx/index.js'
import { bytesOf } from '../graph/export/builder.js'

const IDS = 'input_ids'
const MASK = 'attention_mask'
const PAST = 'past_key_values.0.key'
const PRESENT = 'present.0.key'
/** Names that no trace gives. */
const AXES = 'cache/axes'
const ALL = 'cache/all_ids'

/** Nodes of a graph with one value under another name, subgraphs included. */
function renamed(nodes: readonly OnnxNode[], from: string, to: string): OnnxNode[] {
  const graph = (g: OnnxGraph): OnnxGraph => ({ ...g, nodes: renamed(g.nodes, from, to) })
  return nodes.map((n) => ({
    ...n,
    inputs: n.inputs.map((name) => (name === from ? to : name)),
    attributes: Object.fromEntries(
      Object.entries(n.attributes).map(([name, a]) => [name, a.type === 'graph' ? { ...a, value: graph(a.value) } : a]),
    ),
  }))
}

/** A graph from `input_ids` and `attention_mask` [batch, tokens] to `logits`, as one that takes the tokens in pieces. */
export function withIdCache(onnx: OnnxModel): OnnxModel {
  const { graph } = onnx
  const node = (op: string, inputs: string[], output: string, axis?: number): OnnxNode => ({
    op,
    domain: '',
    name: `${output}_${op}`,
    inputs,
    outputs: [output],
    attributes: axis === undefined ? {} : { axis: { type: 'int', value: axis } },
  })
  const sizes = new Map([
    [IDS, ['batch_size', 'sequence_length']],
    [MASK, ['batch_size', 'total_sequence_length']],
  ])
  const before = [node('Squeeze', [PAST, AXES], 'cache/past_ids'), node('Concat', ['cache/past_ids', IDS], ALL, 1)]
  const after = [node('Unsqueeze', [ALL, AXES], PRESENT)]
  const cache = (name: string, length: string): ValueInfo => ({ name, dtype: 'i64', shape: ['batch_size', 1, length, 1] })
  return {
    ...onnx,
    graph: {
      ...graph,
      inputs: [...graph.inputs.map((v): ValueInfo => ({ ...v, shape: sizes.get(v.name)! })), cache(PAST, 'past_sequence_length')],
      outputs: [
        ...graph.outputs.map((v) => ({ ...v, shape: ['batch_size', 'total_sequence_length', v.shape?.[2] ?? null] })),
        cache(PRESENT, 'total_sequence_length'),
      ],
      nodes: [...before, ...renamed(graph.nodes, IDS, ALL), ...after],
      initializers: new Map([...graph.initializers, [AXES, { dtype: 'i64', shape: [2], read: () => bytesOf('i64', [1, 3]) }]]),
    },
  }
}
