/** A table that is also the head (Press and Wolf 2017): one weight, trained once, compressed once, stored once, in models of our own and in imported graphs. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import {
  compress,
  dual,
  factorize,
  prune,
  quantize,
  recipe,
  sparsify,
  tokens,
  train,
  trainTask,
  type PassSpec,
  type TokenData,
  type TrainTask,
} from '../../ts/compress/index.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, modelFromOnnx, type ExportOptions } from '../../ts/graph/index.js'
import { causalLanguage, loadModel, saveModel } from '../../ts/models/index.js'
import { Rng } from '../../ts/base/rng.js'
import { memory } from '../../ts/native/devices.js'
import { build, freshValues, Model, placesOf, type Weight } from '../../ts/nn/index.js'
import { weightBytes } from '../../ts/compress/run/layers.js'
import { crossEntropy, reshape } from '../../ts/ops/index.js'
import { session } from '../../ts/runtime/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { constant, model as onnxFile, node, oracle, ort, random, value } from '../graph/build.js'

const [VOCABULARY, WIDTH, TOKENS] = [96, 64, 6]
const TABLE = 4 * VOCABULARY * WIDTH
const body = { vocabulary: VOCABULARY, embedding: WIDTH, width: WIDTH, layers: 1, distinct: 1, heads: 4, hidden: 80, positions: 16, activation: 'gelu', eps: 1e-5, norm: 'pre', causal: true } as const // prettier-ignore
const folder = mkdtempSync(path.join(tmpdir(), 'tersor-shared-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const own = (): Model =>
  new Model(build(causalLanguage({ body, tied: true }), freshValues(Rng.of(3, 'gpt'))), { name: 'gpt', task: 'language', history: [] })
const reread = (m: Model, options: ExportOptions = {}): Model =>
  modelFromOnnx(parseOnnx(encodeOnnx(exportOnnx(m, options))), { task: 'language' })
const imported = (): Model => {
  const m = own()
  const x = tensor(ids(TOKENS, 1), [1, TOKENS])
  const again = reread(m, { example: x, dynamic: { x: { 0: 'batch', 1: 'tokens' } } })
  for (const t of [x, m]) t.dispose()
  return again
}
/** The head takes the table behind a Transpose. */
function turned(): Model {
  const draw = random(17)
  const w = (name: string, ...dims: number[]): ReturnType<typeof constant> => constant(name, dims, draw(dims.reduce((a, b) => a * b, 1), 0.2)) // prettier-ignore
  const file = onnxFile({
    input: [value('ids', ['batch', 'tokens'], 'i64')],
    output: [value('scores')],
    initializer: [w('table', VOCABULARY, WIDTH), w('mix', WIDTH, WIDTH)],
    node: [
      node('Gather', ['table', 'ids'], ['e']),
      node('MatMul', ['e', 'mix'], ['m']),
      node('Tanh', ['m'], ['t']),
      node('Transpose', ['table'], ['turned'], { perm: [1, 0] }),
      node('MatMul', ['t', 'turned'], ['scores']),
    ],
  })
  return modelFromOnnx(parseOnnx(file), { task: 'language' })
}
const models = { own, imported, turned }

const ids = (n: number, seed: number): Int32Array => Int32Array.from({ length: n }, (_, i) => (seed * 31 + i * i * 7 + i) % VOCABULARY)
/** The token behind each is the next one up: a model learns it quickly. */
const data: TokenData = {
  name: 'up',
  size: 24,
  batch: (indices) => {
    const all = Array.from(indices, (i) => ids(TOKENS, i))
    const labels = Int32Array.from(all.flatMap((row) => Array.from(row, (id) => (id + 1) % VOCABULARY)))
    return { x: tensor(Int32Array.from(all.flatMap((row) => [...row])), [all.length, TOKENS]), labels, length: TOKENS }
  },
}
const task = (): TrainTask<Uint32Array> => tokens(data, { validation: data })
const quick = { epochs: 1, batchSize: 8, optimizer: { kind: 'sgd' }, schedule: { kind: 'constant', lr: 0.05 } } as const
const scores = (m: Model): Float32Array => scope(() => m.forward(tensor(ids(2 * TOKENS, 5), [2, TOKENS])).read() as Float32Array)
const difference = (a: Float32Array, b: Float32Array): number => a.reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0)
/** The weight that rows are looked up in, with its places. */
function table(m: Model): { weight: Weight; paths: readonly string[] } {
  const { weight } = m.weights().find((w) => w.role === 'table' && w.weight.shape[0] === VOCABULARY)!
  return { weight, paths: placesOf(m).get(weight)! }
}
const uses = { own: 1, imported: 2, turned: 2 } as const
type Name = keyof typeof models

