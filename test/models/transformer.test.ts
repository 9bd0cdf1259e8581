/** Transformer models of the zoo: sizes, shared layers, dropout, generation, tokenizers, training from scratch. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { quantize, compress, recipe, train } from '../../ts/compress/index.js'
import { Rng } from '../../ts/base/rng.js'
import { textDataset, encodeLabels } from '../../ts/data/index.js'
import {
  batchInputs,
  buildWordPiece,
  causalLanguage,
  generate,
  loadModel,
  maskedLanguage,
  publishedConfigs,
  saveHuggingFace,
  textClassifier,
  tokenizerOf,
  transformer,
  transformerSpec,
  withTokenizer,
  type PublishedName,
} from '../../ts/models/index.js'
import { build, freshValues, linear, Model, parameterCount, type ModelInfo, type ModuleSpec } from '../../ts/nn/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { tempDir } from '../formats/lib.js'
import { code, leavesNothing } from '../nn/lib.js'

const golden = path.join(import.meta.dirname, '../golden/huggingface')
const fresh = (spec: ModuleSpec, info: Partial<ModelInfo> = {}, seed = 1): Model =>
  new Model(build(spec, freshValues(Rng.of(seed))), { name: 'little', task: 'classification', history: [], ...info })
const body = {
  vocabulary: 20, embedding: 8, width: 8, layers: 2, distinct: 2, heads: 2, hidden: 12, positions: 10, eps: 1e-5, activation: 'gelu', norm: 'post', causal: false,
} as const // prettier-ignore
const ids = (...rows: number[][]) => tensor(Int32Array.from(rows.flat()), [rows.length, rows[0]!.length])
const values = (m: Model, x: Parameters<Model['forward']>[0], context = {}): Float32Array =>
  scope(() => m.forward(x, context).read() as Float32Array)

describe('sizes', () => {
  // transformers 5.18: sum(p.numel() for p in BertModel(BertConfig()).parameters()) and so on; GPT-2 with its tied head
  const counts: Record<PublishedName, number> = {
    'bert-base-uncased': 109_482_240,
    'bert-base-cased': 108_310_272,
    'bert-large-uncased': 335_141_888,
    'bert-tiny': 4_385_920,
    'minilm-l6': 22_713_216,
    'tinybert-4l-312d': 14_350_248,
    'roberta-base': 124_645_632,
    'roberta-large': 355_359_744,
    'albert-base-v2': 11_683_584,
    'albert-large-v2': 17_683_968,
    'albert-xlarge-v2': 58_724_864,
    'albert-xxlarge-v2': 222_595_584,
    'distilbert-base-uncased': 66_362_880,
    gpt2: 124_439_808,
    'gpt2-medium': 354_823_168,
    'gpt2-large': 774_030_080,
    'gpt2-xl': 1_557_611_200,
    distilgpt2: 81_912_576,
    // their model cards
    'llama-2-7b': 6_738_415_616,
    'llama-3.1-8b': 8_030_261_248,
    'llama-3.2-1b': 1_235_814_400,
    'tinyllama-1.1b': 1_100_048_384,
    'mistral-7b-v0.1': 7_241_732_096,
    'qwen2-0.5b': 494_032_768,
  }
  it('of published models are the published ones', () => {
    expect(Object.keys(counts).sort()).toEqual(Object.keys(publishedConfigs).sort())
    for (const [name, n] of Object.entries(counts)) expect(parameterCount(transformerSpec(name as PublishedName)), name).toBe(n)
  })

  it('of BERT are the sum of its parts', () => {
    const [embeddings, layer, pooler] = [
      (30522 + 512 + 2) * 768 + 2 * 768,
      4 * (768 * 768 + 768) + 2 * 768 * 3072 + 3072 + 768 + 4 * 768,
      768 * 768 + 768,
    ]
    expect([embeddings, 12 * layer, pooler]).toEqual([23_837_184, 85_054_464, 590_592])
    expect(parameterCount(transformerSpec('bert-base-uncased'))).toBe(embeddings + 12 * layer + pooler)
    expect(parameterCount(transformerSpec({ ...publishedConfigs['bert-base-uncased'], num_hidden_layers: 6 }))).toBe(
      embeddings + 6 * layer + pooler,
    )
    expect(parameterCount(transformerSpec('bert-base-uncased', { head: 'classifier', classes: 2 }))).toBe(109_482_240 + 768 * 2 + 2)
  })

  it('are those of the model that is built', () => {
    for (const spec of [
      transformer(body),
      linear({ in: 3, out: 2, bias: true, init: 'he' }),
      maskedLanguage({ body }),
      causalLanguage({ body, tied: false }),
    ]) {
      const model = fresh(spec)
      expect(parameterCount(spec)).toBe(model.parameters())
      model.dispose()
    }
    expect(() => transformerSpec('bert-bas-uncased' as never)).toThrowError(code('ERR_OPTION', /did you mean "bert-base-uncased"/))
  })
})

describe('a transformer', () => {
  it('shares layers: in the tree once, its gradient summed, other dropout at each use', () => {
    const shared = fresh(transformer({ ...body, layers: 6, distinct: 1, dropout: 0.5 }))
    expect(
      shared
        .weights()
        .filter(({ path: p }) => p.endsWith('up.weight'))
        .map(({ path: p }) => p),
    ).toEqual(['layer0.up.weight'])
    const x = ids([1, 2, 3])
    const [a, b, c] = [0, 0, 1].map((step) => values(shared, x, { training: true, seed: 3, step }))
    expect(a).toEqual(b)
    expect(a).not.toEqual(c)
    // The same weights without sharing draw other patterns, the same values without dropout.
    const apart = fresh(transformer({ ...body, layers: 6, distinct: 6, dropout: 0.5 }))
    const from = new Map(shared.weights().map((w) => [w.path, w.weight]))
    const same = apart.withWeights(new Map(apart.weights().map((w) => [w.path, from.get(w.path.replace(/^layer\d/, 'layer0'))!])))
    expect(values(same, x)).toEqual(values(shared, x))
    x.dispose()
    shared.dispose()
    apart.dispose()
  })

  it('drops where its family drops', () => {
    const x = ids([1, 2, 3])
    const trained = (dropoutAfter: 'both' | 'attention' | 'feedForward'): Float32Array => {
      const model = fresh(transformer({ ...body, dropout: 0.5, dropoutAfter }))
      const y = values(model, x, { training: true, seed: 1 })
      model.dispose()
      return y
    }
    const [both, attention, feedForward] = [trained('both'), trained('attention'), trained('feedForward')]
    expect(both).not.toEqual(attention)
    expect(both).not.toEqual(feedForward)
    expect(attention).not.toEqual(feedForward)
    x.dispose()
  })

  it('refuses ids, masks and lengths that do not fit', () => {
    const model = fresh(textClassifier({ body, classes: 2 }))
    const refuses = (x: Parameters<Model['forward']>[0], c: string, message: RegExp): void =>
      leavesNothing(() => expect(() => scope(() => model.forward(x))).toThrowError(code(c, message)))
    const given = {
      ids: ids([1, 2, 3]),
      mask: tensor([[1, 1]]),
      types: ids([0, 0]),
      long: ids(Array.from({ length: 11 }, () => 1)),
      flat: tensor(new Int32Array(3)),
      high: ids([20]),
    }
    refuses(given.flat, 'ERR_SHAPE', /takes ids i32 \[B, T\]/)
    refuses({ mask: given.mask }, 'ERR_SHAPE', /got ids undefined/)
    refuses({ ids: given.ids, mask: given.mask }, 'ERR_SHAPE', /keyMask|mask/)
    refuses({ ids: given.ids, types: given.types }, 'ERR_SHAPE', /types must have the shape/)
    refuses({ ids: given.ids, types: given.ids }, 'ERR_OPTION', /no sentence types/)
    refuses({ ids: given.ids, colour: given.mask }, 'ERR_OPTION', /unknown inputs colour/)
    refuses(given.long, 'ERR_SHAPE', /at most 10 tokens/)
    refuses(given.high, 'ERR_SHAPE', /20/)
    for (const t of Object.values(given)) t.dispose()
    model.dispose()
    for (const [change, message] of [
      [{ heads: 3 }, /heads/],
      [{ embedding: 4 }, /embedding/],
      [{ distinct: 3 }, /distinct/],
      [{ padding: 20 }, /padding/],
      [{ positionsFrom: 'padding' }, /positionsFrom/],
      [{ layers: 2 ** 32 + 1 }, /layers/],
      [{ width: NaN }, /width/],
    ] as const)
      expect(() => transformer({ ...body, ...change })).toThrowError(code('ERR_OPTION', message))
  })

  it('with quantized weights still ties its head, and keeps its values when written for transformers', async () => {
    const model = loadModel(path.join(golden, 'gpt2'))
    const { model: small } = await compress(model, recipe([[quantize.rtn({ bits: 8 })]]))
    const x = ids([5, 6, 7])
    const [exact, rounded] = [values(model, x), values(small, x)]
    const worst = exact.reduce((m, v, i) => Math.max(m, Math.abs(v - rounded[i]!)), 0)
    expect(worst).toBeGreaterThan(0)
    expect(worst).toBeLessThan(0.1)
    const dir = tempDir()
    saveHuggingFace(small, dir)
    const back = loadModel(dir)
    values(back, x).forEach((v, i) => expect(Math.abs(v - rounded[i]!)).toBeLessThan(1e-4))
    x.dispose()
    for (const m of [model, small, back]) m.dispose()
  })
})

describe('generate', () => {
  const model = loadModel(path.join(golden, 'gpt2'))
  const expected = JSON.parse(fs.readFileSync(path.join(golden, 'gpt2/expected.json'), 'utf8')) as { greedy: number[]; ids: number[][] }
  const prompt = expected.ids[0]!.slice(0, 4)

  it('writes greedily what transformers writes', () => {
    leavesNothing(() => expect(generate(model, prompt, { tokens: 12 })).toEqual(expected.greedy))
  })

  it('draws by seed from the top k', () => {
    const text = (seed: number, topK = 5): number[] => generate(model, prompt, { tokens: 12, topK, seed })
    expect(text(1)).toEqual(text(1))
    expect(text(1)).not.toEqual(text(2))
    expect(generate(model, prompt, { tokens: 12, topK: 1, temperature: 9 })).toEqual(expected.greedy)
    expect(generate(model, prompt, { tokens: 12, topK: 300, temperature: 1e-6 })).toEqual(expected.greedy)
    // Every draw is among the k largest scores of its place.
    const drawn = text(3, 2)
    const x = ids(drawn)
    const scores = values(model, x)
    x.dispose()
    const vocabulary = scores.length / drawn.length
    for (let i = prompt.length; i < drawn.length; i++) {
      const row = scores.subarray((i - 1) * vocabulary, i * vocabulary)
      expect(row.filter((v) => v > row[drawn[i]!]! + 1e-5).length).toBeLessThan(2)
    }
  })

  it('stops where it is told, and at the last position', () => {
    expect(generate(model, prompt, { tokens: 12, stop: [expected.greedy[5]!] })).toEqual(
      expected.greedy.slice(0, expected.greedy.indexOf(expected.greedy[5]!, 4) + 1),
    )
    expect(generate(model, prompt, { tokens: 1000 }).length).toBe(32)
    const seen: number[] = []
    expect(generate(model, prompt, { onToken: (id) => seen.push(id) < 3 }).length).toBe(7)
    expect(seen.length).toBe(3)
  })

  it('refuses what it cannot continue', () => {
    const bad = (options: object, message: RegExp, c = 'ERR_OPTION', text: number[] = prompt): void =>
      leavesNothing(() => expect(() => generate(model, text, options)).toThrowError(code(c, message)))
    for (const tokens of [0, NaN, -1, 1.5]) bad({ tokens }, /tokens must be/)
    for (const topK of [0, NaN, -1]) bad({ topK }, /topK must be/)
    for (const temperature of [0, NaN, -1, Infinity]) bad({ temperature }, /temperature must be/)
    bad({}, /at least one token/, 'ERR_OPTION', [])
    bad(
      {},
      /32 positions, the prompt has 33/,
      'ERR_SHAPE',
      Array.from({ length: 33 }, () => 5),
    )
    const bert = loadModel(path.join(golden, 'bert'))
    expect(() => generate(bert, [1])).toThrowError(code('ERR_OPTION', /takes causal language models, got textClassifier/))
    bert.dispose()
  })
})

describe('texts', () => {
  it('are cut, padded and paired as the model wants them', () => {
    const model = loadModel(path.join(golden, 'bert'))
    const tokenizer = tokenizerOf(model)
    const [cls, sep] = [tokenizer.idOf('[CLS]')!, tokenizer.idOf('[SEP]')!]
    const cut = tokenizer.encode('the quick brown fox jumps over the lazy dog', 5)
    expect([cut.length, cut[0], cut[4]]).toEqual([5, cls, sep])
    expect(() => tokenizer.encode('the quick brown', 1)).toThrowError(code('ERR_OPTION', /special tokens alone take 2/))
    const { ids: x, mask, types } = tokenizer.batch([['the dog', 'the fox'], 'the'])
    expect(x!.shape).toEqual([2, 7])
    expect(mask!.toArray()).toEqual([[1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0, 0]]) // prettier-ignore
    expect(types!.toArray()).toEqual([[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]]) // prettier-ignore
    for (const t of [x!, mask!, types!]) t.dispose()
    const data = textDataset({
      name: 'd',
      texts: ['the dog', 'the '.repeat(90)],
      ...encodeLabels('d', ['ham', 'spam'], ['ham', 'spam', 'else']),
    })
    scope(() => {
      const input = batchInputs(model, data, [0, 1]).x as Record<string, { shape: readonly number[] }>
      expect(input.ids!.shape).toEqual([2, 32])
      expect(model.forward(input as never).shape).toEqual([2, 3])
    })
    model.dispose()
  })

  it('make a vocabulary in which nothing frequent is unknown', () => {
    const tokenizer = buildWordPiece(['The dog, the fox', 'the DOG barks'], { size: 64 })
    expect(tokenizer.decode(tokenizer.encode('The dog barks'))).toBe('the dog barks')
    expect(tokenizer.encode('foxes')).not.toContain(tokenizer.idOf('[UNK]'))
    expect(tokenizer.encode('\u4e2d')).toContain(tokenizer.idOf('[UNK]'))
    expect(() => buildWordPiece([], { size: 3 })).toThrowError(code('ERR_OPTION', /size must be/))
  })
})

describe('training', () => {
  // First sentences of Moby-Dick (Melville 1851) and of the Origin of Species (Darwin 1859).
  const melville = [
    'Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, I thought I would sail about a little and see the watery part of the world.',
    'It is a way I have of driving off the spleen and regulating the circulation.',
    'Whenever I find myself growing grim about the mouth, I account it high time to get to sea as soon as I can.',
    'There now is your insular city of the Manhattoes, belted round by wharves as Indian isles by coral reefs.',
    'Say you are in the country, in some high land of lakes. Take almost any path you please, and it carries you down in a dale.',
    'Now, when I say that I am in the habit of going to sea, I do not mean to have it inferred that I ever go to sea as a passenger.',
  ]
  const darwin = [
    'When on board H.M.S. Beagle, as naturalist, I was much struck with certain facts in the distribution of the inhabitants of South America.',
    'These facts seemed to me to throw some light on the origin of species, that mystery of mysteries.',
    'After five years work I allowed myself to speculate on the subject, and drew up some short notes.',
    'In considering the Origin of Species, it is quite conceivable that a naturalist might come to the conclusion that each species had not been independently created.',
    'As many more individuals of each species are born than can possibly survive, there is a frequently recurring struggle for existence.',
    'From the strong principle of inheritance, any selected variety will tend to propagate its new and modified form.',
  ]
  const texts = [...melville, ...darwin]
  const labels = encodeLabels(
    'books',
    texts.map((_, i) => (i < melville.length ? 'melville' : 'darwin')),
    ['melville', 'darwin'],
  )
  const data = textDataset({ name: 'books', texts, ...labels })

  it('a small BERT from scratch on prose lowers the loss, and goes to transformers and back', async () => {
    const tokenizer = buildWordPiece(texts, { size: 160 })
    const spec = transformerSpec(
      {
        model_type: 'bert',
        vocab_size: 160,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 64,
      },
      { head: 'classifier', classes: 2 },
    )
    const untrained = withTokenizer(fresh(spec, { classes: data.classes }, 5), tokenizer)
    const losses: number[] = []
    const { model } = await train(untrained, data, {
      epochs: 12,
      batchSize: 6,
      seed: 1,
      optimizer: { kind: 'adamw' },
      schedule: { kind: 'constant', lr: 0.004 },
      onEvent: (event) => {
        if (event.type === 'train-epoch') losses.push(event.loss)
      },
    })
    expect(losses.length).toBe(12)
    expect(losses[0]!).toBeGreaterThan(0.5)
    expect(losses[11]!).toBeLessThan(0.2)
    const dir = tempDir()
    saveHuggingFace(model, dir)
    const back = loadModel(dir)
    expect(back.info).toMatchObject({ task: 'classification', classes: ['melville', 'darwin'] })
    scope(() =>
      expect(back.forward(batchInputs(back, data, [0, 7]).x).read()).toEqual(model.forward(batchInputs(model, data, [0, 7]).x).read()),
    )
    for (const m of [untrained, model, back]) m.dispose()
  })
})
