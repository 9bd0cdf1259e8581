/** Pairs of texts as pairs of token ids, for models that write one sequence from another: a source, and the target that belongs to it. */
import { DataError, OptionError } from '../base/errors.js'
import { shuffle } from '../base/rng.js'
import type { ReadOptions } from '../formats/limits.js'
import type { FetchOptions } from './cache.js'
import { loadPronunciations } from './cmu-dict.js'
import { formatPairSpec, pairForms, parsePairSpec, type PairSpec, type PairTableSpec, type ParallelSpec } from './pair-spec.js'
import { readLines, readTable } from './table-reader.js'
import { Vocabulary } from './vocabulary.js'

/** Ids of both vocabularies that are no words: padding, begin and end of a target. */
export const PAIR_MARKS = { pad: 0, begin: 1, end: 2 } as const
const MARKS = ['<pad>', '<begin>', '<end>']
const VALID = 0.05

export interface PairVocabularies {
  readonly source: Vocabulary
  readonly target: Vocabulary
}

/** [source, target]: ids without marks. */
export type TokenPair = readonly [source: Int32Array, target: Int32Array]

export interface PairCorpus extends PairVocabularies {
  /** The spec, for reports. */
  readonly name: string
  readonly train: readonly TokenPair[]
  readonly valid: readonly TokenPair[]
  /** Pairs that are in neither: a side is empty, or longer than `maxLength`. */
  readonly leftOut: number
}

export interface LoadPairsOptions extends ReadOptions, Pick<FetchOptions, 'cacheDir' | 'npm'> {
  readonly signal?: AbortSignal
  readonly onFetch?: FetchOptions['onProgress']
  /** Those of a model: the texts are encoded with them, nothing is counted. */
  readonly vocabularies?: PairVocabularies
}

type Texts = readonly (readonly [source: string, target: string])[]

async function fromTable(name: string, spec: PairTableSpec, options: LoadPairsOptions): Promise<Texts> {
  const texts: [string, string][] = []
  await readTable(name, spec, options, (columns) => {
    const place = (option: 'source' | 'target', or: string): number =>
      columns.find(spec[option] ?? (columns.names.includes(option) ? option : or), option)
    const [s, t] = [place('source', '0'), place('target', '1')]
    if (s === t)
      throw new DataError('ERR_DATA', `${name}: source and target are the same column`, { details: { column: columns.names[s] } })
    return (record) => void texts.push([record[s]!, record[t]!])
  })
  return texts
}

async function fromFiles(name: string, spec: ParallelSpec, options: LoadPairsOptions): Promise<Texts> {
  if (spec.target === undefined) throw new OptionError('ERR_OPTION', `${name}: target=FILE is needed: the other side, line by line`)
  const [sources, targets] = [await readLines(spec.path, options), await readLines(spec.target, options)]
  if (sources.length !== targets.length)
    throw new DataError(
      'ERR_DATA',
      `${name}: ${spec.path} has ${sources.length} lines, ${spec.target} ${targets.length}: they must be parallel`,
    )
  return sources.map((s, i) => [s, targets[i]!])
}

async function fromDictionary({ cacheDir, npm, signal, onFetch }: LoadPairsOptions): Promise<Texts> {
  const fetch = {
    ...(cacheDir ? { cacheDir } : {}),
    ...(npm ? { npm } : {}),
    ...(signal ? { signal } : {}),
    ...(onFetch ? { onProgress: onFetch } : {}),
  }
  const { pairs, words, sounds } = await loadPronunciations(fetch)
  return pairs.map(([, said], i) => [words[i]!, said.map((id) => sounds[id]!).join(' ')])
}

function textsOf(name: string, spec: PairSpec, options: LoadPairsOptions): Promise<Texts> {
  if (spec.format === 'pronunciations') return fromDictionary(options)
  return spec.format === 'parallel' ? fromFiles(name, spec, options) : fromTable(name, spec, options)
}

