/**
 * ONNX's own conformance tests: one folder per test with model.onnx and test_data_set_*\/{input,output}_*.pb (TensorProto, SequenceProto, OptionalProto). A test passes when
 * dtype, shape and every element fit, within the tolerance that the test states, and when shape inference says nothing that contradicts the results.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fromBinary } from '@bufbuild/protobuf'
import type { TensorProto } from 'onnx-buf'
import { isDType } from '../ts/base/dtype.js'
import { isTersorError } from '../ts/base/errors.js'
import { formatContext } from '../ts/formats/limits.js'
import { parseOnnx, type OnnxTensor } from '../ts/formats/onnx/index.js'
import { messageNamed } from '../ts/formats/onnx/schema.js'
import { readTensor } from '../ts/formats/onnx/tensor.js'
import { SequenceValue, type Value, type ValueType } from '../ts/graph/define.js'
import { runGraph } from '../ts/graph/executor.js'
import { HostTensor, nativeDType, toHost, toNative } from '../ts/graph/host.js'
import { graphFromOnnx } from '../ts/graph/import-onnx.js'
import { inferTypes } from '../ts/graph/infer.js'
import { nothing } from '../ts/graph/onnx/sequence.js'
import { isMiniFloat, roundToFormat } from '../ts/graph/minifloat.js'
import { scope } from '../ts/tensor/index.js'

export interface Outcome {
  readonly name: string
  readonly status: 'passed' | 'failed' | 'explained' | 'unsupported'
  /** What the model's nodes are, without repeats. */
  readonly operators: readonly string[]
  readonly opset: number
  readonly reason?: string
}

/** Tests whose data Tersor does not reproduce, and why. */
const explanations: readonly (readonly [RegExp, string])[] = [
  [/^test_dft_inverse(_opset19)?$/, 'the data hold a rounding error of 2e-7 where the exact value is 0, which is what Tersor gives'],
  [/^test_bernoulli|^test_training_dropout_(default|mask|default_mask)$|^test_training_dropout$/, 'random numbers of another generator'],
  [
    /^test_resize_downsample_scales_(cubic|linear)_align_corners$/,
    'the data divide by a length that is not an integer (2.4 elements); the text of the operator and ONNX Runtime take the length of the result',
  ],
  [
    /^test_attention_.*_(bf16|fp16)(_expanded)?$/,
    'the data round to 16 bits after every step, Tersor computes in f32 and rounds once; one unit in the last place',
  ],
  [
    /^test_cast(like)?_(BFLOAT16_to_FLOAT|FLOAT_to_BFLOAT16)(_expanded)?$/,
    'ONNX 1.12 stored bf16 as uint16, and one of the inputs with another shape than declared',
  ],
]

/** A value of a test file: constants of the format, or lists of them; null is an absent optional. */
type Expected = OnnxTensor | readonly Expected[] | null

const tensorSchema = messageNamed('TensorProto')

function tensorOf(file: string, bytes: Uint8Array): OnnxTensor {
  const ctx = { ...formatContext('onnx', file, {}), folder: undefined, options: {} }
  return readTensor(ctx, fromBinary(tensorSchema, bytes) as unknown as TensorProto, 'value')
}

/** Fields of a protobuf message whose fields are varints and length-delimited ones. */
function fields(bytes: Uint8Array): { readonly field: number; readonly value: number; readonly bytes: Uint8Array }[] {
  const out: { field: number; value: number; bytes: Uint8Array }[] = []
  let at = 0
  const varint = (): number => {
    let [value, factor] = [0, 1]
    for (;;) {
      const b = bytes[at++]!
      value += (b & 127) * factor
      factor *= 128
      if (b < 128) return value
    }
  }
  while (at < bytes.length) {
    const key = varint()
    const value = varint()
    const isBytes = (key & 7) === 2
    out.push({ field: key >> 3, value, bytes: isBytes ? bytes.subarray(at, at + value) : bytes.subarray(at, at) })
    if (isBytes) at += value
  }
  return out
}

