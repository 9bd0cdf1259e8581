/**
 * The ONNX files of bench/cases/models-graph.ts and what they are fed: Silero as its package has it, the others written by saveOnnx into the cache of
 * packages. Made when they are first asked for, by whichever contender asks.
 */
import { existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'
import { cacheDir, fetchPackage, knownPackages } from '../../ts/data/index.js'
import { floats } from '../lib/data.js'
import { encoderInput, encoderWeights } from './encoder-weights.js'

export interface Fed {
  readonly type: 'float32' | 'int32' | 'int64'
  readonly data: Float32Array | Int32Array | BigInt64Array
  readonly dims: readonly number[]
}
export interface OnnxFile {
  readonly file: string
  readonly feeds: Readonly<Record<string, Fed>>
}

const f32 = (data: Float32Array, ...dims: number[]): Fed => ({ type: 'float32', data, dims })

/** A file of our own: the names of its inputs are those of the model. */
async function written(name: string, make: (api: any, file: string) => Promise<unknown>): Promise<string> {
  const folder = path.join(cacheDir(), 'bench')
  const file = path.join(folder, name)
  if (existsSync(file)) return file
  mkdirSync(folder, { recursive: true })
  await make({ ...(await import('../../ts/nn/index.js')), ...(await import('../../ts/index.js')) }, file)
  return file
}

async function useLite(tokens: number): Promise<OnnxFile> {
  const file = await written('use-lite.onnx', async (api, to) => {
    const model = api.load(path.join(await fetchPackage(knownPackages.useLite), 'dist'))
    await api.saveOnnx(model, to, { check: false })
    model.dispose()
  })
  const ids = BigInt64Array.from({ length: tokens }, (_, i) => BigInt(10 + ((i * 37) % 7000)))
  return {
    file,
    feeds: { ids: { type: 'int64', data: ids, dims: [1, tokens] }, mask: f32(new Float32Array(tokens).fill(1), 1, tokens) },
  }
}

async function silero(version: string): Promise<OnnxFile> {
  const folder = await fetchPackage(knownPackages.voiceActivity)
  return {
    file: path.join(folder, 'dist', `silero_vad_${version}.onnx`),
    feeds: {
      input: f32(
        floats(512, 3).map((v) => 0.3 * v),
        1,
        512,
      ),
      state: f32(
        floats(256, 4).map((v) => 0.1 * v),
        2,
        1,
        128,
      ),
      sr: { type: 'int64', data: BigInt64Array.of(16_000n), dims: [] },
    },
  }
}

/** 7.1 million parameters, 28 MB: a block of an encoder. */
const block = { layers: 1, width: 768, hidden: 3072, heads: 12, tokens: 16 } as const
async function encoder(): Promise<OnnxFile> {
  const { width, hidden, heads, tokens } = block
  const input = encoderInput(block)
  const file = await written('encoder-28mb.onnx', async (api, to) => {
    const weights = encoderWeights(block)
    const weight = (at: string, shape: readonly number[]): any => new api.DenseWeight(api.tensor(weights.get(at), shape))
    const spec = api.sequential({ 0: api.encoderBlock({ width, hidden, heads, norm: 'post' }) })
    const model = new api.Model(api.build(spec, { weight }), { name: 'encoder', task: 'embedding', history: [] })
    await api.saveOnnx(model, to, { check: false, example: api.tensor(input, [1, tokens, width]) })
    model.dispose()
  })
  return { file, feeds: { x: f32(input, 1, tokens, width) } }
}

export function onnxFile(name: string, tokens: number): Promise<OnnxFile> {
  if (name === 'use-lite') return useLite(tokens)
  if (name === 'encoder') return encoder()
  return silero(name.replace('silero ', ''))
}