/** Marks of both sides stand before all words; there is no mark for the end of a line. */
function vocabularyOf(spec: PairSpec, side: 'source' | 'target', texts: Iterable<string>): Vocabulary {
  const said = spec.format === 'pronunciations'
  const own = side === 'source' ? spec.sourceLevel : spec.targetLevel
  const level = own ?? spec.level ?? (said && side === 'source' ? 'character' : 'word')
  const { words = said ? 'spaces' : 'punctuation', lower = false, minCount = 1, maxSize } = spec
  return Vocabulary.build(texts, {
    level,
    words,
    lower,
    minCount,
    ...(maxSize === undefined ? {} : { maxSize }),
    specials: MARKS,
    end: null,
  })
}

/** The ids of a text; one that stands for a mark is written out in the text and unknown. */
export function encodeSide(vocabulary: Vocabulary, text: string): Int32Array {
  const { unknown } = vocabulary.toJSON()
  const other = unknown === null ? undefined : vocabulary.id(unknown)
  return vocabulary.encode(text.trim()).map((id) => (id < MARKS.length ? (other ?? id) : id))
}

/**
 * Loads pairs of texts: two columns of a table, two parallel files, or the CMU Pronouncing Dictionary (downloaded once). Vocabularies are counted on the training
 * part only. No seed: the same files give the same parts.
 *
 * - a spec or option out of range, options of a vocabulary beside `vocabularies`: ERR_OPTION; a file that cannot be read: ERR_IO
 * - columns that are not there, files of different length, no pair to train on: ERR_DATA; cancelled: ERR_ABORTED
 *
 * @example
 * const { train, valid, source, target } = await loadPairs('tsv:words.tsv,source=word,target=sound,level=character')
 */
export async function loadPairs(given: PairSpec | string, options: LoadPairsOptions = {}): Promise<PairCorpus> {
  const spec = typeof given === 'string' ? parsePairSpec(given) : given
  if (!Object.hasOwn(pairForms, spec.format))
    throw new OptionError(
      'ERR_OPTION',
      `pairs: format must be one of ${Object.keys(pairForms).join(', ')}, got ${JSON.stringify(spec.format)}`,
    )
  const name = formatPairSpec(spec)
  const { vocabularies } = options
  const { valid: share = VALID, maxLength = Infinity } = spec
  if (!(share >= 0 && share < 1)) throw new OptionError('ERR_OPTION', `pairs: valid must be a share in [0, 1), got ${share}`)
  const extra = (['level', 'sourceLevel', 'targetLevel', 'words', 'lower', 'minCount', 'maxSize'] as const).find(
    (key) => spec[key] !== undefined,
  )
  if (vocabularies && extra !== undefined)
    throw new OptionError('ERR_OPTION', `${name}: ${extra} belongs to vocabularies that are built; those of a model are given`)
  const texts = await textsOf(name, spec, options)
  // Cut before anything is counted: no word of the held-out part is known unless the training part has it.
  const order = shuffle(texts.length, 0, 0)
  const held = new Uint8Array(texts.length)
  for (const i of order.subarray(0, Math.round(share * texts.length))) held[i] = 1
  const side = (at: 0 | 1): string[] => texts.filter((_, i) => !held[i]).map((pair) => pair[at])
  const { source, target } = vocabularies ?? {
    source: vocabularyOf(spec, 'source', side(0)),
    target: vocabularyOf(spec, 'target', side(1)),
  }
  const parts: [TokenPair[], TokenPair[]] = [[], []]
  let leftOut = 0
  texts.forEach(([s, t], i) => {
    const [from, to] = [encodeSide(source, s), encodeSide(target, t)]
    if (from.length === 0 || to.length === 0 || from.length > maxLength || to.length > maxLength) leftOut++
    else parts[held[i]!]!.push([from, to])
  })
  const [train, valid] = parts
  if (train.length === 0)
    throw new DataError(
      'ERR_DATA',
      `${name}: there is no pair to train on (${leftOut} of ${texts.length} left out, ${valid.length} held out)`,
    )
  return { name, train, valid, source, target, leftOut }
}