/** Passes that round, mask or store weights one by one. */
const passes: Readonly<Record<string, PassSpec>> = {
  rtn8: quantize.rtn({ bits: 8 }),
  rtn4: quantize.rtn({ bits: 4, layout: 'group', groupSize: 32 }),
  dynamic: quantize.dynamic(),
  static: quantize.static({ samples: 24 }),
  feedback: quantize.static({ samples: 24, rounding: 'feedback' }),
  gptq: quantize.gptq({ samples: 24 }),
  awq: quantize.awq({ samples: 24 }),
  hqq: quantize.hqq({ iterations: 3 }),
  adaround: quantize.adaround({ samples: 24, iterations: 20 }),
  codebook: quantize.codebook({ bits: 3, iterations: 3 }),
  cast: quantize.cast({ format: 'f16' }),
  qat: quantize.qat({ retrain: train.finetune({ epochs: 1 }), training: quick }),
  auto: quantize.auto({ samples: 24, sqnr: 20 }),
  magnitude: prune.magnitude({ sparsity: 0.5 }),
  wanda: prune.wanda({ sparsity: 0.5, samples: 24 }),
  sparsegpt: prune.sparsegpt({ sparsity: 0.5, samples: 24 }),
  retrained: prune.magnitude({ sparsity: 0.5, retrain: train.finetune({ epochs: 1 }), training: quick }),
  gradual: prune.magnitude({
    sparsity: 0.5,
    gradual: { initial: 0.1, begin: 0, end: 0.5, everySteps: 1 },
    retrain: train.finetune({ epochs: 1 }),
    training: quick,
  }),
  movement: prune.movement({ sparsity: 0.5, retrain: train.finetune({ epochs: 1 }), training: quick }),
  dual: dual.build({ steps: 2 }),
  csr: sparsify.csr(),
  svd: factorize.svd({ rank: 8 }),
}

