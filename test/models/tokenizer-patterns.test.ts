/** Regular expressions of a tokenizer.json: what published tokenizers use runs as it is, what may not end gets a time limit. */
import { describe, expect, it } from 'vitest'
import { HubTokenizer } from '../../ts/models/index.js'
import { isTame, patternsOf } from '../../ts/models/tokenizer/patterns.js'

const published = {
  'GPT-2': String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`,
  'Llama 3': String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  'Qwen 2': String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  o200k: String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  DeepSeek: String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${'`'}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  CLIP: String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`,
  spaces: ' {2,}',
  digits: String.raw`\d{1,3}(?=(?:\d{3})\b)`,
}

describe('patterns', () => {
  it.each(Object.entries(published))('%s is at most quadratic', (_name, pattern) => expect(isTame(pattern)).toBe(true))
  it.each(['(a+)+$', '(a*)*b', '(?:a|aa)+$', '(a|a)*c', '((a+)b?)+', '(.*)(.*)(.*)x', 'a*a*a*b', String.raw`(a)\1+`, '(?:a{2,5}){3}', '(?:a?){30}', `${'a?'.repeat(30)}${'a'.repeat(30)}`, `${'(?:a|aa)'.repeat(30)}b`, '(a', 'a)', '[a', '(?<n>a+)*'])('%s may be more', (pattern) => expect(isTame(pattern)).toBe(false)) // prettier-ignore

  it('are found wherever they stand, not in vocabularies', () => {
    const json = { model: { vocab: { Regex: 3 } }, pre_tokenizer: { pretokenizers: [{ pattern: { Regex: 'a+' } }] }, normalizer: { pattern: { Regex: 'b' } } } // prettier-ignore
    expect(patternsOf(json).sort()).toEqual(['a+', 'b'])
  })
})

describe('a tokenizer', () => {
  const withPattern = (regex: string): HubTokenizer =>
    new HubTokenizer({
      tokenizer: 'huggingface',
      config: { tokenizer_class: 'PreTrainedTokenizerFast' },
      json: {
        version: '1.0',
        added_tokens: [],
        normalizer: null,
        pre_tokenizer: { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false },
        post_processor: null,
        decoder: null,
        model: { type: 'WordLevel', vocab: { a: 0, b: 1, '[UNK]': 2, aa: 3 }, unk_token: '[UNK]' },
      },
    })

  it('with a pattern that never ends on a text is ERR_LIMIT after about a second, and encodes other texts', () => {
    const t = withPattern('(?:a|aa)+$')
    const began = performance.now()
    expect(() => t.encode(`${'a'.repeat(60)}!`)).toThrow(expect.objectContaining({ code: 'ERR_LIMIT' }))
    expect(performance.now() - began).toBeLessThan(20_000)
    expect(t.encode('aa')).toEqual([3])
  })
  it('with a tame one that is cubic over a long text is ERR_LIMIT too', () => {
    const t = withPattern('a*a*b')
    expect(() => t.encode('a'.repeat(20_000))).toThrow(expect.objectContaining({ code: 'ERR_LIMIT' }))
  })
  it('with a tame one encodes as ever', () => {
    expect(withPattern('a').encode('aab')).toEqual([0, 0, 1])
  })
})
