/**
 * Which pairs of texts to learn a translation from, as data: `tsv:words.tsv,source=word,target=sound` on the command line and
 * `{ format: 'tsv', path: 'words.tsv', source: 'word', target: 'sound' }` in a program are the same.
 */
import { anyText, formatSpec, oneOf, parseSpec, positiveInteger, shareBelowOne, yesNo, type SpecForm } from './spec-forms.js'

export interface PairOptions {
  /** Tokens of both sides are words (default) or characters; `sourceLevel` and `targetLevel` say it of one side. */
  readonly level?: 'word' | 'character'
  readonly sourceLevel?: 'word' | 'character'
  readonly targetLevel?: 'word' | 'character'
  /** Where words end, as in `TextOptions`. Default `punctuation`; for pronunciations `spaces`. */
  readonly words?: 'punctuation' | 'spaces'
  readonly lower?: boolean
  /** A token that stands less often than this in the training part is unknown. Default 1. */
  readonly minCount?: number
  /** Largest vocabulary of a side, marks included. Default: no limit. */
  readonly maxSize?: number
  /** Pairs with more tokens on a side are left out (and counted). Default: none. */
  readonly maxLength?: number
  /** Share of the pairs that is held out, in [0, 1), chosen by a fixed shuffle. Default 0.05. */
  readonly valid?: number
}

/** Two columns of a table. */
export interface PairTableSpec extends PairOptions {
  readonly format: 'csv' | 'tsv'
  readonly path: string
  /** Columns by name or by number from 0; default `source` and `target`, else 0 and 1. */
  readonly source?: string
  readonly target?: string
  readonly header?: boolean
  readonly quote?: boolean
}

/** Two files of which equal lines belong together. */
export interface ParallelSpec extends PairOptions {
  readonly format: 'parallel'
  readonly path: string
  readonly target: string
}

/** The CMU Pronouncing Dictionary: letters of a word to phonemes; 117,000 pairs, downloaded once. */
export interface PronunciationsSpec extends PairOptions {
  readonly format: 'pronunciations'
}

export type PairSpec = PairTableSpec | ParallelSpec | PronunciationsSpec

const level = oneOf('word', 'character')
const options = {
  level,
  sourceLevel: level,
  targetLevel: level,
  words: oneOf('punctuation', 'spaces'),
  lower: yesNo,
  minCount: positiveInteger,
  maxSize: positiveInteger,
  maxLength: positiveInteger,
  valid: shareBelowOne,
}
const table = { source: anyText, target: anyText, header: yesNo, quote: yesNo, ...options }
const tail = '[,level=word|character][,sourceLevel=..][,targetLevel=..][,lower=yes|no][,minCount=N][,maxSize=N][,maxLength=N][,valid=SHARE]'
const columns = '[,source=COLUMN][,target=COLUMN][,header=yes|no][,quote=yes|no]'

/** Every form of pairs of texts. */
export const pairForms: Readonly<Record<PairSpec['format'], SpecForm>> = {
  tsv: { usage: `tsv:FILE${columns}${tail}`, options: table },
  csv: { usage: `csv:FILE${columns}${tail}`, options: table },
  parallel: { usage: `parallel:FILE,target=FILE${tail}`, options: { target: anyText, ...options } },
  pronunciations: { usage: `pronunciations${tail}`, options, path: false },
}

/**
 * Parses `tsv:FILE[,option=value]...`, `csv:`, `parallel:FILE,target=FILE` or `pronunciations`; ERR_OPTION quotes all forms.
 *
 * @example
 * import { parsePairSpec } from 'tersor/data'
 * parsePairSpec('parallel:train.en,target=train.de,lower=yes')   // { format: 'parallel', path: 'train.en', target: 'train.de', lower: true }
 */
export function parsePairSpec(text: string): PairSpec {
  return parseSpec('pairs', pairForms, text) as unknown as PairSpec
}

/** The text that `parsePairSpec` turns into this spec. */
export function formatPairSpec(spec: PairSpec): string {
  return formatSpec(spec)
}
