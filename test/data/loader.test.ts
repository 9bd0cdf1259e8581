/** Loaders: the same batches from any thread, exact resume, errors, ends. The workers are those of the build (dist). */
import { spawnSync } from 'node:child_process'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import type * as data from '../../ts/data/index.js'
import { storedOf } from '../../ts/data/loader/sources.js'
import { Loader } from '../../ts/data/loader/loader.js'
import { blocks, bucketed } from '../../ts/data/loader/order.js'
import { numberDataset, openLoader, subset, textDataset, tokenize, Vocabulary, type LoaderOptions } from '../../ts/data/index.js'
import { errorOf, rejectionOf } from '../formats/lib.js'
import { built, cjs, esm, images, keep, take, withMap, write } from './loader-lib.js'

test('what workers see: the view alone, copied once per data set', () => {
  const pool = new ArrayBuffer(1 << 16)
  const labels = Int32Array.of(0, 0)
  const made = (features: Float32Array): data.NumberDataset =>
    numberDataset({ name: 'pooled', features, inputShape: [1], labels, classes: ['a'] })
  const numbers = (of: data.NumberDataset): Float32Array => (storedOf(of, true) as { features: Float32Array }).features
  const view = new Float32Array(pool, 128, 2)
  view.set([1, 2])
  const first = made(view)
  expect([...numbers(first)]).toEqual([1, 2])
  expect(numbers(first).buffer.byteLength).toBe(8)
  expect(numbers(first)).toBe(numbers(first))
  // The same memory with other numbers in it is other data.
  view.set([3, 4])
  expect([...numbers(made(view))]).toEqual([3, 4])
})

describe('batches', () => {
  const options: LoaderOptions = { batchSize: 8, seed: 5, augment: withMap }

  test('are the same on the calling thread, in one worker and in three, prefetched or not', async () => {
    const here = keep(openLoader(images, { ...options, workers: 0 }))
    expect(here.mode).toEqual({ thread: 'caller', workers: 0, why: 'workers: 0' })
    const wanted = await take(here, 12)
    for (const other of [{ workers: 1 }, { workers: 3 }, { workers: 1, prefetch: 0 }]) {
      const loader = keep(built.openLoader(images, { ...options, ...other }))
      expect(await take(loader, 12), JSON.stringify(other)).toEqual(wanted)
      expect(loader.mode).toEqual({ thread: 'workers', workers: other.workers })
    }
  })

  test('hold every sample once an epoch, with its numbers', async () => {
    const loader = keep(openLoader(images, { batchSize: 8, seed: 1, workers: 0 }))
    expect(loader.batchesPerEpoch).toBe(5)
    const seen: number[] = []
    for (let i = 0; i < 5; i++) {
      const { indices, x, shape, labels, epoch } = await loader.next()
      seen.push(...indices)
      expect(epoch).toBe(0)
      const plain = images.batch(indices)
      expect({ x, shape, labels }).toEqual(plain)
    }
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 37 }, (_, i) => i))
    expect((await loader.next()).epoch).toBe(1)
  })

  test('go on from a position, also in a subset and with dropLast', async () => {
    const part = subset(subset(images, [30, 4, 17, 9, 25, 1, 12, 8, 3]), [8, 6, 4, 2, 0, 1, 3])
    for (const more of [{}, { dropLast: true }, { order: 'balanced' as const }]) {
      const first = keep(openLoader(part, { ...options, batchSize: 2, ...more, workers: 0 }))
      await take(first, 4)
      const from = JSON.parse(JSON.stringify(first.position())) as data.BatchPosition
      const wanted = await take(first, 6)
      expect(await take(keep(built.openLoader(part, { ...options, batchSize: 2, ...more, from })), 6)).toEqual(wanted)
      expect(errorOf(() => openLoader(part, { ...options, batchSize: 3, ...more, from })).code).toBe('ERR_CHECKPOINT')
      expect(errorOf(() => openLoader(part, { ...options, batchSize: 2, ...more, from: { ...from, batch: 99 } })).code).toBe(
        'ERR_CHECKPOINT',
      )
    }
  })

  test('a data set that only gives batches is asked for them', async () => {
    const { stored: _, ...bare } = images
    const a = await keep(openLoader(bare, { batchSize: 5, seed: 2, workers: 0 })).next()
    expect(a).toEqual(await keep(openLoader(images, { batchSize: 5, seed: 2, workers: 0 })).next())
  })
})

