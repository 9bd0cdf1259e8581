/** What is fuzzed: each target makes input number `i` from a seed, and reads it as a user would. A value or a TersorError must come of it. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { ModelProtoSchema } from 'onnx-buf'
import { parseRecipe } from '../../ts/compress/recipe.js'
import { parseGguf } from '../../ts/formats/gguf/index.js'
import { parseIdx } from '../../ts/formats/idx.js'
import { parseNpy } from '../../ts/formats/npy.js'
import { parseNpz } from '../../ts/formats/npz.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { openSharded } from '../../ts/formats/safetensors-shards.js'
import { encodeSafetensors, parseSafetensors } from '../../ts/formats/safetensors.js'
import { readTfjs } from '../../ts/formats/tfjs.js'
import { modelFromOnnx, modelFromTfjs } from '../../ts/graph/index.js'
import { loadModel, saveModel } from '../../ts/models/file.js'
import { saveGguf } from '../../ts/models/gguf/index.js'
import { METADATA_KEY } from '../../ts/models/header.js'
import { tokenizerOf } from '../../ts/models/index.js'
import { TOKENIZER } from '../../ts/models/inputs.js'
import { constant, model, node, value } from '../graph/build.js'
import { checkpointTargets } from './checkpoint-targets.js'
import { dataTargets } from './data-targets.js'
import { mutateBytes, mutateJson, mutateTree, Random } from './mutate.js'
import type { Target } from './target.js'
import { tokenizerTargets } from './tokenizer-targets.js'

export type { Target }

const folder = path.join(import.meta.dirname, '../formats/golden')
const golden = (name: string): Uint8Array => new Uint8Array(fs.readFileSync(path.join(folder, name)))
const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** Bytes of golden files, changed byte by byte. */
function bytesOf(name: string, files: readonly string[], read: (bytes: Uint8Array) => unknown): Target {
  const seeds = files.map(golden)
  return { name, make: (r) => mutateBytes(r, r.pick(seeds), seeds), read: (bytes) => void read(bytes) }
}

function safetensorsOf(r: Random): Uint8Array {
  const seed = golden('two.safetensors')
  if (r.next() < 0.3) return mutateBytes(r, seed)
  const length = Number(new DataView(seed.buffer).getBigUint64(0, true))
  const header = mutateJson(r, text(seed.subarray(8, 8 + length)))
  const out = new Uint8Array(8 + header.length + seed.length - 8 - length)
  new DataView(out.buffer).setBigUint64(0, BigInt(header.length), true)
  out.set(header, 8)
  out.set(seed.subarray(8 + length), 8 + header.length)
  return out
}

const onnxSeeds: readonly Uint8Array[] = [
  model({
    input: [value('x', ['N', 3, 8, 8])],
    output: [value('y'), value('z')],
    initializer: [
      constant(
        'w',
        [4, 3, 3, 3],
        Array.from({ length: 108 }, (_, i) => i / 100),
      ),
      constant('b', [4], [1, 2, 3, 4]),
      constant(
        'm',
        [4, 5],
        Array.from({ length: 20 }, (_, i) => i / 10),
      ),
      constant('axes', [2], [2, 3], 'i64'),
      constant('shape', [2], [-1, 4], 'i64'),
    ],
    node: [
      node('Conv', ['x', 'w', 'b'], ['c'], { pads: [1, 1, 1, 1], strides: [2, 2] }),
      node('Relu', ['c'], ['r']),
      node('MaxPool', ['r'], ['p'], { kernel_shape: [2, 2], strides: [2, 2] }),
      node('ReduceMean', ['p'], ['g'], { axes: [2, 3], keepdims: 0 }),
      node('Reshape', ['g', 'shape'], ['f']),
      node('MatMul', ['f', 'm'], ['h']),
      node('Softmax', ['h'], ['y'], { axis: -1 }),
      node('Shape', ['x'], ['s']),
      node('Gather', ['s', 'axes'], ['z'], { axis: 0 }),
    ],
  }),
  model({
    input: [value('x', [2, 'T', 4]), value('c', [], 'bool')],
    output: [value('y')],
    initializer: [
      constant(
        'w',
        [1, 12, 4],
        Array.from({ length: 48 }, (_, i) => i / 50),
      ),
      constant(
        'r',
        [1, 12, 3],
        Array.from({ length: 36 }, (_, i) => i / 50),
      ),
    ],
    node: [
      node('GRU', ['x', 'w', 'r'], ['', 'h'], { hidden_size: 3, linear_before_reset: 1 }),
      node('If', ['c'], ['y'], {
        then_branch: { name: 'a', node: [node('Neg', ['h'], ['t'])], output: [value('t')] },
        else_branch: { name: 'b', node: [node('Exp', ['h'], ['e'])], output: [value('e')] },
      }),
    ],
  }),
]