/** SequenceProto and OptionalProto (onnx-data.proto): name 1, elem_type 2, then per kind of element one field. */
function dataOf(file: string, bytes: Uint8Array, kind: string | undefined): Expected {
  if (kind === 'sequence') {
    const all = fields(bytes)
    return all.flatMap((f) => (f.field === 3 ? [tensorOf(file, f.bytes)] : f.field === 5 ? [dataOf(file, f.bytes, 'sequence')] : []))
  }
  if (kind === 'optional') {
    for (const f of fields(bytes)) {
      if (f.field === 3) return tensorOf(file, f.bytes)
      if (f.field === 5) return dataOf(file, f.bytes, 'sequence')
    }
    return null
  }
  return tensorOf(file, bytes)
}

function valueOf(x: Expected, onHost: boolean): Value {
  if (x === null) return nothing
  if (Array.isArray(x)) return new SequenceValue((x as readonly Expected[]).map((v) => valueOf(v, onHost)))
  const t = x as OnnxTensor
  if (t.strings) return new HostTensor(t.dtype, t.shape, [], { strings: t.strings })
  // Values of a run, not a constant of the model.
  const host = new HostTensor(t.dtype, t.shape, new HostTensor(t.dtype, t.shape, t).data)
  return onHost || !isDType(t.dtype) ? host : toNative(host)
}

interface Tolerance {
  readonly rtol: number
  readonly atol: number
}

function differs(found: Value | undefined, wanted: Expected, tolerance: Tolerance): string | undefined {
  if (found === undefined) return 'no value'
  if (wanted === null) return found instanceof SequenceValue && found.items.length === 0 ? undefined : 'a value where none is expected'
  if (Array.isArray(wanted)) {
    const list = wanted as readonly Expected[]
    if (!(found instanceof SequenceValue)) return 'a tensor where a sequence is expected'
    if (found.items.length !== list.length) return `${found.items.length} elements of a sequence, expected ${list.length}`
    for (const [i, item] of list.entries()) {
      const bad = differs(found.items[i], item, tolerance)
      if (bad) return `element ${i}: ${bad}`
    }
    return undefined
  }
  if (found instanceof SequenceValue) return 'a sequence where a tensor is expected'
  const t = wanted as OnnxTensor
  const host = found instanceof HostTensor ? found : toHost(found)
  const dtypes: string[] = [t.dtype]
  if (t.dtype !== 'string') {
    try {
      dtypes.push(nativeDType(t.dtype))
    } catch {
      // only JavaScript has it
    }
  }
  if (!dtypes.includes(host.dtype)) return `dtype ${host.dtype}, expected ${t.dtype}`
  if (host.shape.length !== t.shape.length || host.shape.some((d, i) => d !== t.shape[i]))
    return `shape [${host.shape.join(',')}], expected [${t.shape.join(',')}]`
  if (t.strings) {
    const at = t.strings.findIndex((s, i) => s !== host.strings![i])
    return at < 0 ? undefined : `element ${at} is ${JSON.stringify(host.strings![at])}, expected ${JSON.stringify(t.strings[at])}`
  }
  const expected = new HostTensor(t.dtype, t.shape, t).data
  for (const [i, w] of expected.entries()) {
    const v = isMiniFloat(t.dtype) ? roundToFormat(t.dtype, host.data[i]!) : host.data[i]!
    const exact = !/^(f|bf)/.test(t.dtype)
    const ok =
      Object.is(v, w) ||
      v === w ||
      (Number.isNaN(v) && Number.isNaN(w)) ||
      (!exact && Math.abs(v - w) <= tolerance.atol + tolerance.rtol * Math.abs(w))
    if (!ok) return `element ${i} of ${expected.length} is ${v}, expected ${w}`
  }
  return undefined
}

