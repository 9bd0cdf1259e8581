/** Llama, Mistral and Qwen2 against an implementation of its own in NumPy (test/golden/make-llama.py), as Hugging Face folders and as GGUF. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { valueAndGrad } from '../../ts/autograd/index.js'
import { Rng } from '../../ts/base/rng.js'
import { openGguf, readSafetensors, writeSafetensors } from '../../ts/formats/index.js'
import { encodeOnnx, parseOnnx } from '../../ts/formats/onnx/index.js'
import { exportOnnx, modelFromOnnx } from '../../ts/graph/index.js'
import {
  generate,
  loadGguf,
  loadHuggingFace,
  loadModel,
  saveGguf,
  saveHuggingFace,
  transformerSpec,
  type TransformerConfig,
} from '../../ts/models/index.js'
import { memory } from '../../ts/native/devices.js'
import { build, freshValues, KeyValueCache, Model } from '../../ts/nn/index.js'
import { assign } from '../../ts/ops/in-place.js'
import {
  copy,
  crossEntropy,
  multiHeadAttention,
  randomNormal,
  repeatInterleave,
  reshape,
  rotary,
  scaleShift,
  sub,
} from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { errorOf, tempDir } from '../formats/lib.js'
import { close } from './huggingface-lib.js'

interface Golden {
  readonly ids: number[]
  readonly models: Readonly<Record<string, { config: Record<string, unknown>; shapes: Record<string, number[]>; scores: number[][] }>>
}
const { ids, models } = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, '../golden/llama.json'), 'utf8')) as Golden
const classes: Readonly<Record<string, string>> = { llama: 'Llama', mistral: 'Mistral', qwen2: 'Qwen2' }
const names = ['llama', 'mistral', 'qwen2'] as const

/** The folder of a golden model: element j of tensor t as in make-llama.py. */
function folderOf(name: string, change: Record<string, unknown> = {}): string {
  const { config, shapes } = models[name]!
  const dir = tempDir()
  const tensors = Object.entries(shapes).map(([key, shape], t) => {
    const norm = key.endsWith('norm.weight')
    const size = shape.reduce((a, b) => a * b, 1)
    const data = Float32Array.from({ length: size }, (_, j) => (norm ? 0.2 : 0.4) * Math.sin(0.37 * j + 1.7 * t + 0.2) + (norm ? 1 : 0))
    return [key, { dtype: 'f32' as const, shape, data: new Uint8Array(data.buffer) }] as const
  })
  writeSafetensors(path.join(dir, 'model.safetensors'), tensors)
  fs.writeFileSync(path.join(dir, 'config.json'), JSON.stringify({ ...config, architectures: [`${classes[name]!}ForCausalLM`], ...change }))
  return dir
}

const row = (list: readonly number[]): Tensor => tensor(Int32Array.from(list), [1, list.length])
const scores = (model: Model, list: readonly number[] = ids): Float32Array => scope(() => model.forward(row(list)).read() as Float32Array)
const golden = (name: string): Model => loadModel(folderOf(name))

describe.each(names)('%s', (name) => {
  it("gives the reference's scores", () => {
    const all = scores(golden(name))
    for (const [i, place] of [0, 4, 7].entries())
      close(all.subarray(place * 13, (place + 1) * 13), models[name]!.scores[i]!, `place ${place}`)
  })

  it('is the same token by token with a cache, from a prompt on, and leaves nothing behind', () => {
    const model = golden(name)
    const all = scores(model)
    const before = memory().tensors
    const cache = new KeyValueCache(2)
    const parts = [ids.slice(0, 3), ...ids.slice(3).map((id) => [id])].map((part) =>
      scope(() => Array.from(model.forward(row(part), { cache }).read() as Float32Array)),
    )
    close(parts.flat(), Array.from(all), 'cached')
    cache.dispose()
    expect(memory().tensors).toBe(before)
    const text = generate(model, ids.slice(0, 3), { tokens: 6 })
    const after = scores(model, text)
    text.slice(3).forEach((id, i) => {
      const place = after.subarray((i + 2) * 13, (i + 3) * 13)
      expect(place[id]).toBeCloseTo(Math.max(...place), 4)
    })
    expect(errorOf(() => scores(model, new Array<number>(33).fill(1))).code).toBe('ERR_SHAPE')
  })

  it('folders: written with the same tensors, whole or in shards', () => {
    const folder = folderOf(name)
    const model = loadModel(folder)
    const dir = tempDir()
    saveHuggingFace(model, dir)
    const [ours, theirs] = [dir, folder].map((f) => readSafetensors(path.join(f, 'model.safetensors')).tensors)
    expect(Object.fromEntries(ours!)).toEqual(Object.fromEntries(theirs!))
    const config = JSON.parse(fs.readFileSync(path.join(dir, 'config.json'), 'utf8')) as object
    expect(config).toMatchObject({ ...models[name]!.config, architectures: [`${classes[name]!}ForCausalLM`] })
    const shards = tempDir()
    saveHuggingFace(model, shards, { maxShardBytes: 4000 })
    expect(fs.readdirSync(shards).length).toBeGreaterThan(4)
    expect(scores(loadModel(shards))).toEqual(scores(model))
  })
})