describe.each(Object.keys(models) as Name[])('%s', (name) => {
  it.each(Object.keys(passes))('%s keeps one weight', async (pass) => {
    const before = memory().tensors
    const model = models[name]()
    const { model: small, report } = await compress(model, recipe([[passes[pass]!]]), { task: task() })
    const { weight, paths } = table(small)
    expect(paths).toHaveLength(uses[name])
    expect(new Set(small.weights().map((w) => w.weight)).size).toBe(new Set(model.weights().map((w) => w.weight)).size)
    const note = report.passes[0]!.notes.find((n) => n.text.startsWith('one weight with'))
    expect(note !== undefined).toBe(weight !== table(model).weight && paths.length > 1)
    expect(report.bytesAfter).toBe([...placesOf(small).keys()].reduce((n, w) => n + w.bytes(), 0))
    // What it stands for is what its places compute with.
    expect(scores(small).every(Number.isFinite)).toBe(true)
    for (const m of [small, model]) m.dispose()
    expect(memory().tensors).toBe(before)
  })

  it('is trained with the gradients of both uses, in one step', async () => {
    const model = models[name]()
    const { weight } = table(model)
    const loss = (m: Model): number =>
      scope(() => {
        const { x, labels } = data.batch(
          Uint32Array.from({ length: data.size }, (_, i) => i),
          Rng.of(0),
        )
        return crossEntropy(reshape(m.forward(x), [labels.length, VOCABULARY]), tensor(labels)).item()
      })
    const once = { ...quick, batchSize: data.size }
    const { model: after } = await trainTask(model, task(), once)
    expect(table(after).paths).toHaveLength(uses[name])
    // The step is -lr times the gradient: by the values of the table itself, moved in both places at once.
    const before = weight.dense().read() as Float32Array
    const now = table(after).weight.dense().read() as Float32Array
    for (const at of [7, 1003, 2222, 6000]) {
      const moved = (by: number): number => {
        const values = before.slice()
        values[at] = values[at]! + by
        weight.trainable()[0]!.value.write(values)
        return loss(model)
      }
      const h = 0.02
      const slope = (moved(h) - moved(-h)) / (2 * h)
      weight.trainable()[0]!.value.write(before)
      expect(Math.abs(before[at]! - now[at]! - 0.05 * slope)).toBeLessThan(0.03 * Math.abs(0.05 * slope) + 2e-6)
    }
    for (const m of [after, model]) m.dispose()
  })

  it('stands once in a file and on another thread, also as codes', async () => {
    for (const pass of [undefined, passes.rtn8!, passes.magnitude!]) {
      const model = models[name]()
      const m = pass ? (await compress(model, recipe([[pass]]))).model : model
      const file = path.join(folder, `${name}.safetensors`)
      saveModel(m, file)
      const bytes = readFileSync(file)
      const tensors = bytes.length - 8 - Number(bytes.readBigUInt64LE())
      expect(tensors - weightBytes(m)).toBeLessThan(1000) // alignment, the packed history
      const again = loadModel(file)
      expect(table(again).paths).toEqual(table(m).paths)
      expect(scores(again)).toEqual(scores(m))
      const away = session(m)
      const x = tensor(ids(2 * TOKENS, 5), [2, TOKENS])
      const [output] = Object.values(await away.run(name === 'imported' ? { x } : { ids: x }))
      expect(difference(output!.data as Float32Array, scores(m))).toBeLessThan(1e-4)
      for (const each of [x, away]) each.dispose()
      again.dispose()
      for (const each of new Set([m, model])) each.dispose()
    }
  })

  it.runIf(ort).each([
    ['f32', undefined, {}, TABLE],
    ['f16', undefined, { floats: 'f16' }, TABLE / 2],
    ['int8', passes.rtn8!, {}, TABLE / 4],
    ['int8, products in integers', passes.rtn8!, { dynamicQuantization: true }, TABLE / 4],
  ] as const)('%s: stands once in an ONNX file that onnxruntime runs', async (_kind, pass, options, bytes) => {
    const model = models[name]()
    const m = pass ? (await compress(model, recipe([[pass]]))).model : model
    const example = tensor(ids(2 * TOKENS, 5), [2, TOKENS])
    const file = encodeOnnx(exportOnnx(m, { example, ...options }))
    const parsed = parseOnnx(file)
    const sizes = [...parsed.graph.initializers.values()].map((t) => t.read().length)
    expect(sizes.filter((n) => n >= bytes && n % (VOCABULARY * WIDTH) === 0)).toEqual([bytes])
    const want = scores(m)
    const got = await oracle(file, {
      [parsed.graph.inputs[0]!.name]: { type: 'int64', data: BigInt64Array.from(ids(2 * TOKENS, 5), BigInt), dims: [2, TOKENS] },
    })
    const most = want.reduce((n, v) => Math.max(n, Math.abs(v)), 0)
    const share = 'dynamicQuantization' in options ? 0.05 : 'floats' in options ? 2e-3 : 1e-4
    expect(difference(Float32Array.from(Object.values(got)[0]!.data), want)).toBeLessThan(share * most)
    const again = modelFromOnnx(parsed, { task: 'language' })
    if (!pass) expect(table(again).paths).toHaveLength(2)
    for (const x of new Set([example, again, m, model])) x.dispose()
  })
})
