/** The rules of the tokenizer, each on a vocabulary made for it. Ids of the published vocabulary: use-lite.test.ts. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { UnigramTokenizer, vocabularyFromJson, vocabularyFromPairs, vocabularyToJson } from '../../ts/models/tokenizer/unigram.js'
import { code } from '../nn/lib.js'
import { cpuClock } from '../cpu-time.js'

const CONTROL = ['<unk>', '<s>', '</s>'].map((piece) => [piece, 0] as const)
const make = (pieces: Readonly<Record<string, number>>): UnigramTokenizer =>
  new UnigramTokenizer(vocabularyFromPairs([['?', 0], ...CONTROL.slice(1), ...Object.entries(pieces)], 3))
const pieces = (t: UnigramTokenizer, text: string): string[] => t.encode(text).map((id) => t.vocabulary.pieces[id]!)

describe('unigram tokenizer', () => {
  it('takes the split with the highest sum of scores', () => {
    const t = make({ '▁': -2, a: -2, b: -2, ab: -3, '▁a': -3.5, '▁ab': -6 })
    expect(pieces(t, 'ab')).toEqual(['▁', 'ab']) // -5 beats -6, -5.5
    const other = make({ '▁': -2, a: -2, b: -2, ab: -3, '▁a': -2.5, '▁ab': -6 })
    expect(pieces(other, 'ab')).toEqual(['▁a', 'b']) // -4.5
  })

  it('puts U+2581 in front and for each space', () => {
    const t = make({ '▁': -4, '▁a': -1, '▁▁': -1.5 })
    expect(pieces(t, 'a a')).toEqual(['▁a', '▁a'])
    expect(pieces(t, ' ')).toEqual(['▁▁'])
    expect(t.encode('')).toEqual([])
  })

  it('normalizes with NFKC first', () => {
    const t = make({ '▁': -1, f: -1, i: -1, '1': -1 })
    expect(pieces(t, 'ﬁ①')).toEqual(['▁', 'f', 'i', '1'])
  })

  it('gives unknown stretches one id 0', () => {
    const t = make({ '▁': -1, a: -1 })
    expect(t.encode('xyzax')).toEqual([3, 0, 4, 0])
    expect(t.encode('😀😀a')).toEqual([3, 0, 4])
  })

  it('breaks ties for the piece that begins last', () => {
    const t = make({ '▁': -1, a: -1, b: -1, ab: -2 })
    expect(pieces(t, 'ab')).toEqual(['▁', 'a', 'b'])
  })

  it('steps through positions that no piece ends at, as the published one does', () => {
    // Nothing ends after "a", so the split may pass there at score 0: "▁a" becomes two unknowns (one id) before "b" at -5, better than "▁ab" at -9.
    const t = make({ '▁ab': -9, b: -5, '▁x': -1, ab: -20 })
    expect(t.encode('ab')).toEqual([0, 4])
  })

  it('never finds control symbols, and the last of equal pieces counts', () => {
    const t = new UnigramTokenizer(
      vocabularyFromPairs(
        [
          ['?', 0],
          ['a', 0],
          ['▁', -1],
          ['b', -1],
          ['b', -7],
        ],
        2,
      ),
    )
    expect(t.encode('a')).toEqual([2, 0])
    expect(t.encode('b')).toEqual([2, 4])
  })

  it('loses no text: known pieces and unknown characters cover it', () => {
    const t = make({ '▁': -1, a: -2, b: -2, c: -2, ab: -2.5, bc: -2.4, abc: -4 })
    fc.assert(
      fc.property(fc.array(fc.constantFrom('a', 'b', 'c', ' '), { minLength: 1, maxLength: 30 }), (chars) => {
        expect(pieces(t, chars.join('')).join('')).toBe('▁' + chars.join('').replaceAll(' ', '▁'))
      }),
      { seed: 20, numRuns: 300 },
    )
  })

  it('takes time linear in the text', () => {
    const t = make({ '▁': -1, a: -1, aa: -1.5, aaaa: -2 })
    const ms = cpuClock()
    expect(t.encode('a'.repeat(200_000)).length).toBe(50_001)
    expect(ms()).toBeLessThan(5000)
  })

  it('goes through plain data', () => {
    const t = make({ '▁': -1.25, a: -3.28450870514 })
    const again = new UnigramTokenizer(vocabularyFromJson(JSON.parse(JSON.stringify(vocabularyToJson(t.vocabulary)))))
    expect(again.vocabulary).toEqual(t.vocabulary)
  })

  it('refuses what is no vocabulary', () => {
    expect(() => vocabularyFromPairs([['a']], 1)).toThrowError(code('ERR_MODEL_FORMAT'))
    expect(() => vocabularyFromJson({ tokenizer: 'bpe' })).toThrowError(code('ERR_MODEL_FORMAT'))
    expect(() => vocabularyFromJson(null)).toThrowError(code('ERR_MODEL_FORMAT'))
    expect(() => new UnigramTokenizer({ pieces: ['a'], scores: [], reserved: 1 })).toThrowError(code('ERR_OPTION'))
    expect(() => new UnigramTokenizer({ pieces: [''], scores: [0], reserved: 1 })).toThrowError(code('ERR_OPTION'))
    expect(() => new UnigramTokenizer({ pieces: ['?'], scores: [0], reserved: 2 })).toThrowError(code('ERR_OPTION'))
  })
})
