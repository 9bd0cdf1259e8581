import { describe, expect, test } from 'vitest'
import path from 'node:path'
import { encodeGguf, openGguf, parseGguf, writeGguf, type GgufSource } from '../../ts/formats/index.js'
import {
  causalLanguage,
  generate,
  loadGguf,
  loadHuggingFace,
  loadModel,
  maskedLanguage,
  saveGguf,
  tokenizerOf,
} from '../../ts/models/index.js'
import { Rng } from '../../ts/base/rng.js'
import { build, freshValues, Model, type ModuleSpec } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { errorOf, tempDir } from '../formats/lib.js'
import { expectedOf, folderOf } from './huggingface-lib.js'

const model = loadHuggingFace(folderOf('gpt2'), { head: 'language' })
const ids = [1, 2, 3, 4, 5]
const scores = (m: Model): Float32Array => scope(() => m.forward(tensor(Int32Array.from(ids), [1, 5])).read() as Float32Array)
const dir = tempDir()
const buildModel = (spec: ModuleSpec): Model =>
  new Model(build(spec, freshValues(Rng.of(1, 'gguf'))), { name: 'x', task: 'language', history: [] })

describe('GPT-2 as GGUF', () => {
  const plain = path.join(dir, 'plain.gguf')
  saveGguf(model, plain)

  test('names, keys and shapes that llama.cpp asks for', () => {
    const file = openGguf(plain)
    expect(file.text('general.architecture')).toBe('gpt2')
    expect(
      ['context_length', 'embedding_length', 'block_count', 'feed_forward_length', 'attention.head_count'].map((k) =>
        file.number(`gpt2.${k}`),
      ),
    ).toEqual([32, 16, 2, 64, 2])
    expect(file.tensors.get('blk.1.attn_qkv.weight')).toMatchObject({ type: 'f32', shape: [48, 16] })
    expect([...file.tensors.keys()].filter((name) => !name.startsWith('blk.'))).toEqual([
      'token_embd.weight',
      'position_embd.weight',
      'output_norm.weight',
      'output_norm.bias',
    ])
    file.close()
  })

  test('loaded again: the same scores to the last bit, the same tokenizer and text', () => {
    const again = loadModel(plain)
    expect(scores(again)).toEqual(scores(model))
    for (const { text, ids: wanted } of expectedOf('gpt2').texts) expect(tokenizerOf(again).encode(text)).toEqual(wanted)
    expect(generate(again, ids, { tokens: 8 })).toEqual(generate(model, ids, { tokens: 8 }))
  })

  test("llama.cpp's scores (node-llama-cpp 3 on the f32 file; probabilities of the next token behind 1 2 3 4 5)", () => {
    const last = scores(model).subarray(4 * 291)
    const e = Array.from(last, Math.exp)
    const sum = e.reduce((a, b) => a + b)
    // Its attention keeps keys and values in half precision.
    for (const [id, p] of [
      [14, 0.0433183],
      [80, 0.0194821],
      [214, 0.0191469],
      [239, 0.0164956],
      [142, 0.0158198],
    ] as const)
      // prettier-ignore
      expect(Math.abs(e[id]! / sum / p - 1)).toBeLessThan(2e-3)
  })

  test.each([
    ['f16', 5e-3],
    ['bf16', 2e-2],
    ['q8_0', 0.05],
    ['q4_0', 0.5],
    ['q4_k', 0.05],
  ] as const)('%s: the scores stay near', (type, bound) => {
    const file = path.join(dir, `${type}.gguf`)
    saveGguf(model, file, { type })
    const [a, b] = [scores(model), scores(loadGguf(file))]
    const worst = a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i]!)), 0)
    expect(worst).toBeGreaterThan(0)
    expect(worst).toBeLessThan(bound)
    const open = openGguf(file)
    const matrix = open.tensors.get('blk.0.ffn_down.weight')!
    expect(matrix.type).toBe(type === 'q4_k' ? 'q8_0' : type) // 64 columns are no block of 256
    expect(open.tensors.get('blk.0.ffn_down.bias')!.type).toBe('f32')
    open.close()
  })
})

