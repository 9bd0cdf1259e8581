/**
 * The encoder of bench/cases/models.ts as ONNX, written with onnx-buf: two post-norm blocks. Forms: 'f32' as exporters write it (ONNX Runtime's
 * optimizer finds layer norm and GELU itself), 'f32 fused' with its own MultiHeadAttention, Gelu and SkipLayerNormalization, 'int8 dynamic' as its
 * quantize_dynamic writes products: the input quantized in the run, weights int8 per column. Weights and data are those of tersor-models.ts.
 */
import { create, toBinary } from '@bufbuild/protobuf'
import {
  AttributeProto_AttributeType as Kind,
  AttributeProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType as Type,
  type AttributeProto,
  type NodeProto,
  type TensorProto,
} from 'onnx-buf'
import { encoderWeights, type EncoderSizes } from './encoder-weights.js'

type Attributes = Readonly<Record<string, number | readonly number[] | { readonly float: number }>>
const attribute = (name: string, v: Attributes[string]): AttributeProto => {
  if (typeof v === 'number') return create(AttributeProtoSchema, { name, type: Kind.INT, i: BigInt(v) })
  if ('float' in v) return create(AttributeProtoSchema, { name, type: Kind.FLOAT, f: v.float })
  return create(AttributeProtoSchema, { name, type: Kind.INTS, ints: v.map(BigInt) })
}
const raw = (data: ArrayBufferView): Uint8Array<ArrayBuffer> => new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength)

class Builder {
  readonly nodes: Partial<NodeProto>[] = []
  readonly constants: Partial<TensorProto>[] = []
  #count = 0

  constant(dataType: Type, dims: readonly number[], data: ArrayBufferView): string {
    const name = `c${this.constants.length}`
    this.constants.push({ name, dataType, dims: dims.map(BigInt), rawData: raw(data) })
    return name
  }
  floats = (data: Float32Array, ...dims: number[]): string => this.constant(Type.FLOAT, dims, data)
  node(op: string, inputs: readonly string[], attributes: Attributes = {}, { domain = '', outputs = 1 } = {}): string {
    const output = Array.from({ length: outputs }, () => `v${this.#count++}`)
    this.nodes.push({
      name: output[0]!,
      opType: op,
      domain,
      input: [...inputs],
      output,
      attribute: Object.entries(attributes).map(([name, v]) => attribute(name, v)),
    })
    return output[0]!
  }
}

/** [N, K] -> [K, N]. */
function turned(w: Float32Array, n: number, k: number): Float32Array {
  const out = new Float32Array(w.length)
  for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) out[j * n + i] = w[i * k + j]!
  return out
}

export type EncoderForm = 'f32' | 'f32 fused' | 'int8 dynamic'

export function onnxEncoder(p: EncoderSizes, form: EncoderForm): Uint8Array {
  const b = new Builder()
  const { width, hidden, heads, tokens, layers } = p
  const weights = encoderWeights(p)
  const of = (path: string): Float32Array => weights.get(path)!
  const fused = form === 'f32 fused'
  const MS = { domain: 'com.microsoft' }

  const linear = (x: string, path: string, n: number, k: number): string => {
    const w = turned(of(`${path}.weight`), n, k)
    const bias = b.floats(of(`${path}.bias`), n)
    if (form !== 'int8 dynamic') return b.node('Add', [b.node('MatMul', [x, b.floats(w, k, n)]), bias])
    const scale = new Float32Array(n)
    for (let i = 0; i < w.length; i++) scale[i % n] = Math.max(scale[i % n]!, Math.abs(w[i]!) / 127)
    const codes = Int8Array.from(w, (v, i) => Math.round(v / scale[i % n]!))
    const q = b.node('DynamicQuantizeLinear', [x], {}, { outputs: 3 })
    const [xScale, xZero] = [1, 2].map((i) => (b.nodes.at(-1)!.output as string[])[i]!) as [string, string]
    const zero = b.constant(Type.INT8, [n], new Int8Array(n))
    const sums = b.node('MatMulInteger', [q, b.constant(Type.INT8, [k, n], codes), xZero, zero])
    const factor = b.node('Mul', [xScale, b.floats(scale, n)])
    return b.node('Add', [b.node('Mul', [b.node('Cast', [sums], { to: Type.FLOAT }), factor]), bias])
  }
  const split = b.constant(Type.INT64, [4], BigInt64Array.from([1, tokens, heads, width / heads].map(BigInt)))
  const joined = b.constant(Type.INT64, [3], BigInt64Array.from([1, tokens, width].map(BigInt)))
  const scale = b.floats(Float32Array.of(Math.sqrt(heads / width)))
  const constants = { half: b.floats(Float32Array.of(0.5)), one: b.floats(Float32Array.of(1)), root: b.floats(Float32Array.of(Math.SQRT2)) }
  const gelu = (x: string): string => {
    if (fused) return b.node('Gelu', [x], {}, MS)
    const erf = b.node('Erf', [b.node('Div', [x, constants.root])])
    return b.node('Mul', [b.node('Mul', [x, b.node('Add', [erf, constants.one])]), constants.half])
  }
  const norm = (x: string, residual: string, path: string): string => {
    const [gamma, beta] = ['gamma', 'beta'].map((name) => b.floats(of(`${path}.${name}`), width)) as [string, string]
    if (fused) return b.node('SkipLayerNormalization', [x, residual, gamma, beta], { epsilon: { float: 1e-5 } }, MS)
    return b.node('LayerNormalization', [b.node('Add', [residual, x]), gamma, beta], { axis: -1, epsilon: { float: 1e-5 } })
  }
  const attention = (q: string, k: string, v: string): string => {
    if (fused) return b.node('MultiHeadAttention', [q, k, v], { num_heads: heads }, MS)
    const headed = (t: string, perm: readonly number[]): string => b.node('Transpose', [b.node('Reshape', [t, split])], { perm })
    const scores = b.node('Mul', [b.node('MatMul', [headed(q, [0, 2, 1, 3]), headed(k, [0, 2, 3, 1])]), scale])
    const heard = b.node('MatMul', [b.node('Softmax', [scores], { axis: -1 }), headed(v, [0, 2, 1, 3])])
    return b.node('Reshape', [b.node('Transpose', [heard], { perm: [0, 2, 1, 3] }), joined])
  }

  let x = 'x'
  for (let i = 0; i < layers; i++) {
    const at = `${i}.attention`
    const [q, k, v] = ['query', 'key', 'value'].map((name) => linear(x, `${at}.${name}`, width, width)) as [string, string, string]
    const h = norm(linear(attention(q, k, v), `${at}.output`, width, width), x, `${i}.norm1`)
    x = norm(linear(gelu(linear(h, `${i}.up`, hidden, width)), `${i}.down`, width, hidden), h, `${i}.norm2`)
  }
  const value = (name: string): object => ({
    name,
    type: {
      value: {
        case: 'tensorType',
        value: { elemType: Type.FLOAT, shape: { dim: [1, tokens, width].map((d) => ({ value: { case: 'dimValue', value: BigInt(d) } })) } },
      },
    },
  })
  const model = {
    irVersion: 8n,
    opsetImport: [
      { domain: '', version: 17n },
      { domain: 'com.microsoft', version: 1n },
    ],
    graph: { name: 'encoder', node: b.nodes, initializer: b.constants, input: [value('x')], output: [value(x)] },
  }
  return toBinary(ModelProtoSchema, create(ModelProtoSchema, model as never))
}
