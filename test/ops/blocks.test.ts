import { describe, expect, test } from 'vitest'
import { blockDecode, blockEncode, randomNormal } from '../../ts/ops/index.js'
import { blockTypes, decodeBlocks } from '../../ts/formats/index.js'
import { fromRaw, toRaw } from '../../ts/tensor/index.js'
import { goldenBytes } from '../formats/lib.js'
import { parseGguf } from '../../ts/formats/gguf/index.js'

/** Root mean square errors of ggml's own encoders (ggml_quantize_chunk of llama.cpp b6000s) on a million normal numbers of deviation 1. */
const ggml = { q8_0: 5.346e-3, q4_0: 8.586e-2, q4_1: 7.812e-2, q4_k: 7.124e-2, q6_k: 1.774e-2 }

describe.each(blockTypes)('%s', (type) => {
  const x = randomNormal([64, 1024], { seed: 7 })
  const blocks = blockEncode(x, type)

  test('the error is below that of ggml', () => {
    const [a, b] = [x.read() as Float32Array, blockDecode(blocks, type).read() as Float32Array]
    const rmse = Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0) / a.length)
    expect(rmse).toBeLessThan(ggml[type])
    expect(rmse).toBeGreaterThan(0.8 * ggml[type])
  })

  test('the reader without the addon gives the same bits', () => {
    expect(Buffer.from(decodeBlocks(type, toRaw(blocks).data).buffer).equals(toRaw(blockDecode(blocks, type)).data)).toBe(true)
    const { shape, data } = parseGguf(goldenBytes('blocks.gguf')).readStored(type)
    const stored = fromRaw({ dtype: 'u8', shape: [shape[0]!, data.length / shape[0]!], data })
    expect(Buffer.from(decodeBlocks(type, data).buffer).equals(toRaw(blockDecode(stored, type)).data)).toBe(true)
  })

  test('values that a block holds exactly come back, and encoding again changes nothing', () => {
    const exact = blockDecode(blockEncode(x, type), type)
    const again = blockDecode(blockEncode(exact, type), type)
    const [a, b] = [exact.read() as Float32Array, again.read() as Float32Array]
    const rmse = Math.sqrt(a.reduce((sum, v, i) => sum + (v - b[i]!) ** 2, 0) / a.length)
    expect(rmse).toBeLessThan(0.2 * ggml[type])
  })
})