/** What inference said of a value against what came out. */
function contradicts(said: ValueType | undefined, found: Value | undefined): string | undefined {
  if (!said || found === undefined || found instanceof SequenceValue) return undefined
  const { shape, dtype } = said
  if (shape && (shape.length !== found.shape.length || shape.some((d, i) => typeof d === 'number' && d !== found.shape[i])))
    return `inferred shape [${shape.join(',')}], came out as [${found.shape.join(',')}]`
  if (dtype === undefined || dtype === found.dtype) return undefined
  try {
    if (nativeDType(dtype) === found.dtype) return undefined
  } catch {
    // only JavaScript has it
  }
  return `inferred dtype ${dtype}, came out as ${found.dtype}`
}

/** A test with the bytes of its files. */
export interface ConformanceTest {
  readonly name: string
  readonly model: Uint8Array
  readonly tolerance: Tolerance
  readonly sets: readonly { readonly inputs: readonly Uint8Array[]; readonly outputs: readonly Uint8Array[] }[]
}

/** The files of one folder. */
export function readConformanceTest(folder: string): ConformanceTest {
  const sets = readdirSync(folder)
    .filter((d) => d.startsWith('test_data_set_'))
    .map((d) => {
      const read = (what: string): Uint8Array[] => {
        const count = readdirSync(path.join(folder, d)).filter((f) => f.startsWith(`${what}_`)).length
        return Array.from({ length: count }, (_, i) => readFileSync(path.join(folder, d, `${what}_${i}.pb`)))
      }
      return { inputs: read('input'), outputs: read('output') }
    })
  return {
    name: path.basename(folder),
    model: readFileSync(path.join(folder, 'model.onnx')),
    tolerance: { rtol: 1e-3, atol: 1e-7, ...(readJson(path.join(folder, 'tolerance.json')) as Partial<Tolerance>) },
    sets,
  }
}

/** Runs a test. `onHost`: all inputs as values in JavaScript; else as native tensors wherever the type has one. */
export function runConformanceTest({ name, model: bytes, tolerance, sets }: ConformanceTest, onHost: boolean): Outcome {
  let operators: string[] = []
  let opset = 0
  const done = (status: Outcome['status'], reason?: string): Outcome => ({
    name,
    status,
    operators,
    opset,
    ...(reason === undefined ? {} : { reason }),
  })
  const explained = (reason: string): Outcome => {
    const why = explanations.find(([test]) => test.test(name))?.[1]
    return why === undefined ? done('failed', reason) : done('explained', why)
  }
  try {
    const model = parseOnnx(bytes)
    opset = model.opsets[''] ?? 0
    operators = [...new Set(model.graph.nodes.map((n) => (n.domain ? `${n.domain}.` : '') + n.op))]
    const graph = graphFromOnnx(model)
    const kinds = new Map(graph.inputs.map((v) => [v.name, v.kind]))
    for (const [k, set] of sets.entries()) {
      const bad = scope(() => {
        const given = graph.inputs.map((v, i) => [v.name, valueOf(dataOf(name, set.inputs[i]!, kinds.get(v.name)), onHost)] as const)
        const types = inferTypes(graph)
        const found = runGraph(graph, Object.fromEntries(given))
        for (const [i, output] of graph.outputs.entries()) {
          const wanted = dataOf(name, set.outputs[i]!, model.graph.outputs[i]!.kind)
          const bad = differs(found[output], wanted, tolerance) ?? contradicts(types.get(output), found[output])
          if (bad) return `output ${JSON.stringify(output)}: ${bad}`
        }
        return undefined
      })
      if (bad) return explained(`data set ${k}: ${bad}`)
    }
    return done('passed')
  } catch (error) {
    const known = isTersorError(error)
    const message = error instanceof Error ? error.message : String(error)
    if (known && error.code === 'ERR_UNSUPPORTED') return done('unsupported', `${error.code}: ${message}`)
    return explained(known ? `${error.code}: ${message}` : `${message} ${(error as Error).stack?.split('\n')[1] ?? ''}`)
  }
}

function readJson(file: string): object {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as object) : {}
}

/** Folders with a model.onnx, by name. */
export function testFolders(root: string): string[] {
  return readdirSync(root)
    .filter((d) => existsSync(path.join(root, d, 'model.onnx')))
    .sort()
    .map((d) => path.join(root, d))
}