describe('refusals', () => {
  const whole = path.join(dir, 'whole.gguf')
  saveGguf(model, whole)
  const changed = (change: (tensors: Map<string, GgufSource>, metadata: Map<string, unknown>) => void): string => {
    const file = openGguf(whole)
    const tensors = new Map<string, GgufSource>([...file.tensors.keys()].map((name) => [name, file.readStored(name)]))
    const metadata = new Map(file.metadata)
    change(tensors, metadata)
    file.close()
    const out = path.join(dir, 'changed.gguf')
    writeGguf(out, tensors, { metadata })
    return out
  }
  test.each<[string, string, Parameters<typeof changed>[0]]>([
    ['another architecture', 'ERR_UNSUPPORTED', (_, m) => m.set('general.architecture', { type: 'string', value: 'mamba' })],
    ['no number of heads', 'ERR_MODEL_FORMAT', (_, m) => m.delete('gpt2.attention.head_count')],
    ['three heads for a width of 16', 'ERR_MODEL_FORMAT', (_, m) => m.set('gpt2.attention.head_count', { type: 'u32', value: 3 })],
    ['heads as a text', 'ERR_MODEL_FORMAT', (_, m) => m.set('gpt2.attention.head_count', { type: 'string', value: '2' })],
    ['three layers of two', 'ERR_MODEL_FORMAT', (_, m) => m.set('gpt2.block_count', { type: 'u32', value: 3 })],
    ['one layer of two', 'ERR_MODEL_FORMAT', (_, m) => m.set('gpt2.block_count', { type: 'u32', value: 1 })],
    ['2^31 layers', 'ERR_MODEL_FORMAT', (_, m) => m.set('gpt2.block_count', { type: 'u32', value: 2 ** 31 })],
    ['no table', 'ERR_MODEL_FORMAT', (t) => t.delete('token_embd.weight')],
    ['no norm', 'ERR_MODEL_FORMAT', (t) => t.delete('output_norm.bias')],
    ['a tensor too many', 'ERR_MODEL_FORMAT', (t) => t.set('extra', { type: 'f32', shape: [1], data: new Uint8Array(4) })],
    ['another shape', 'ERR_MODEL_FORMAT', (t) => t.set('output_norm.bias', { type: 'f32', shape: [4], data: new Uint8Array(16) })],
    ['tokens that are no texts', 'ERR_MODEL_FORMAT', (_, m) => m.set('tokenizer.ggml.tokens', { type: 'u32', value: 1 })],
  ])('%s: %s', (_, code, change) => {
    expect(errorOf(() => loadGguf(changed(change))).code).toBe(code)
  })

  test('models that GPT-2 in GGUF is not', () => {
    const body = { vocabulary: 8, embedding: 4, width: 4, layers: 1, distinct: 1, heads: 2, hidden: 8, positions: 4, eps: 1e-5, norm: 'pre' as const, causal: true } // prettier-ignore
    const out = path.join(dir, 'x.gguf')
    const wrong = buildModel(causalLanguage({ body: { ...body, activation: 'gelu' } }))
    expect(errorOf(() => saveGguf(wrong, out)).details.what).toBe('activation gelu')
    const masked = buildModel(maskedLanguage({ body: { ...body, causal: false, activation: 'gelu' } }))
    expect(errorOf(() => saveGguf(masked, out)).code).toBe('ERR_UNSUPPORTED')
    expect(errorOf(() => saveGguf(model, out, { type: 'q5_0' as 'q4_0' })).code).toBe('ERR_OPTION')
  })

  test('a model without a tokenizer is written without one', () => {
    const body = { vocabulary: 8, embedding: 4, width: 4, layers: 1, distinct: 1, heads: 2, hidden: 8, positions: 4, eps: 1e-5, norm: 'pre' as const, causal: true, activation: 'geluTanh' as const } // prettier-ignore
    const bare = buildModel(causalLanguage({ body, tied: false }))
    const out = path.join(dir, 'bare.gguf')
    saveGguf(bare, out, { metadata: { 'general.author': { type: 'string', value: 'me' } } })
    const again = loadGguf(out)
    expect(Object.keys(again.extras)).toEqual([])
    expect(again.root.config).toMatchObject({ tied: false })
    const file = openGguf(out)
    expect(file.text('tokenizer.ggml.model')).toBe('none')
    expect(file.text('general.author')).toBe('me')
    file.close()
    expect(parseGguf(encodeGguf([])).tensors.size).toBe(0)
  })
})
