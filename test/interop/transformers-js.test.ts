/** Folders of `tersor convert --layout transformers.js`, run by @huggingface/transformers on local files, held against Tersor's own results. */
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { generate, loadHuggingFace, loadModel, tokenizerOf } from '../../ts/models/index.js'
import { textEncoder } from '../../ts/models/inputs.js'
import { QuantizedWeight, type Model } from '../../ts/nn/index.js'
import { saveTransformersJs } from '../../ts/runtime/transformers-js.js'
import { scope } from '../../ts/tensor/index.js'
import { tersor } from '../cli/lib.js'
import { tempDir } from '../formats/lib.js'
import { close, folderOf } from '../models/huggingface-lib.js'
import { answers, hasPackage } from './packages.js'

const web = tempDir()
const texts = ['the quick brown fox', 'hello']
const convert = async (input: string, name: string, ...options: string[]): Promise<void> => {
  const { code, stderr } = await tersor(['convert', input, path.join(web, name), '--layout', 'transformers.js', '--no-check', ...options])
  expect(stderr).not.toContain('error')
  expect(code, name).toBe(0)
}
const scores = (model: Model): number[] =>
  texts.flatMap((text) => scope(() => Array.from(model.forward(textEncoder(model).encode([text])).read() as Float32Array)))

describe('the files', () => {
  it('of an imported graph: with the config.json and tokenizer beside it, or those that are named; else refused', async () => {
    const source = path.join(tempDir(), 'bert')
    mkdirSync(path.join(source, 'onnx'), { recursive: true })
    const onnx = path.join(source, 'onnx', 'model.onnx')
    await tersor(['convert', folderOf('bert'), onnx, '--no-check'])
    const bare = await tersor(['convert', onnx, path.join(web, 'none'), '--layout', 'transformers.js'])
    expect(bare.code).not.toBe(0)
    expect(bare.stderr).toMatch(/needs its config.json and tokenizer/)
    await convert(onnx, 'named', '--quantize', 'int8', '--assets', folderOf('bert'))
    for (const name of ['config.json', 'vocab.txt', 'tokenizer_config.json'])
      cpSync(path.join(folderOf('bert'), name), path.join(source, name))
    await convert(onnx, 'beside')
    for (const name of ['named/onnx/model_quantized.onnx', 'named/tokenizer.json', 'beside/onnx/model.onnx', 'beside/config.json'])
      expect(existsSync(path.join(web, name)), name).toBe(true)
  })

  it('of what tersor compress makes of a folder and of an imported graph', async () => {
    const onnx = path.join(tempDir(), 'bert.onnx')
    await tersor(['convert', folderOf('bert'), onnx, '--no-check'])
    const compress = (input: string, out: string, ...options: string[]): ReturnType<typeof tersor> =>
      tersor(['compress', input, '--recipe', 'int8-weights', '--out', out, '--layout', 'transformers.js', ...options])
    for (const [name, input, options] of [
      ['small', folderOf('bert'), []],
      ['small-graph', onnx, ['--assets', folderOf('bert')]],
    ] as const) {
      const to = path.join(web, name)
      mkdirSync(to)
      const { code, stderr } = await compress(input, `${to}/`, ...options)
      expect(code, stderr).toBe(0)
      expect(readdirSync(to).sort()).toEqual(expect.arrayContaining(['config.json', 'onnx', 'tokenizer.json', 'tokenizer_config.json']))
      expect(readdirSync(path.join(to, 'onnx'))).toEqual(['model_quantized.onnx'])
      const again = loadModel(path.join(to, 'onnx', 'model_quantized.onnx'))
      const bits = again.weights().flatMap(({ weight }) => (weight instanceof QuantizedWeight ? [weight.bits] : []))
      expect(new Set(bits)).toEqual(new Set([8]))
      again.dispose()
    }
    const file = path.join(web, 'a-file')
    writeFileSync(file, '')
    const refused = [await compress(onnx, path.join(web, 'bare')), await compress(folderOf('bert'), file)]
    refused.push(await tersor(['compress', onnx, '--recipe', 'int8-weights', '--out', path.join(web, 'x.onnx'), '--assets', web]))
    refused.push(await tersor(['compress', onnx, '--recipe', 'int8-weights', '--out', web]))
    const why = [
      /needs its config.json and tokenizer/,
      /--layout is for a folder/,
      /--assets is for --layout/,
      /is a folder, a file is wanted/,
    ]
    refused.forEach(({ code, stderr }, i) => {
      expect(code).not.toBe(0)
      expect(stderr).toMatch(why[i]!)
    })
    expect(existsSync(path.join(web, 'bare'))).toBe(false)
  })

  it('of other models and options are refused', async () => {
    const wrong = await tersor(['convert', folderOf('bert'), path.join(web, 'x.onnx'), '--assets', web])
    expect(wrong.stderr).toMatch(/--assets is for --layout transformers.js/)
    const blocks = await tersor(['convert', folderOf('bert'), path.join(web, 'q'), '--layout', 'transformers.js', '--quantize', 'q4_k'])
    expect(blocks.stderr).toMatch(/take int8, int4/)
  })
})

