/** Writes the small ONNX models that ONNX Runtime is asked to run: a few nodes with constant weights. Only what those need of the format. */

type Bytes = Uint8Array
const DTYPES = { f32: 1, u8: 2, i8: 3, i32: 6 } as const
export type OnnxType = keyof typeof DTYPES

export interface Value {
  readonly name: string
  readonly type: OnnxType
  readonly dims: readonly number[]
}
export interface Constant extends Value {
  readonly data: ArrayBufferView
}
export interface Node {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** Integer attributes. */
  readonly integers?: Readonly<Record<string, number>>
  /** Default: ONNX's own operators. */
  readonly domain?: 'com.microsoft'
}

const joined = (parts: readonly Bytes[]): Bytes => Buffer.concat(parts)
function varint(n: number): Bytes {
  const out: number[] = []
  for (; n > 127; n = Math.floor(n / 128)) out.push((n % 128) | 128)
  return Uint8Array.of(...out, n)
}
const integer = (field: number, n: number): Bytes => joined([varint(field * 8), varint(n)])
const block = (field: number, bytes: Bytes): Bytes => joined([varint(field * 8 + 2), varint(bytes.length), bytes])
const text = (field: number, s: string): Bytes => block(field, Buffer.from(s))

function value({ name, type, dims }: Value): Bytes {
  const shape = joined(dims.map((d) => block(1, integer(1, d))))
  return joined([text(1, name), block(2, block(1, joined([integer(1, DTYPES[type]), block(2, shape)])))])
}
function constant({ name, type, dims, data }: Constant): Bytes {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  return joined([...dims.map((d) => integer(1, d)), integer(2, DTYPES[type]), text(8, name), block(9, raw)])
}
function node({ op, inputs, outputs, integers = {}, domain = undefined }: Node): Bytes {
  const attributes = Object.entries(integers).map(([name, i]) => block(5, joined([text(1, name), integer(3, i), integer(20, 2)])))
  return joined([
    ...inputs.map((s) => text(1, s)),
    ...outputs.map((s) => text(2, s)),
    text(4, op),
    ...attributes,
    ...(domain ? [text(7, domain)] : []),
  ])
}

export function onnxModel(nodes: readonly Node[], constants: readonly Constant[], input: Value, output: Value): Bytes {
  const graph = joined([
    ...nodes.map((one) => block(1, node(one))),
    text(2, 'bench'),
    ...constants.map((one) => block(5, constant(one))),
    block(11, value(input)),
    block(12, value(output)),
  ])
  const opsets = [['', 17] as const, ['com.microsoft', 1] as const].map(([domain, version]) =>
    block(8, joined([text(1, domain), integer(2, version)])),
  )
  return joined([integer(1, 8), block(7, graph), ...opsets])
}