function onnxOf(r: Random): Uint8Array {
  const seed = r.pick(onnxSeeds)
  if (r.next() < 0.3) return mutateBytes(r, seed, onnxSeeds)
  const message = fromBinary(ModelProtoSchema, seed)
  mutateTree(r, message, false)
  try {
    return toBinary(ModelProtoSchema, message)
  } catch {
    return mutateBytes(r, seed) // the writer refuses what the reader is to see: a number out of range
  }
}

interface TfjsSeed {
  readonly json: string
  readonly shards: readonly (readonly [string, Uint8Array])[]
}
interface GoldenModel {
  readonly name: string
  readonly topology: unknown
  readonly tensors: Readonly<Record<string, { shape: number[]; dtype: string; data: number[]; given?: boolean }>>
}

/** The models of test/golden/tfjs.json as files: one shard with all weights. */
function tfjsSeeds(): TfjsSeed[] {
  const all = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, '../golden/tfjs.json'), 'utf8')) as {
    graphs: GoldenModel[]
    layers: GoldenModel[]
  }
  const made = [...all.graphs, ...all.layers].map(({ topology, tensors }): TfjsSeed => {
    const own = Object.entries(tensors).filter(([, t]) => !t.given)
    const weights = own.map(([name, { shape, dtype }]) => ({ name, shape, dtype }))
    const parts = own.map(([, { dtype, data }]) =>
      Buffer.from((dtype === 'int32' ? Int32Array.from(data) : dtype === 'bool' ? Uint8Array.from(data) : Float32Array.from(data)).buffer),
    )
    return {
      json: JSON.stringify({ format: 'tfjs', modelTopology: topology, weightsManifest: [{ paths: ['shard'], weights }] }),
      shards: [['shard', new Uint8Array(Buffer.concat(parts))]],
    }
  })
  const shards = [1, 2, 3].map((i): [string, Uint8Array] => [`group1-shard${i}of3`, golden(`group1-shard${i}of3`)])
  return [...made, { json: text(golden('tfjs-model')), shards }]
}

/** Number of the seed, then model.json: the shards are those of the seed. */
function tfjsTarget(): Target {
  const seeds = tfjsSeeds()
  return {
    name: 'tfjs',
    make: (r) => {
      const k = r.below(seeds.length)
      const json = mutateJson(r, seeds[k]!.json)
      const out = new Uint8Array(2 + json.length)
      new DataView(out.buffer).setUint16(0, k)
      out.set(json, 2)
      return out
    },
    read: (bytes, dir) => {
      const k = new DataView(bytes.buffer, bytes.byteOffset).getUint16(0)
      for (const [name, data] of seeds[k % seeds.length]!.shards) fs.writeFileSync(path.join(dir, name), data)
      fs.writeFileSync(path.join(dir, 'model.json'), bytes.subarray(2))
      modelFromTfjs(readTfjs(path.join(dir, 'model.json'))).dispose()
    },
  }
}

const indexSeed = JSON.stringify({
  metadata: { total_size: 40 },
  weight_map: { w: 'one.safetensors', b: 'one.safetensors', e: 'one.safetensors' },
})

const recipeSeeds = [
  {
    recipe: 1,
    seed: 3,
    stages: [
      [{ pass: 'prune/magnitude', version: 1, options: { sparsity: 0.5, scope: 'global', retrain: { kind: 'none' } }, targets: ['b.*'] }],
      [
        {
          pass: 'quantize/static-int8',
          version: 1,
          options: { bits: 8, calibration: 'percentile', percentile: 99.99, samples: 512, range: 'max' },
        },
      ],
    ],
  },
].map((v) => JSON.stringify(v))

/** Files of saveModel whose header is changed and whose checksums fit again: what somebody who means harm would write. */
function modelTarget(): Target {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-fuzz-seed-'))
  const files = onnxSeeds.map((bytes, i) => {
    const m = modelFromOnnx(parseOnnx(bytes))
    const file = path.join(dir, `${i}.safetensors`)
    saveModel(m, file)
    m.dispose()
    return parseSafetensors(new Uint8Array(fs.readFileSync(file)))
  })
  fs.rmSync(dir, { recursive: true })
  return {
    name: 'model',
    make: (r) => {
      const { tensors, metadata } = r.pick(files)
      const changed = text(mutateJson(r, metadata.get(METADATA_KEY)!))
      return Uint8Array.from(Buffer.concat(encodeSafetensors(tensors, { metadata: { [METADATA_KEY]: changed } })))
    },
    read: (bytes, folder1) => {
      const file = path.join(folder1, 'model.safetensors')
      fs.writeFileSync(file, bytes)
      loadModel(file).dispose()
    },
  }
}

