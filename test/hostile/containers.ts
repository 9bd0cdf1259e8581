/** Formats of several files or with a whole model in them, each with a sound example: what the tests of every format try to break (every-format.test.ts). */
import fs from 'node:fs'
import path from 'node:path'
import { parseRecipe } from '../../ts/compress/index.js'
import { loadData, loadPairs, loadTargets, loadText, openLoader, parseDataSpec, streamData } from '../../ts/data/index.js'
import { readIdx, readNpy, readNpz } from '../../ts/formats/index.js'
import { openSharded } from '../../ts/formats/safetensors-shards.js'
import { readTfjs } from '../../ts/formats/tfjs.js'
import { loadOnnx, modelFromTfjs } from '../../ts/graph/index.js'
import { loadHuggingFace, loadModel, saveModel } from '../../ts/models/index.js'
import { goldenBytes } from '../formats/lib.js'
import { constant, model, node, value } from '../graph/build.js'
import { mlp } from '../compress/toys.js'

export interface Container {
  readonly name: string
  /** The file that is broken, and those beside it that stay as they are. */
  readonly file: string
  readonly bytes: Uint8Array
  readonly others?: Readonly<Record<string, Uint8Array>>
  /** Loads what lies in `dir` and frees it again. */
  readonly load: (dir: string) => unknown
  /** Whether a part of the file may be a file of its own (rows of a table). */
  readonly open?: boolean
  /** Without it the rest loads too. */
  readonly optional?: boolean
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)
const hub = path.join(import.meta.dirname, '../golden/huggingface/bert')
const hubFiles = (without: string): Record<string, Uint8Array> =>
  Object.fromEntries(
    fs
      .readdirSync(hub)
      .filter((name) => name !== without && /^(config|tokenizer(_config)?)\.json$|^vocab|^merges|^model\.safetensors$/.test(name))
      .map((name) => [name, new Uint8Array(fs.readFileSync(path.join(hub, name)))]),
  )

const onnx = model({
  input: [value('x', ['n', 2])],
  output: [value('y', ['n', 3])],
  initializer: [constant('w', [2, 3], [1, 2, 3, 4, 5, 6])],
  node: [node('MatMul', ['x', 'w'], ['h']), node('Relu', ['h'], ['y'])],
})

function ownModel(dir: string): Uint8Array {
  const net = mlp({ hidden: 4 })
  saveModel(net, path.join(dir, 'made'))
  net.dispose()
  return new Uint8Array(fs.readFileSync(path.join(dir, 'made')))
}

const tfjsTopology = { node: [{ name: 'x', op: 'Placeholder', attr: { dtype: { type: 'DT_FLOAT' } } }, { name: 'w', op: 'Const', attr: { dtype: { type: 'DT_FLOAT' } } }, { name: 'y', op: 'MatMul', input: ['x', 'w'] }] } // prettier-ignore
const tfjs = utf8(
  JSON.stringify({
    format: 'graph-model',
    modelTopology: tfjsTopology,
    weightsManifest: [{ paths: ['shard'], weights: [{ name: 'w', shape: [2, 2], dtype: 'float32' }] }],
  }),
)

async function firstBatch(spec: string): Promise<void> {
  const loader = openLoader(await streamData(spec), { batchSize: 1, workers: 0, prefetch: 0, seed: 1 })
  try {
    await loader.next()
  } finally {
    loader.close()
  }
}

/** `scratch` is a folder that the examples are made in. */
export function containers(scratch: string): Container[] {
  const dispose = (m: { dispose(): void }): void => m.dispose()
  return [
    {
      name: 'safetensors index',
      file: 'model.safetensors.index.json',
      bytes: utf8(JSON.stringify({ metadata: { total_size: 40 }, weight_map: { e: 'one', w: 'one', b: 'one' } })),
      others: { one: goldenBytes('two.safetensors') },
      load: (dir) => openSharded(path.join(dir, 'model.safetensors.index.json')).close(),
    },
    { name: 'npy', file: 'x.npy', bytes: goldenBytes('le-f4-c.npy'), load: (dir) => readNpy(path.join(dir, 'x.npy')) },
    { name: 'npz', file: 'x.npz', bytes: goldenBytes('stored.npz'), load: (dir) => readNpz(path.join(dir, 'x.npz')) },
    { name: 'idx', file: 'x.idx', bytes: goldenBytes('floats.idx'), load: (dir) => readIdx(path.join(dir, 'x.idx')) },
    { name: 'onnx', file: 'm.onnx', bytes: onnx, load: (dir) => dispose(loadOnnx(path.join(dir, 'm.onnx'))) },
    {
      name: 'tfjs',
      file: 'model.json',
      bytes: tfjs,
      others: { shard: new Uint8Array(16) },
      load: (dir) => dispose(modelFromTfjs(readTfjs(path.join(dir, 'model.json')))),
    },
    { name: 'model', file: 'm.safetensors', bytes: ownModel(scratch), load: (dir) => dispose(loadModel(path.join(dir, 'm.safetensors'))) },
    {
      name: 'recipe',
      file: 'recipe.json',
      bytes: utf8('{"recipe":1,"seed":3,"stages":[[{"pass":"prune/magnitude","options":{"sparsity":0.5}}]]}'),
      load: (dir) => parseRecipe(new Uint8Array(fs.readFileSync(path.join(dir, 'recipe.json')))),
    },
    ...['config.json', 'vocab.txt'].map((file): Container => ({
      name: `Hugging Face ${file}`,
      file,
      bytes: new Uint8Array(fs.readFileSync(path.join(hub, file))),
      others: hubFiles(file),
      open: file === 'vocab.txt',
      optional: file === 'vocab.txt',
      load: (dir) => dispose(loadHuggingFace(dir)),
    })),
    ...(
      [
        ['csv', 'csv', 'a,b,label\n1,2.5,x\n3,4,y\n', (f: string): unknown => loadData(parseDataSpec(`csv:${f}`))],
        ['tsv', 'tsv', 'text\tlabel\nthe cat\tx\nthe dog\ty\n', (f: string): unknown => loadData(parseDataSpec(`tsv:${f}`))],
        ['targets', 'csv', 'a,b\n1,2.5\n3,4\n', (f: string): unknown => loadTargets(`csv:${f},target=b`)],
        ['text', 'txt', 'Call me Ishmael. Some years ago.\n', (f: string): unknown => loadText(`text:${f},valid=0,test=0`)],
        ['jsonl', 'jsonl', '{"x":[1,2],"label":0}\n{"x":[3,4],"label":1}\n', (f: string): unknown => firstBatch(`jsonl:${f}`)],
        ['pairs', 'tsv', 'source\ttarget\na b\tc d\ne\tf\n', (f: string): unknown => loadPairs(`tsv:${f},valid=0`)],
      ] as const
    ).map(([name, extension, text, load]): Container => ({
      name,
      file: `data.${extension}`,
      bytes: utf8(text),
      open: true,
      load: (dir) => load(path.join(dir, `data.${extension}`)),
    })),
  ]
}
