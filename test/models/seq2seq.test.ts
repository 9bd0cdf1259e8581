/** Sequence to sequence: padding, teacher forcing against one step at a time, beam search against all targets, learning. */
import { describe, expect, it } from 'vitest'
import { sequencePairs, tokens, trainTask } from '../../ts/compress/index.js'
import { Rng } from '../../ts/base/rng.js'
import { memory } from '../../ts/native/devices.js'
import { seq2seq, translate, type Seq2seqConfig } from '../../ts/models/index.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { logSoftmax } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'
import { code } from '../nn/lib.js'

const made = (more: Partial<Seq2seqConfig> = {}, seed = 2): Model =>
  new Model(build(seq2seq({ sourceVocabulary: 8, targetVocabulary: 5, width: 6, ...more }), freshValues(Rng.of(seed))), {
    name: 'pairs',
    task: 'classification',
    history: [],
  })
const ids = (...rows: readonly number[][]): Tensor => tensor(Int32Array.from(rows.flat()), [rows.length, rows[0]!.length])

describe.each([
  ['bahdanau', 2],
  ['luong', 3],
] as const)('seq2seq, %s, %i layers', (attention, layers) => {
  const model = made({ attention, layers })

  it('does not see what stands behind a source', () => {
    scope(() => {
      const target = ids([1, 3, 4], [1, 4, 3])
      const run = (fill: number): number[] =>
        numbers(model.forward({ source: ids([3, 4, 5, 6], [5, 6, fill, fill]), target, sourceLengths: tensor(new Int32Array([4, 2])) }))
      expect(run(0)).toEqual(run(7))
      const alone = numbers(model.forward({ source: ids([5, 6]), target: ids([1, 4, 3]) }))
      run(0)
        .slice(15)
        .forEach((v, i) => expect(v).toBeCloseTo(alone[i]!, 5))
    })
  })

  /** Log-probability of a target, without and with its end. */
  const score = (source: readonly number[], target: readonly number[], ended: boolean): number =>
    scope(() => {
      const scores = numbers(logSoftmax(model.forward({ source: ids([...source]), target: ids([1, ...target]) })))
      const wanted = ended ? [...target, 2] : target
      return wanted.reduce((a, token, t) => a + scores[5 * t + token]!, 0)
    })

  it('beam search that keeps everything finds the likeliest target', () => {
    const source = [3, 5, 4]
    const found = translate(model, [source, [7]], { begin: 1, end: 2, width: 90, maxLength: 3, lengthPenalty: 0 })
    const words = [0, 1, 3, 4]
    const all = [[], ...words.flatMap((a) => [[a], ...words.map((b) => [a, b])])].map((t) => ({ tokens: t, score: score(source, t, true) }))
    const best = all.sort((a, b) => b.score - a.score)
    found[0]!.slice(0, 5).forEach((r, i) => {
      expect(r.score).toBeCloseTo(best[i]!.score, 4)
      expect(r.tokens).toEqual(best[i]!.tokens)
    })
    expect(found[1]!.length).toBeGreaterThan(0)
  })

  it('greedy takes the best token of each step, whatever else is in the batch', () => {
    const source = [4, 4, 6]
    const [[greedy]] = translate(model, [source], { begin: 1, end: 2, maxLength: 4 }) as [[{ tokens: number[]; score: number }]]
    const ended = greedy.tokens.length < 4
    for (let t = 0; t < greedy.tokens.length; t++)
      for (const other of [0, 1, 2, 3, 4])
        expect(score(source, [...greedy.tokens.slice(0, t), other], false)).toBeLessThanOrEqual(
          score(source, greedy.tokens.slice(0, t + 1), false) + 1e-5,
        )
    expect(greedy.score).toBeCloseTo(score(source, greedy.tokens, ended), 4)
    const both = translate(model, [[3, 3, 3, 3, 3], source], { begin: 1, end: 2, maxLength: 4 })
    expect(both[1]![0]!.tokens).toEqual(greedy.tokens)
  })
})

it('divides scores by the length normalisation of GNMT', () => {
  const model = made()
  const run = (lengthPenalty: number) => translate(model, [[3, 4]], { begin: 1, end: 2, width: 40, maxLength: 3, lengthPenalty })[0]!
  const plain = new Map(run(0).map((r) => [r.tokens.join(), r.score]))
  for (const r of run(1).slice(0, 5)) expect(r.score).toBeCloseTo((plain.get(r.tokens.join())! * 6) / (5 + r.tokens.length + 1), 4)
  model.dispose()
})

it('learns to reverse', async () => {
  const random = Rng.of(4)
  const pairs = Array.from({ length: 160 }, () => {
    const row = Array.from({ length: 1 + random.int(4) }, () => 3 + random.int(5))
    return [row, [...row].reverse()] as const
  })
  const untrained = made({ targetVocabulary: 8, width: 32 })
  const data = sequencePairs({ name: 'reverse', pairs, begin: 1, end: 2, pad: 0 })
  const { model, epochs } = await trainTask(untrained, tokens(data), {
    epochs: 20,
    batchSize: 8,
    optimizer: { kind: 'adam' },
    schedule: { kind: 'linear', lr: 0.015 },
    clipNorm: 5,
  })
  expect(epochs.at(-1)!.loss).toBeLessThan(0.2 * epochs[0]!.loss)
  const right = (m: Model): number =>
    translate(
      m,
      pairs.map(([s]) => s),
      { begin: 1, end: 2 },
    ).filter((r, i) => r[0]!.tokens.join() === pairs[i]![1].join()).length
  expect(right(untrained)).toBeLessThan(10)
  expect(right(model)).toBeGreaterThan(140)
  model.dispose()
  untrained.dispose()
})

it('refuses what makes no sense, and leaves nothing behind', () => {
  const model = made()
  const before = memory().tensors
  const options = { begin: 1, end: 2 }
  expect(() => seq2seq({ sourceVocabulary: 8, targetVocabulary: 5, width: 6, layers: 1 })).toThrowError(code('ERR_OPTION', /layers/))
  expect(() => translate(model, [[3]], { ...options, width: 0 })).toThrowError(code('ERR_OPTION', /width/))
  expect(() => translate(model, [[3]], { ...options, maxLength: NaN })).toThrowError(code('ERR_OPTION', /maxLength/))
  expect(() => translate(model, [[3]], { ...options, lengthPenalty: -1 })).toThrowError(code('ERR_OPTION', /lengthPenalty/))
  expect(() => translate(model, [[3]], { ...options, end: 5 })).toThrowError(code('ERR_OPTION', /end must be in \[0, 5\)/))
  expect(() => translate(model, [[3], []], options)).toThrowError(code('ERR_SHAPE', /source 1 is empty/))
  expect(() => translate(model, [[8]], options)).toThrowError(code('ERR_SHAPE', /8/))
  expect(() => scope(() => model.forward(tensor([1])))).toThrowError(code('ERR_OPTION', /named inputs source, target/))
  expect(translate(model, [], options)).toEqual([])
  translate(model, [[3, 4]], { ...options, width: 3 })
  expect(memory().tensors).toBe(before)
  model.dispose()
})