/** GGUF of whole models: bytes of header and metadata (names, settings, tokenizer) changed. */
function ggufModelTarget(): Target {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-fuzz-seed-'))
  const file = path.join(dir, 'model.gguf')
  const m = loadModel(path.join(hub, 'gpt2'))
  saveGguf(m, file)
  m.dispose()
  const seed = new Uint8Array(fs.readFileSync(file))
  fs.rmSync(dir, { recursive: true })
  const tail = seed.subarray(GGUF_HEAD)
  return {
    name: 'gguf-model',
    make: (r) => Uint8Array.from(Buffer.concat([mutateBytes(r, seed.subarray(0, GGUF_HEAD)), tail])),
    read: (bytes, dir1) => {
      const changed = path.join(dir1, 'model.gguf')
      fs.writeFileSync(changed, bytes)
      readModel(changed)
    },
  }
}
/** Where the changes lie: what stands behind is mostly numbers of tensors. */
const GGUF_HEAD = 6000
const hub = path.join(import.meta.dirname, '../golden/huggingface')

/** Loaded, and its tokenizer used. */
function readModel(file: string): void {
  const m = loadModel(file)
  try {
    if (m.extras[TOKENIZER] !== undefined) tokenizerOf(m).encode('the origin of whales \u00e9\ud83d\ude00')
  } finally {
    m.dispose()
  }
}

/** Hugging Face folders: number of the folder, of the file that is changed, then its text. */
function hubTarget(): Target {
  const folders = ['bert', 'gpt2', 'albert', 'distilbert'].map((name) => path.join(hub, name))
  const files = folders.map((dir) => fs.readdirSync(dir).filter((f) => /^(config|tokenizer(_config)?)\.json$|^vocab|^merges/.test(f)))
  return {
    name: 'huggingface',
    make: (r) => {
      const k = r.below(folders.length)
      const f = r.below(files[k]!.length)
      const file = path.join(folders[k]!, files[k]![f]!)
      const seed = new Uint8Array(fs.readFileSync(file))
      return Uint8Array.from(
        Buffer.concat([Uint8Array.of(k, f), file.endsWith('.json') && r.next() < 0.8 ? mutateJson(r, text(seed)) : mutateBytes(r, seed)]),
      )
    },
    read: (bytes, dir) => {
      const from = folders[bytes[0]! % folders.length]!
      const names = files[bytes[0]! % folders.length]!
      const changed = names[bytes[1]! % names.length]!
      for (const name of [...names, 'model.safetensors'])
        if (name === changed) fs.writeFileSync(path.join(dir, name), bytes.subarray(2))
        else fs.copyFileSync(path.join(from, name), path.join(dir, name))
      readModel(dir)
    },
  }
}

export const targets: readonly Target[] = [
  { name: 'onnx', make: onnxOf, read: (bytes) => modelFromOnnx(parseOnnx(bytes)).dispose() },
  bytesOf('gguf', ['blocks.gguf'], (bytes) => {
    const file = parseGguf(bytes)
    try {
      file.readAll()
    } finally {
      file.close()
    }
  }),
  { name: 'safetensors', make: safetensorsOf, read: (bytes) => void parseSafetensors(bytes) },
  {
    name: 'safetensors-index',
    make: (r) => mutateJson(r, indexSeed),
    read: (bytes, dir) => {
      fs.writeFileSync(path.join(dir, 'one.safetensors'), golden('two.safetensors'))
      fs.writeFileSync(path.join(dir, 'model.safetensors.index.json'), bytes)
      openSharded(path.join(dir, 'model.safetensors.index.json')).close()
    },
  },
  tfjsTarget(),
  modelTarget(),
  ggufModelTarget(),
  hubTarget(),
  bytesOf('npy', ['le-f4-c.npy', 'be-f2-f.npy', 'b1-c.npy', 'version-2.npy', 'version-3.npy'], parseNpy),
  bytesOf('npz', ['stored.npz', 'deflated.npz'], parseNpz),
  bytesOf('idx', ['bytes-idx3-ubyte', 'bytes-idx3-ubyte.gz', 'floats.idx'], parseIdx),
  {
    name: 'recipe',
    make: (r) => mutateJson(r, r.pick(recipeSeeds)),
    read: (bytes) => void parseRecipe(bytes),
  },
  ...tokenizerTargets(),
  ...dataTargets(),
  ...(await checkpointTargets()),
]

/** Input number `index` of a target: the same for the same seed, whatever came before. */
export function inputOf(target: Target, seed: number, index: number): Uint8Array {
  return target.make(new Random(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)))
}
