/**
 * Which text to learn a language from, as data: `text:book.txt,level=character` on the command line and
 * `{ format: 'text', path: 'book.txt', level: 'character' }` in a program are the same.
 */
import { formatSpec, oneOf, parseSpec, positiveInteger, shareOrPath, yesNo, type SpecForm } from './spec-forms.js'

export interface TextOptions {
  /** Tokens are words (default) or characters (Unicode code points). */
  readonly level?: 'word' | 'character'
  /**
   * Where words end: `'punctuation'` (default of `text` and `moby-dick`) parts letters and digits from every other sign, `'spaces'` takes what stands
   * between white space (for text that is tokenized already, like Brown, Penn Treebank or WikiText).
   */
  readonly words?: 'punctuation' | 'spaces'
  /** Lower-cases everything. Default false. */
  readonly lower?: boolean
  /** A token that stands less often than this in the training part is unknown. Default 1. */
  readonly minCount?: number
  /** Largest vocabulary, `<unk>` and `<eos>` included: the most frequent tokens stay. Default: no limit. */
  readonly maxSize?: number
  /**
   * How held-out parts are cut: `'position'` (contiguous: training first, then validation, then test; cut between lines), or `'document'` (whole
   * documents, spread evenly over their order). Default: `document` for Brown (its documents are sorted by genre), else `position`.
   */
  readonly split?: 'position' | 'document'
  /** Validation text: a share of all bytes in [0, 1), default 0.1, or a file, folder or pattern of its own. */
  readonly valid?: number | string
  /** Test text, like `valid`. */
  readonly test?: number | string
}

export interface TextFilesSpec extends TextOptions {
  readonly format: 'text'
  /** A file, a folder (all `*.txt` below it), or a pattern with `*`, `?` and `**`. */
  readonly path: string
}

/** The Brown corpus: 500 documents of 15 genres, 1,161,192 tokens. */
export interface BrownSpec extends TextOptions {
  readonly format: 'brown'
}

/** Moby-Dick: etymology, extracts, 135 chapters and epilogue. */
export interface MobyDickSpec extends TextOptions {
  readonly format: 'moby-dick'
}

export type TextSpec = TextFilesSpec | BrownSpec | MobyDickSpec

const options = {
  level: oneOf('word', 'character'),
  words: oneOf('punctuation', 'spaces'),
  lower: yesNo,
  minCount: positiveInteger,
  maxSize: positiveInteger,
  split: oneOf('position', 'document'),
  valid: shareOrPath,
  test: shareOrPath,
}
const tail =
  '[,level=word|character][,words=punctuation|spaces][,lower=yes|no][,minCount=N][,maxSize=N][,split=position|document][,valid=SHARE|PATH][,test=SHARE|PATH]'

/** Every form of a text corpus. */
export const textForms: Readonly<Record<TextSpec['format'], SpecForm>> = {
  text: { usage: `text:FILE|FOLDER|PATTERN${tail}`, options },
  brown: { usage: `brown${tail}`, options, path: false },
  'moby-dick': { usage: `moby-dick${tail}`, options, path: false },
}

/** True where `loadText`, not `loadData`, is meant. */
export function isTextSpec(text: string): boolean {
  return Object.hasOwn(textForms, /^[^:,]*/.exec(text)![0])
}

/**
 * Parses `text:PATH[,option=value]...`, `brown[,...]` or `moby-dick[,...]`; ERR_OPTION quotes all forms.
 *
 * @example
 * import { parseTextSpec } from 'tersor/data'
 * parseTextSpec('brown,lower=yes,minCount=3')   // { format: 'brown', lower: true, minCount: 3 }
 */
export function parseTextSpec(text: string): TextSpec {
  return parseSpec('text', textForms, text) as unknown as TextSpec
}

/** The text that `parseTextSpec` turns into this spec. */
export function formatTextSpec(spec: TextSpec): string {
  return formatSpec(spec)
}
