/** Small models of every shape that sessions are tested with: kind by kind, dense and compressed. */
import { Rng } from '../../ts/base/rng.js'
import { architectures, compress, languageModel, Model, prune, quantize, recipe, sparsify, transformerSpec } from '../../ts/index.js'
import { build, encoderBlock, freshValues, sequential, type ModuleSpec } from '../../ts/nn/index.js'
import { useLite } from '../../ts/models/use-lite.js'
import type { SessionInputs } from '../../ts/runtime/index.js'
import { blobs, mlp } from '../compress/toys.js'

export interface Sample {
  readonly model: Model
  readonly inputs: (n: number) => SessionInputs
}

export function modelOf(spec: ModuleSpec, seed = 3): Model {
  return new Model(build(spec, freshValues(Rng.of(seed, 'session'))), { name: 'sample', task: 'embedding', history: [] })
}

export function floats(...shape: number[]): { data: Float32Array; shape: number[] } {
  const rng = Rng.of(shape.length + shape[0]!, 'input')
  return { data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()), shape }
}

export function ids(below: number, ...shape: number[]): { data: Int32Array; shape: number[] } {
  const rng = Rng.of(below, 'ids')
  return { data: Int32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.int(below)), shape }
}

/** The last token of each row is padding. */
function mask(rows: number, length: number): { data: Float32Array; shape: number[] } {
  return { data: Float32Array.from({ length: rows * length }, (_, i) => (i % length === length - 1 ? 0 : 1)), shape: [rows, length] }
}

const image = (name: 'mlp' | 'lenet5' | 'convnet'): Sample => {
  const { spec, inputShape } = architectures[name]({ inputShape: [28, 28], classes: 10 })
  return { model: modelOf(spec), inputs: (n) => floats(n, ...inputShape) }
}
const block = (norm: 'pre' | 'post'): ModuleSpec => encoderBlock({ width: 32, heads: 4, hidden: 64, norm })

export const dense: Readonly<Record<string, () => Sample>> = {
  mlp: () => image('mlp'),
  'LeNet-5': () => image('lenet5'),
  convnet: () => image('convnet'),
  'post-norm encoder': () => ({ model: modelOf(sequential({ a: block('post'), b: block('post') })), inputs: (n) => floats(2, 4 * n, 32) }),
  'pre-norm encoder': () => ({ model: modelOf(sequential({ a: block('pre'), b: block('pre') })), inputs: (n) => floats(1, 20 + n, 32) }),
  BERT: () => ({
    model: modelOf(
      transformerSpec({
        model_type: 'bert',
        vocab_size: 90,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 64,
        max_position_embeddings: 16,
      }),
    ),
    inputs: (n) => ({ ids: ids(90, n, 6), mask: mask(n, 6) }),
  }),
  'USE-lite': () => ({
    model: modelOf(useLite({ vocabulary: 50, embedding: 16, width: 32, layers: 2, heads: 4, hidden: 48, out: 32, maxTokens: 16 })),
    inputs: (n) => ({ ids: ids(50, n, 7), mask: mask(n, 7) }),
  }),
  'LSTM language model': () => ({
    model: modelOf(languageModel({ vocabulary: 40, width: 16, hidden: 24, layers: 2 })),
    inputs: (n) => ids(40, n, 5),
  }),
  'GRU language model': () => ({
    model: modelOf(languageModel({ vocabulary: 40, width: 16, hidden: 16, cell: 'gru', tied: true })),
    inputs: (n) => ids(40, n, 5),
  }),
}

const data = blobs(64)
const small = async (stages: Parameters<typeof recipe>[0]): Promise<Sample> => {
  const { model } = await compress(mlp(), recipe(stages), { data })
  return { model, inputs: (n) => floats(n, 8) }
}

export const compressed: Readonly<Record<string, () => Promise<Sample>>> = {
  'int8 weights': () => small([[quantize.rtn({ bits: 8 })]]),
  'int4 weights in groups': () => small([[quantize.rtn({ bits: 4, groupSize: 4 })]]),
  'int8 static': () => small([[quantize.static({})]]),
  masked: () => small([[prune.magnitude({ sparsity: 0.8 })]]),
  sparse: () => small([[prune.magnitude({ sparsity: 0.8 })], [sparsify.csr({})]]),
}
