/** GPT-2 and Llama models in GGUF files of every type that Tersor writes, run by llama.cpp (node-llama-cpp): probabilities and greedy tokens are Tersor's on the same file. */
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import type { JsonObject } from '../../ts/base/json-types.js'
import { loadGguf, loadHuggingFace, saveGguf, tokenizerOf, transformerSpec, withTokenizer } from '../../ts/models/index.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { tempDir } from '../formats/lib.js'
import { folderOf } from '../models/huggingface-lib.js'
import { answers, hasPackage } from './packages.js'

const VOCABULARY = 291
const ids = [1, 2, 3, 4, 5]
const specs: Readonly<Record<string, JsonObject>> = {
  gpt2: { model_type: 'gpt2', vocab_size: VOCABULARY, n_embd: 256, n_layer: 2, n_head: 4, n_positions: 64 },
  llama: {
    ...{ model_type: 'llama', vocab_size: VOCABULARY, hidden_size: 256, num_hidden_layers: 2, num_attention_heads: 4 },
    ...{ num_key_value_heads: 2, intermediate_size: 512, max_position_embeddings: 64, rms_norm_eps: 1e-5 },
  },
}
/**
 * Largest relative distance of a probability. llama.cpp keeps keys and values in f16, multiplies f16 and bf16 matrices in these types, and rounds the inputs of
 * quantized ones to 8 bits; Tersor computes with the values that the file stands for in f32.
 */
const types = { f32: 5e-3, f16: 1e-2, bf16: 3e-2, q8_0: 0.1, q4_0: 0.1, q4_1: 0.1, q4_k: 0.1, q6_k: 0.1 } as const

describe.skipIf(!hasPackage('node-llama-cpp'))('in node-llama-cpp', () => {
  it.each(Object.keys(specs))('%s', { timeout: 400_000 }, async (name) => {
    const dir = tempDir()
    const tokenizer = tokenizerOf(loadHuggingFace(folderOf('gpt2'), { head: 'language' }))
    const fresh = new Model(build(transformerSpec(specs[name]!), freshValues(Rng.of(3, name))), { name, task: 'language', history: [] })
    const model = withTokenizer(fresh, tokenizer)
    const files = Object.keys(types).map((type) => path.join(dir, `${type}.gguf`))
    Object.keys(types).forEach((type, i) => saveGguf(model, files[i]!, { type: type as keyof typeof types }))
    const got = await answers<{ probabilities: [number, number][]; greedy: number[] }>('llama-cpp.mjs', [JSON.stringify(ids), ...files])
    expect(got).toHaveLength(files.length)
    Object.entries(types).forEach(([type, bound], i) => {
      const own = loadGguf(files[i]!)
      const probabilities = (list: readonly number[]): number[] => {
        const scores = scope(() => own.forward(tensor(Int32Array.from(list), [1, list.length])).read() as Float32Array)
        const e = Array.from(scores.subarray((list.length - 1) * VOCABULARY), Math.exp)
        const sum = e.reduce((a, b) => a + b)
        return e.map((v) => v / sum)
      }
      const { probabilities: theirs, greedy } = got[i]!
      const here = probabilities(ids)
      expect(theirs).toHaveLength(VOCABULARY)
      for (const [id, p] of theirs) expect(Math.abs(p / here[id]! - 1), `${type}, token ${id}`).toBeLessThan(bound)
      // Each token that llama.cpp takes is the likeliest here too, behind the same text, or as likely as its rounding can tell.
      expect(greedy).toHaveLength(8)
      greedy.forEach((id, n) => {
        const next = probabilities([...ids, ...greedy.slice(0, n)])
        expect(next[id]! / Math.max(...next), `${type}, token ${n} of the text`).toBeGreaterThan(1 - bound)
      })
    })
  })
})