describe('orders', () => {
  test('buckets: every sample once, similar lengths together, less padding', async () => {
    const lengths = Array.from({ length: 103 }, (_, i) => 1 + ((i * 37) % 50))
    const list = [...bucketed(lengths, 3, 10, 4)(0).slice(0, 103)]
    expect([...list].sort((a, b) => a - b)).toEqual(Array.from({ length: 103 }, (_, i) => i))
    expect([...bucketed(lengths, 3, 10, 4)(1).slice(0, 103)]).not.toEqual(list)
    const texts = textDataset({ name: 't', texts: lengths.map((n) => 'w '.repeat(n)), labels: new Int32Array(103), classes: ['x'] })
    const words = tokenize(texts, Vocabulary.build(['w'], { specials: ['<pad>'] }))
    const waste = async (order: 'shuffled' | 'bucketed'): Promise<number> => {
      const loader = keep(openLoader(words, { batchSize: 10, order, workers: 0, bucketBatches: 5 }))
      await take(loader, loader.batchesPerEpoch)
      expect(loader.padding.tokens).toBe(lengths.reduce((a, b) => a + b))
      return loader.padding.waste
    }
    const [shuffledWaste, bucketedWaste] = [await waste('shuffled'), await waste('bucketed')]
    expect(bucketedWaste).toBeLessThan(shuffledWaste / 2)
  })

  test('blocks: every sample once, near each other, any slice without the ones before', () => {
    const make = blocks(1003, 10, 4, 7)
    const all = [...make(2).slice(0, 1003)]
    expect([...all].sort((a, b) => a - b)).toEqual(Array.from({ length: 1003 }, (_, i) => i))
    expect([...make(2).slice(500, 620)]).toEqual(all.slice(500, 620))
    for (let at = 0; at + 40 <= 1000; at += 40)
      expect(new Set(all.slice(at, at + 30).map((i) => Math.floor(i / 10))).size).toBeLessThanOrEqual(8)
    expect(all.slice(0, 40)).not.toEqual([...all.slice(0, 40)].sort((a, b) => a - b))
    expect([...make(3).slice(0, 1003)]).not.toEqual(all)
  })
})

describe('sequences', () => {
  const texts = textDataset({
    name: 'mails',
    texts: ['buy now now', 'hi', '', 'see you soon then'],
    labels: Int32Array.of(1, 0, 0, 1),
    classes: ['ham', 'spam'],
  })
  const vocabulary = Vocabulary.build(texts.texts, { specials: ['<pad>', '<cls>', '<sep>'] })

  test('padded ids, masks, lengths; special tokens; truncation', async () => {
    const cls = [vocabulary.id('<cls>')!]
    const sep = [vocabulary.id('<sep>')!]
    const words = tokenize(texts, vocabulary, { prefix: cls, suffix: sep, maxLength: 5 })
    const b = await keep(openLoader(words, { batchSize: 4, order: 'sequential', workers: 0 })).next()
    expect([b.shape, [...b.lengths], [...b.labels]]).toEqual([
      [4, 5],
      [5, 3, 2, 5],
      [1, 0, 0, 1],
    ])
    expect(vocabulary.decode(b.ids.subarray(0, 5))).toBe('<cls> buy now now <sep>')
    expect([...b.mask.subarray(5, 15)]).toEqual([1, 1, 1, 0, 0, 1, 1, 0, 0, 0])
    expect(vocabulary.decode(b.ids.subarray(15))).toBe('<cls> see you soon <sep>')
    expect([...tokenize(texts, vocabulary).stored.offsets]).toEqual([0, 3, 4, 5, 9]) // an empty text is one pad
    expect(errorOf(() => tokenize(texts, vocabulary, { maxLength: 2, prefix: cls, suffix: sep })).code).toBe('ERR_OPTION')
    expect(errorOf(() => tokenize(texts, { ...vocabulary, size: 2, encode: () => [7], decode: () => '' })).code).toBe('ERR_DATA')
  })

  test('from a csv file, with the vocabulary in the worker', async () => {
    const file = write('mails.csv', 'label,text\nspam,"buy, now\nnow"\nham,hi\n\nham,see you\n')
    const stream = await built.streamData(`csv:${file},text=text`, { classes: ['ham', 'spam'], vocabulary })
    expect([stream.size, stream.input]).toEqual([3, 'text'])
    const b = (await keep(built.openLoader(stream, { batchSize: 3, order: 'sequential' })).next()) as data.LoadedSequences
    expect([...b.labels]).toEqual([1, 0, 0])
    expect([b.shape, [...b.lengths]]).toEqual([
      [3, 5],
      [5, 1, 2],
    ]) // "buy", ",", "now", line end, "now"
  })
})

