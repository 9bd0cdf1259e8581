/** ONNX Runtime through onnxruntime-node: what a user of Node gets. Results are written into memory that is used again. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { bytes, floats, signedBytes, sumAbs } from '../lib/data.js'
import type { Job } from '../lib/protocol.js'
import { serve, Unsupported, type ServedCase } from '../lib/serve.js'
import { encoderInput, type EncoderSizes } from './encoder-weights.js'
import { onnxEncoder, type EncoderForm } from './onnx-encoder.js'
import { onnxFile } from './onnx-files.js'
import { onnxModel, type Constant, type Node, type OnnxType } from './onnx-model.js'
import { transformerIds, type TransformerSizes } from './transformers.js'

const rivals = process.env.TERSOR_BENCH_RIVALS ?? join(import.meta.dirname, '..', 'rivals')
const require = createRequire(join(rivals, 'package.json'))
const ort = require('onnxruntime-node')
const { version } = require('onnxruntime-node/package.json') as { version: string }

type Sizes = Record<'m' | 'k' | 'n' | 'copies' | 'bits' | 'group', number>
interface Variant {
  readonly input: OnnxType
  readonly output: OnnxType
  readonly nodes: readonly Node[] | ((p: Sizes) => readonly Node[])
  readonly constants: (k: number, n: number, p: Sizes) => readonly Constant[]
}

const int8Weights = (k: number, n: number): Constant => ({ name: 'B', type: 'i8', dims: [k, n], data: signedBytes(k * n, 22) })
const integerProduct = (input: 'u8' | 'i8'): Variant => ({
  input,
  output: 'i32',
  nodes: [{ op: 'MatMulInteger', inputs: ['A', 'B', 'zero'], outputs: ['Y'] }],
  constants: (k, n) => [int8Weights(k, n), { name: 'zero', type: input, dims: [], data: new Uint8Array(1) }],
})

const variants: Readonly<Record<string, Variant>> = {
  'gemm.f32': {
    input: 'f32',
    output: 'f32',
    nodes: [{ op: 'MatMul', inputs: ['A', 'B'], outputs: ['Y'] }],
    constants: (k, n) => [{ name: 'B', type: 'f32', dims: [k, n], data: floats(k * n, 22) }],
  },
  'gemm.u8s8': integerProduct('u8'),
  'gemm.s8s8': integerProduct('i8'),
  // What its quantize_dynamic writes, which it fuses into one kernel.
  'gemm.int8.dynamic': {
    input: 'f32',
    output: 'f32',
    nodes: [
      { op: 'DynamicQuantizeLinear', inputs: ['A'], outputs: ['q', 'scale', 'zero'] },
      { op: 'MatMulInteger', inputs: ['q', 'B', 'zero', 'wZero'], outputs: ['integers'] },
      { op: 'Cast', inputs: ['integers'], outputs: ['reals'], integers: { to: 1 } },
      { op: 'Mul', inputs: ['scale', 'wScale'], outputs: ['factor'] },
      { op: 'Mul', inputs: ['reals', 'factor'], outputs: ['Y'] },
    ],
    constants: (k, n) => [
      int8Weights(k, n),
      { name: 'wScale', type: 'f32', dims: [n], data: new Float32Array(n).fill(0.01) },
      { name: 'wZero', type: 'i8', dims: [n], data: new Int8Array(n) },
    ],
  },
  // 4-bit weights in blocks, int8 arithmetic allowed (accuracy_level 4): its fastest form.
  'gemm.groups': {
    input: 'f32',
    output: 'f32',
    nodes: ({ k, n, bits, group }) => [
      {
        op: 'MatMulNBits',
        domain: 'com.microsoft',
        inputs: ['A', 'B', 'scales'],
        outputs: ['Y'],
        integers: { K: k, N: n, bits, block_size: group, accuracy_level: 4 },
      },
    ],
    constants: (k, n, { group }) => [
      { name: 'B', type: 'u8', dims: [n, k / group, group / 2], data: bytes((n * k) / 2, 22) },
      { name: 'scales', type: 'f32', dims: [(n * k) / group], data: new Float32Array((n * k) / group).fill(0.01) },
    ],
  },
}

const TYPES = { f32: 'float32', u8: 'uint8', i8: 'int8', i32: 'int32' } as const
const inputOf = { f32: floats, u8: bytes, i8: signedBytes }

async function encoder({ params, threads }: Job): Promise<ServedCase> {
  const p = params as unknown as EncoderSizes & { readonly form: EncoderForm }
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: 3, graphOptimizationLevel: 'all' }
  const session = await ort.InferenceSession.create(onnxEncoder(p, p.form), options)
  const feeds = { x: new ort.Tensor('float32', encoderInput(p), [1, p.tokens, p.width]) }
  const y = (await session.run(feeds))[session.outputNames[0]] as { data: Float32Array }
  return {
    calls: [() => session.run(feeds) as unknown],
    ...(p.form === 'int8 dynamic' ? {} : { check: sumAbs(y.data) }),
    release: () => session.release() as Promise<void>,
  }
}

const root = join(import.meta.dirname, '..', '..')

/** The file that `saveOnnx` of the built package writes; kept until there is a newer build. */
function transformerFile(p: TransformerSizes): string {
  const sizes = JSON.stringify(p)
  const folder = join(root, '.cache', 'tersor', 'bench')
  const file = join(folder, `${p.net}-${createHash('sha256').update(sizes).digest('hex').slice(0, 12)}.onnx`)
  const built = statSync(join(root, 'dist', 'esm', 'index.js')).mtimeMs
  if (existsSync(file) && statSync(file).mtimeMs > built) return file
  mkdirSync(folder, { recursive: true })
  execFileSync(process.execPath, ['--import', 'tsx', join(import.meta.dirname, 'write-transformer.ts'), sizes, file], { cwd: root })
  return file
}