describe('GGUF', () => {
  it.each(['llama', 'qwen2'] as const)('%s comes back with the same scores; rows of q and k are pairs of neighbours there', (name) => {
    const model = golden(name)
    const file = path.join(tempDir(), 'model.gguf')
    saveGguf(model, file)
    const open = openGguf(file)
    expect(open.text('general.architecture')).toBe(name)
    expect(open.number(`${name}.attention.head_count_kv`)).toBe(name === 'llama' ? 2 : 1)
    expect(open.tensors.has('rope_freqs.weight')).toBe(name === 'llama')
    const [heads, width] = name === 'llama' ? [4, 8] : [4, 4]
    const there = new Float32Array(open.readTensor('blk.1.attn_q.weight').data.slice().buffer)
    const here = model.weights().find((w) => w.path === 'body.layer1.attention.query.weight')!.weight.dense().read() as Float32Array // prettier-ignore
    const half = width / 2
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < width; i++) {
        const source = name === 'llama' ? (i % 2) * half + (i >> 1) : i
        expect(there.subarray((h * width + i) * 16, (h * width + i + 1) * 16)).toEqual(here.subarray((h * width + source) * 16, (h * width + source + 1) * 16)) // prettier-ignore
      }
    open.close()
    // Divisors and eps are f32 there.
    close(scores(loadGguf(file)), Array.from(scores(model)), 'scores')
    saveGguf(model, file, { type: 'q8_0' })
    expect(loadGguf(file).parameters()).toBe(model.parameters())
  })

  it("knows Llama 3's divisors again, and refuses what GGUF has not", () => {
    const scaling = { rope_type: 'llama3', factor: 32, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 8192 }
    const model = loadModel(folderOf('llama', { rope_scaling: scaling, rope_theta: 500000 }))
    const file = path.join(tempDir(), 'x.gguf')
    saveGguf(model, file)
    expect((loadGguf(file).root.config as unknown as { body: TransformerConfig }).body.rotary!.scaling).toMatchObject({
      type: 'llama3',
      factor: 32,
    })
    expect(errorOf(() => saveGguf(golden('mistral'), file)).details.what).toBe('sliding window')
  })
})

it("llama.cpp's greedy text and probabilities (node-llama-cpp 3.22, llama.cpp on the f32 file that saveGguf writes of this model)", () => {
  const scaling = { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 16 }
  const spec = transformerSpec({
    ...{ model_type: 'llama', vocab_size: 320, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2 },
    ...{ intermediate_size: 128, max_position_embeddings: 64, rms_norm_eps: 1e-5, rope_theta: 500, rope_scaling: scaling },
  })
  const model = new Model(build(spec, freshValues(Rng.of(5, 'llama'))), { name: 'llama', task: 'language', history: [] })
  expect(generate(model, [1, 2, 3, 4, 5], { tokens: 12 }).slice(5)).toEqual([105, 50, 33, 105, 194, 255, 12, 12, 12, 12, 12, 12])
  const e = Array.from(scores(model, [1, 2, 3, 4, 5]).subarray(4 * 320), Math.exp)
  const sum = e.reduce((a, b) => a + b)
  // Its attention keeps keys and values in half precision.
  for (const [id, p] of [
    [105, 0.0130561],
    [250, 0.0107316],
    [255, 0.0102352],
    [33, 0.0097311],
  ] as const)
    // prettier-ignore
    expect(Math.abs(e[id]! / sum / p - 1)).toBeLessThan(2e-3)
})

it('goes through ONNX: sizes that change, tables for every position', () => {
  const model = golden('llama')
  const again = modelFromOnnx(parseOnnx(encodeOnnx(exportOnnx(model))))
  for (const list of [ids, [1], [...ids, ...ids]]) {
    const mask = tensor(Float32Array.from(list, () => 1), [1, list.length]) // prettier-ignore
    close(scope(() => again.forward({ ids: row(list), mask }).read() as Float32Array), Array.from(scores(model, list)), `${list.length} tokens`) // prettier-ignore
  }
})

