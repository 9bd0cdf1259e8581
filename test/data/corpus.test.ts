/** Vocabularies and text corpora: parts, blocks, files, hostile text. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadText, parseTextSpec, formatTextSpec, isTextSpec, Vocabulary, VocabularyBuilder, type Tokenizer } from '../../ts/data/index.js'
import { MAX_LINE, textBlocks } from '../../ts/data/text-blocks.js'
import { textFiles } from '../../ts/data/text-files.js'
import { errorOf, rejectionOf, tempDir } from '../formats/lib.js'

function write(files: Readonly<Record<string, string | Uint8Array>>): string {
  const dir = tempDir()
  for (const [name, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true })
    fs.writeFileSync(path.join(dir, name), content)
  }
  return dir
}

describe('a vocabulary', () => {
  const texts = ["The cat's tail, the DOG.\n\nthe end\n"]

  test('numbers special tokens first, then by falling count, ties in code unit order', () => {
    const v = Vocabulary.build(texts, { specials: ['<pad>'] })
    expect(v.tokens).toEqual(['<pad>', '<unk>', '<eos>', 'the', ',', '.', 'DOG', 'The', "cat's", 'end', 'tail'])
    expect(v.size).toBe(11)
    expect(v.end).toBe(2)
    expect([...v.encode('the bird\nThe end')]).toEqual([3, 1, 2, 7, 9])
    expect(v.decode(v.encode('the bird\nThe end'))).toBe('the <unk>\nThe end')
  })

  test('spaces, lower case, counts and size', () => {
    expect(Vocabulary.build(texts, { words: 'spaces', lower: true, end: null }).tokens).toEqual([
      '<unk>',
      'the',
      "cat's",
      'dog.',
      'end',
      'tail,',
    ])
    expect(Vocabulary.build(texts, { lower: true, minCount: 2 }).tokens).toEqual(['<unk>', '<eos>', 'the'])
    expect(Vocabulary.build(texts, { lower: true, maxSize: 4 }).tokens).toEqual(['<unk>', '<eos>', 'the', ','])
    expect(errorOf(() => Vocabulary.build(texts, { maxSize: 1 })).code).toBe('ERR_OPTION')
  })

  test('characters are code points; decode is the inverse of encode', () => {
    const v = Vocabulary.build(['aé😀\r\nb'], { level: 'character', unknown: null })
    expect(v.size).toBe(5)
    expect(v.decode(v.encode('b😀\né'))).toBe('b😀\né')
    expect(errorOf(() => v.encode('z'))).toMatchObject({ code: 'ERR_DATA' })
  })

  test('survives JSON; what is not one is refused', () => {
    const v = Vocabulary.build(['__proto__ constructor toString __proto__'], { words: 'spaces' })
    const back = Vocabulary.fromJSON(JSON.parse(JSON.stringify(v)))
    expect([...back.encode('constructor __proto__ hasOwnProperty')]).toEqual([...v.encode('constructor __proto__ hasOwnProperty')])
    expect(v.id('hasOwnProperty')).toBe(0)
    const json = v.toJSON()
    for (const bad of [
      null,
      [],
      {},
      { ...json, tokens: [] },
      { ...json, tokens: ['a', 'a'] },
      { ...json, unknown: 'gone' },
      { ...json, more: 1 },
    ])
      expect(errorOf(() => Vocabulary.fromJSON(bad)).code).toBe('ERR_DATA')
    expect(errorOf(() => v.decode([99])).code).toBe('ERR_OPTION')
    expect(errorOf(() => new VocabularyBuilder({ minCount: 0 })).code).toBe('ERR_OPTION')
    expect(errorOf(() => new VocabularyBuilder({ specials: ['<unk>'] })).code).toBe('ERR_OPTION')
    expect(errorOf(() => Vocabulary.build([''], { unknown: null, end: null })).code).toBe('ERR_DATA')
  })
})

describe('blocks of a file', () => {
  const join = (file: string, cuts: number[] = [], insideWords = false): string[] =>
    [...textBlocks(file, { cuts, insideWords })].map((b) => b.text)

  test('cuts fall between lines; a line belongs to the part in which it begins', () => {
    const file = path.join(write({ 'a.txt': 'aa\nbb\ncc\n' }), 'a.txt')
    expect(join(file, [1])).toEqual(['aa\n', 'bb\ncc\n'])
    expect(join(file, [3])).toEqual(['aa\n', 'bb\ncc\n'])
    expect(join(file, [4, 6])).toEqual(['aa\nbb\n', 'cc\n'])
    expect(join(file, [8])).toEqual(['aa\nbb\ncc\n'])
    expect(join(path.join(write({ 'e.txt': '' }), 'e.txt'))).toEqual([])
  })

  test('chunks, long lines and multi-byte characters join to the text', () => {
    const line = 'wörd 😀 '.repeat(160_000) // 1.9 MB without a line end
    const dir = write({ 'long.txt': `first\n${line}\nlast`, 'dense.txt': '😀'.repeat(400_000) })
    const pieces = [...textBlocks(path.join(dir, 'long.txt'))]
    expect(pieces.map((b) => b.text).join('')).toBe(`first\n${line}\nlast`)
    expect(pieces.length).toBeGreaterThan(2)
    expect(pieces.filter((b) => b.goesOn).every((b) => b.text.endsWith(' '))).toBe(true)
    expect(pieces.reduce((n, b) => n + b.bytes, 0)).toBe(fs.statSync(path.join(dir, 'long.txt')).size)
    expect(errorOf(() => join(path.join(dir, 'dense.txt')))).toMatchObject({
      code: 'ERR_DATA',
      message: expect.stringContaining(String(MAX_LINE)) as string,
    })
    expect(join(path.join(dir, 'dense.txt'), [], true).join('')).toBe('😀'.repeat(400_000))
  })

  test('a byte order mark goes, bytes that are not UTF-8 are an error', () => {
    const dir = write({ 'bom.txt': '\ufeffa\ufeff\n', 'bad.txt': Uint8Array.of(0x61, 0x0a, 0xff, 0x0a) })
    expect(join(path.join(dir, 'bom.txt'))).toEqual(['a\ufeff\n'])
    expect(errorOf(() => join(path.join(dir, 'bad.txt')))).toMatchObject({ code: 'ERR_DATA', details: { byteOffset: 0 } })
  })
})

describe('a corpus', () => {
  const book = `${Array.from({ length: 100 }, (_, i) => `line ${i} of the book`).join('\n')}\n`

  test('contiguous parts by bytes; the vocabulary knows the training part only', async () => {
    const file = path.join(write({ 'book.txt': book }), 'book.txt')
    const { train, valid, test: held, vocabulary: v, name } = await loadText(`text:${file},valid=0.1,test=0.1`)
    expect(train.length + valid.length + held.length).toBe(600)
    expect(v.decode(train).startsWith('line 0 of the book\nline 1 ')).toBe(true)
    expect([valid.length, held.length]).toEqual([60, 54]) // lines of 19 and 20 bytes: the border lies in line 90
    expect(v.decode(valid.subarray(0, 6))).toBe('line <unk> of the book\n')
    expect(name).toBe(`text:${file},test=0.1,valid=0.1`)
  })

  test('documents spread over the parts; the files of a folder or pattern in order', async () => {
    const dir = write({
      ...Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`${i}.txt`, `d${i} x`])),
      'sub/z.txt': 'z',
      'a.md': 'no',
    })
    expect(textFiles(dir).map((f) => path.relative(dir, f.path))).toEqual([
      ...Array.from({ length: 10 }, (_, i) => `${i}.txt`),
      path.join('sub', 'z.txt'),
    ])
    expect(textFiles(`${dir}/*/?.txt`).map((f) => path.relative(dir, f.path))).toEqual([path.join('sub', 'z.txt')])
    expect(textFiles(`${dir}/**/*.md`)).toHaveLength(1)
    const { train, valid, test: held, vocabulary } = await loadText({ format: 'text', path: `${dir}/?.txt`, split: 'document' })
    expect([train.length, valid.length, held.length]).toEqual([24, 3, 3])
    expect(vocabulary.tokens).not.toContain(vocabulary.decode(valid))
    expect((await rejectionOf(() => loadText(`text:${dir}/*.nothing`))).code).toBe('ERR_DATA')
  })

  test('files of their own for validation and test', async () => {
    const dir = write({ 'train.txt': 'a b\n', 'valid.txt': 'b c', 'test.txt': 'a' })
    const c = await loadText(`text:${dir}/train.txt,valid=${dir}/valid.txt,test=${dir}/test.txt,words=spaces`)
    expect([c.train, c.valid, c.test].map((ids) => c.vocabulary.decode(ids))).toEqual(['a b\n', 'b <unk>\n', 'a\n'])
  })

  test('a vocabulary that was saved, and a tokenizer of your own', async () => {
    const dir = write({ 'a.txt': 'ab\r\n\nba' })
    const bytes: Tokenizer = { size: 256, end: 0, encode: (t) => Buffer.from(t), decode: (ids) => Buffer.from(Array.from(ids)).toString() }
    const c = await loadText(`text:${dir}/a.txt,valid=0,test=0`, { tokenizer: bytes })
    expect([...c.train]).toEqual([97, 98, 0, 98, 97, 0])
    const v = Vocabulary.build(['a\n'], { level: 'character' })
    const again = await loadText(`text:${dir}/a.txt,valid=0,test=0`, { tokenizer: v })
    expect(again.vocabulary.decode(again.train)).toBe('a<unk>\n\n<unk>a\n')
    const wrong = { ...bytes, size: 98 }
    expect((await rejectionOf(() => loadText(`text:${dir}/a.txt`, { tokenizer: wrong }))).code).toBe('ERR_DATA')
    expect((await rejectionOf(() => loadText(`text:${dir}/a.txt,lower=yes`, { tokenizer: v }))).code).toBe('ERR_OPTION')
  })

  test('progress, cancelling, changed files', async () => {
    const file = path.join(write({ 'book.txt': book }), 'book.txt')
    const seen: string[] = []
    await loadText(`text:${file}`, { onProgress: (p) => seen.push(`${p.phase} ${p.bytes}/${p.total}`) })
    expect(seen[0]).toMatch(/^count /)
    expect(seen.at(-1)).toBe(`encode ${book.length}/${book.length}`)
    expect((await rejectionOf(() => loadText(`text:${file}`, { signal: AbortSignal.abort() }))).code).toBe('ERR_ABORTED')
    let done = false
    const change = (): void => {
      if (!done) fs.writeFileSync(file, book.replaceAll('book', 'boot'))
      done = true
    }
    expect((await rejectionOf(() => loadText(`text:${file},valid=0,test=0`, { onProgress: change }))).message).toMatch(/changed while/)
  })

  test('specs', async () => {
    expect(parseTextSpec('brown,lower=yes,minCount=3')).toEqual({ format: 'brown', lower: true, minCount: 3 })
    expect(parseTextSpec('text:a,b.txt,valid=v.txt,test=0.05')).toEqual({ format: 'text', path: 'a,b.txt', valid: 'v.txt', test: 0.05 })
    expect(formatTextSpec(parseTextSpec('moby-dick,level=character'))).toBe('moby-dick,level=character')
    expect([isTextSpec('brown'), isTextSpec('text:x'), isTextSpec('csv:x'), isTextSpec('constructor')]).toEqual([true, true, false, false])
    for (const bad of ['brown:x', 'text:', 'text', 'novel:x', 'brown,minCount=0', 'brown,lower=perhaps', 'brown,more=1'])
      expect(errorOf(() => parseTextSpec(bad)).code, bad).toBe('ERR_OPTION')
    const file = path.join(write({ 'book.txt': book, 'blank.txt': '\n \n' }), 'book.txt')
    expect((await rejectionOf(() => loadText({ format: 'text', path: file, valid: 0.5, test: 0.5 }))).code).toBe('ERR_OPTION')
    expect((await rejectionOf(() => loadText({ format: 'text', path: file, valid: NaN }))).code).toBe('ERR_OPTION')
    expect((await rejectionOf(() => loadText(`text:${file.replace('book', 'blank')}`))).code).toBe('ERR_DATA')
    expect((await rejectionOf(() => loadText(`text:${file}.gone`))).code).toBe('ERR_IO')
  })
})