async function transformer({ params, threads }: Job): Promise<ServedCase> {
  const p = params as unknown as TransformerSizes
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: 3, graphOptimizationLevel: 'all' }
  const session = await ort.InferenceSession.create(transformerFile(p), options)
  const feeds = { ids: new ort.Tensor('int32', transformerIds(p), [1, p.tokens]) }
  const y = (await session.run(feeds))[session.outputNames[0]] as { data: Float32Array }
  return {
    calls: [() => session.run(feeds) as unknown],
    ...(p.form === 'f32' ? { check: sumAbs(y.data) } : {}),
    release: () => session.release() as Promise<void>,
  }
}

/** A file as a user runs it: results as they come, all outputs. */
async function fromFile({ kernel, params, threads }: Job): Promise<ServedCase> {
  const of = await onnxFile(String(params.file), Number(params.tokens))
  const options = { intraOpNumThreads: threads, interOpNumThreads: 1, logSeverityLevel: 3, graphOptimizationLevel: 'all' }
  const feeds = Object.fromEntries(Object.entries(of.feeds).map(([name, { type, data, dims }]) => [name, new ort.Tensor(type, data, dims)]))
  const total = (out: Readonly<Record<string, { data: Float32Array }>>): number =>
    Object.values(out).reduce((n, { data }) => n + sumAbs(data), 0)
  if (kernel === 'onnx.load') {
    const once = async (): Promise<Readonly<Record<string, { data: Float32Array }>>> => {
      const session = await ort.InferenceSession.create(of.file, options)
      const out = (await session.run(feeds)) as Readonly<Record<string, { data: Float32Array }>>
      await session.release()
      return out
    }
    return { calls: [once], check: total(await once()) }
  }
  const session = await ort.InferenceSession.create(of.file, options)
  const check = total((await session.run(feeds)) as Readonly<Record<string, { data: Float32Array }>>)
  return { calls: [() => session.run(feeds) as unknown], check, release: () => session.release() as Promise<void> }
}

async function prepare(job: Job): Promise<ServedCase> {
  if (job.kernel === 'model.encoder') return encoder(job)
  if (job.kernel === 'model.transformer') return transformer(job)
  if (job.kernel.startsWith('onnx.')) return fromFile(job)
  const variant = variants[job.kernel]
  if (!variant) throw new Unsupported(`no ${job.kernel} in this driver of ONNX Runtime`)
  const sizes = job.params as Sizes
  const { m, k, n, copies = 1 } = sizes
  const model = onnxModel(
    typeof variant.nodes === 'function' ? variant.nodes(sizes) : variant.nodes,
    variant.constants(k, n, sizes),
    { name: 'A', type: variant.input, dims: [m, k] },
    { name: 'Y', type: variant.output, dims: [m, n] },
  )
  const options = { intraOpNumThreads: job.threads, interOpNumThreads: 1, logSeverityLevel: 3 }
  const sessions = await Promise.all(Array.from({ length: copies }, () => ort.InferenceSession.create(model, options)))
  const feeds = { A: new ort.Tensor(TYPES[variant.input], inputOf[variant.input as 'f32'](m * k, 11), [m, k]) }
  const memory = variant.output === 'f32' ? new Float32Array(m * n) : new Int32Array(m * n)
  const fetches = { Y: new ort.Tensor(TYPES[variant.output], memory, [m, n]) }
  await sessions[0].run(feeds, fetches)
  return {
    calls: sessions.map((session) => () => session.run(feeds, fetches) as unknown),
    ...(['gemm.int8.dynamic', 'gemm.groups'].includes(job.kernel) ? {} : { check: sumAbs(memory) }),
    release: async () => {
      for (const session of sessions) await session.release()
    },
  }
}

await serve({ name: 'onnxruntime-node', version, isa: 'uncapped' }, prepare)