describe('refusals', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['another scaling', { rope_scaling: { rope_type: 'yarn', factor: 2 } }, 'ERR_UNSUPPORTED'],
    ['a part of each head', { rope_parameters: { rope_type: 'default', rope_theta: 1e4, partial_rotary_factor: 0.5 } }, 'ERR_UNSUPPORTED'],
    ['heads that keys do not divide', { num_key_value_heads: 3 }, 'ERR_MODEL_FORMAT'],
    ['a head of odd width', { head_dim: 7 }, 'ERR_MODEL_FORMAT'],
    ['theta as a text', { rope_theta: 'many' }, 'ERR_MODEL_FORMAT'],
    ['a factor that is missing', { rope_scaling: { rope_type: 'linear' } }, 'ERR_MODEL_FORMAT'],
  ])('%s', (_, change, code) => {
    expect(errorOf(() => loadHuggingFace(folderOf('llama', change))).code).toBe(code)
  })

  it("transformers 5's rope_parameters say the same as version 4's keys", () => {
    const { rope_theta, rope_scaling } = models.llama!.config
    const parameters = { rope_theta, ...(rope_scaling as object) }
    const model = loadModel(folderOf('llama', { rope_theta: undefined, rope_scaling: undefined, rope_parameters: parameters }))
    expect(scores(model)).toEqual(scores(golden('llama')))
  })
})

it('the gradient of every weight: a small step against it lowers the loss by the step times its square', () => {
  const spec = transformerSpec({ ...models.llama!.config, model_type: 'llama', attention_bias: true, mlp_bias: true })
  const model = new Model(build(spec, freshValues(Rng.of(3, 'llama'))), { name: 'x', task: 'language', history: [] })
  const leaves = [...model.leaves()]
  const target = tensor(Int32Array.from(ids.slice(1)))
  const loss = (): Tensor => crossEntropy(reshape(model.forward(row(ids.slice(0, -1))), [7, 13]), target)
  for (const [name, { value }] of leaves)
    scope(() => {
      const { value: before, grads } = valueAndGrad(loss, [value])
      const square = (grads[0]!.read() as Float32Array).reduce((sum, g) => sum + g * g, 0)
      const step = 1e-3 / Math.max(Math.sqrt(square), 1e-3)
      const old = copy(value)
      assign(value, sub(value, scaleShift(grads[0]!, step)))
      const drop = before.item() - loss().item()
      assign(value, old)
      expect(square, name).toBeGreaterThan(0)
      expect(Math.abs(drop - step * square), name).toBeLessThan(0.05 * step * square + 2e-6)
    })
})

describe('rotary and groups of keys', () => {
  it('the score of two turned vectors depends on their distance only; both orders of features are the same turn', () => {
    scope(() => {
      const [q, k] = [randomNormal([1, 6], { seed: 1 }), randomNormal([1, 6], { seed: 2 })]
      const rates = [1, 0.3, 0.05]
      const at = (x: Tensor, p: number, interleaved: boolean): Float32Array =>
        rotary(x, tensor([rates.map((r) => Math.cos(p * r))]), tensor([rates.map((r) => Math.sin(p * r))]), {
          interleaved,
        }).read() as Float32Array
      const dot = (i: number, j: number, interleaved: boolean): number => {
        const [a, b] = [at(q, i, interleaved), at(k, j, interleaved)]
        return a.reduce((sum, v, n) => sum + v * b[n]!, 0)
      }
      for (const interleaved of [false, true]) expect(dot(9, 4, interleaved)).toBeCloseTo(dot(5, 0, interleaved), 5)
      const order = [0, 2, 4, 1, 3, 5]
      const x = q.read() as Float32Array
      const neighbours = tensor([Array.from({ length: 6 }, (_, i) => x[order.indexOf(i)]!)])
      const turned = at(neighbours, 3, true)
      close(at(q, 3, false), order.map((i) => turned[i]!), 'orders') // prettier-ignore
    })
  })

  it.each([
    [1, 1],
    [1, 4],
    [2, 1],
    [2, 4],
  ])('batch %i, %i queries: grouped keys are repeated keys', (b, t) => {
    scope(() => {
      const [q, k, v] = [randomNormal([b, t, 12], { seed: 1 }), randomNormal([b, 5, 6], { seed: 2 }), randomNormal([b, 5, 6], { seed: 3 })]
      const wide = (x: Tensor): Tensor => reshape(repeatInterleave(reshape(x, [b, 5, 2, 3]), 2, 2), [b, 5, 12])
      const keyMask = tensor(Array.from({ length: b }, (_, i) => [1, 1, i % 2, 1, 1]))
      const got = multiHeadAttention(q, k, v, { heads: 4, keyHeads: 2, causal: true, keyMask })
      const want = multiHeadAttention(q, wide(k), wide(v), { heads: 4, causal: true, keyMask })
      close(got.read() as Float32Array, Array.from(want.read() as Float32Array), 'grouped')
    })
  })
})