describe.skipIf(!hasPackage('@huggingface/transformers'))('in @huggingface/transformers', () => {
  it('classifiers, embeddings and language models give what Tersor gives', { timeout: 300_000 }, async () => {
    const onnx = path.join(tempDir(), 'bert.onnx')
    await tersor(['convert', folderOf('bert'), onnx, '--no-check'])
    for (const type of ['bert', 'roberta', 'albert', 'distilbert', 'gpt2']) await convert(folderOf(type), type)
    await convert(folderOf('bert'), 'int8', '--quantize', 'int8')
    await convert(onnx, 'imported', '--assets', folderOf('bert'))
    await convert(onnx, 'imported-int8', '--assets', folderOf('bert'), '--quantize', 'int8')
    const kinds = ['bert', 'roberta', 'albert', 'distilbert', 'int8', 'imported', 'imported-int8']
    const classify = kinds.map((name) => ({
      name,
      task: 'text-classification',
      dtype: name.endsWith('int8') ? 'q8' : 'fp32',
      texts,
      options: { top_k: null },
    }))
    const write = {
      name: 'gpt2',
      task: 'text-generation',
      dtype: 'fp32',
      texts: [texts[0]],
      options: { max_new_tokens: 8, do_sample: false },
    }
    // Pooled here, pooled by transformers.js there.
    const means = loadHuggingFace(folderOf('bert'), { head: 'embedding', output: 'mean' })
    await saveTransformersJs(means, path.join(web, 'means'), { check: false })
    const pool = { pooling: 'mean', normalize: false }
    const embed = { name: 'means', task: 'feature-extraction', dtype: 'fp32', texts, options: pool }
    const got = await answers<unknown[]>('transformers-js.mjs', [web, JSON.stringify([...classify, embed, write])])
    expect(got).toHaveLength(classify.length + 2)
    close((got.at(-2) as number[][]).flat(), scores(means), 'embeddings')
    kinds.forEach((name, i) => {
      const model = loadModel(folderOf(name.includes('int8') || name === 'imported' ? 'bert' : name))
      const classes = model.info.classes!
      const logits = scores(model)
      const bound = name.endsWith('int8') ? 0.03 : 1e-5
      ;(got[i] as { label: string; score: number }[][]).forEach((labels, row) => {
        const e = logits.slice(row * classes.length, (row + 1) * classes.length).map(Math.exp)
        const sum = e.reduce((a, b) => a + b)
        for (const { label, score } of labels)
          expect(Math.abs(score - e[classes.indexOf(label)]! / sum), `${name}: ${label}`).toBeLessThan(bound)
      })
    })
    const gpt2 = loadHuggingFace(folderOf('gpt2'), { head: 'language' })
    const tokenizer = tokenizerOf(gpt2)
    const wanted = tokenizer.decode(generate(gpt2, tokenizer.encode(texts[0]!), { tokens: 8, stop: [290] }))
    expect((got.at(-1) as [{ generated_text: string }][])[0]![0].generated_text).toBe(wanted)
  })
})