describe('maps', () => {
  const module = write(
    'map.mjs',
    `export default (s, { random, epoch, options }) => { s.x[0] = s.index + epoch / 10 + options.add; s.x[1] = random(); if (s.index === options.bad) throw new RangeError('no ' + s.index) }
export const odd = 3`,
  )
  const map = { module, options: { add: 100 } }

  test('from a module run in the workers, in both builds; functions run here', async () => {
    const wanted = await take(keep(openLoader(images, { batchSize: 8, seed: 5, map, workers: 0 })), 6)
    expect((wanted[0] as data.LoadedNumbers).x[0]).toBe((wanted[0] as data.LoadedNumbers).indices[0]! + 100)
    expect(await take(keep(built.openLoader(images, { batchSize: 8, seed: 5, map })), 6)).toEqual(wanted)
    const closure = keep(
      openLoader(images, {
        batchSize: 8,
        seed: 5,
        map: (s, { random, epoch }) => ((s.x[0] = s.index + epoch / 10 + 100), (s.x[1] = random()), undefined),
      }),
    )
    expect(closure.mode).toEqual({ thread: 'caller', workers: 0, why: 'the map is a function' })
    expect(await take(closure, 6)).toEqual(wanted)
  })

  test('what they throw arrives typed, with the cause', async () => {
    const loader = keep(built.openLoader(images, { batchSize: 8, order: 'sequential', map: { module, options: { add: 0, bad: 11 } } }))
    await loader.next()
    const error = await rejectionOf(() => loader.next())
    expect(error).toMatchObject({ code: 'ERR_DATA', details: { index: 11 } })
    expect(error.message).toMatch(/the map failed at sample 11: no 11/)
    expect((error.cause as Error).stack).toMatch(/map\.mjs/)
  })

  test('what cannot be loaded or leaves nonsense is refused', async () => {
    for (const bad of [{ module: '/no/such.mjs' }, { module: 'relative.mjs' }, { module, name: 'odd' }])
      expect((await rejectionOf(() => keep(built.openLoader(images, { batchSize: 8, map: bad })).next())).code).toBe('ERR_OPTION')
    for (const nonsense of [
      (s: data.Sample) => void (s.shape = [3]),
      (s: data.Sample) => void (s.label = 0.5),
      (s: data.Sample) => void (s.x = [] as unknown as Float32Array),
    ])
      expect((await rejectionOf(() => keep(openLoader(images, { batchSize: 8, map: nonsense })).next())).code).toBe('ERR_DATA')
  })

  test('a worker that dies is an error, not a wait without end', async () => {
    const dying = write('die.mjs', `export default (s) => { if (s.index === 20) process.exit(3) }`)
    const loader = keep(built.openLoader(images, { batchSize: 4, order: 'sequential', map: { module: dying } }))
    await take(loader, 5)
    expect((await rejectionOf(() => loader.next())).message).toMatch(/a worker ended: exit code 3/)
  })
})

describe('ends', () => {
  test('close and abort end what waits; calls after it fail the same way', async () => {
    const loader = keep(built.openLoader(images, { batchSize: 8 }))
    const waiting = loader.next()
    loader.close()
    loader.close()
    expect((await rejectionOf(() => waiting)).code).toBe('ERR_ABORTED')
    expect((await rejectionOf(() => loader.next())).code).toBe('ERR_ABORTED')
    const controller = new AbortController()
    const other = keep(built.openLoader(images, { batchSize: 8, signal: controller.signal }))
    await other.next()
    const late = other.next()
    controller.abort(new Error('enough'))
    const outcome = await late.then(
      () => 'a batch',
      (error: unknown) => (error as { code: string }).code,
    )
    expect(['ERR_ABORTED', 'a batch']).toContain(outcome)
    expect((await rejectionOf(() => other.next())).cause).toMatchObject({ message: 'enough' })
    expect(errorOf(() => openLoader(images, { batchSize: 8, signal: AbortSignal.abort() })).code).toBe('ERR_ABORTED')
  })

  test('without workers: the caller works and says why, or it is an error', async () => {
    const missing = { batchSize: 8, seed: 5, workerFile: '/no/such/worker.js' }
    const loader = keep(new Loader(images, missing))
    const wanted = await take(keep(openLoader(images, { batchSize: 8, seed: 5, workers: 0 })), 7)
    expect(await take(loader, 7)).toEqual(wanted)
    expect(loader.mode).toMatchObject({ thread: 'caller', why: expect.stringMatching(/workers cannot start: .*no.such/) as string })
    expect((await rejectionOf(() => keep(new Loader(images, { ...missing, onWorkerFailure: 'error' })).next())).code).toBe('ERR_OPTION')
  })

  test.each([
    ['an ES module', 'mjs', `import { numberDataset, openLoader } from ${JSON.stringify(pathToFileURL(esm).href)}`],
    ['CommonJS', 'cjs', `const { numberDataset, openLoader } = require(${JSON.stringify(cjs)})`],
  ])('%s: the process waits for a batch and then ends, unclosed', (_, extension, first) => {
    const program = write(
      `program.${extension}`,
      `${first}
const data = numberDataset({ name: 'd', features: new Float32Array(64), inputShape: [1], labels: new Int32Array(64), classes: ['a'] })
const loader = openLoader(data, { batchSize: 4, workers: 2 })
loader.next().then((b) => console.log(b.x.length, JSON.stringify(loader.mode)))`,
    )
    const { stdout, stderr, status } = spawnSync(process.execPath, [program], { encoding: 'utf8', timeout: 20_000 })
    expect({ stdout, stderr, status }).toEqual({ stdout: '4 {"thread":"workers","workers":2}\n', stderr: '', status: 0 })
  })

  test('options out of range', () => {
    for (const bad of [
      { batchSize: 0 },
      { batchSize: NaN },
      { batchSize: 2 ** 32 + 1 },
      { workers: 17 },
      { prefetch: -1 },
      { seed: 0.5 },
      { order: 'bucketed' },
      { order: 'odd' },
      { augment: { flip: 9 } },
      { dropLast: true, batchSize: 99 },
    ])
      expect(errorOf(() => openLoader(images, { batchSize: 8, workers: 0, ...(bad as object) })).code, JSON.stringify(bad)).toBe(
        'ERR_OPTION',
      )
  })
})
