/**
 * Texts to numbers by a list of known words or characters, and back. Built from counts in one pass over the text; the list is the state, plain JSON.
 *
 * Ids: special tokens first, then by falling count, equal counts in code unit order: the same text gives the same ids everywhere.
 */
import { DataError, LimitError, OptionError } from '../base/errors.js'

/** What turns text into ids: a Vocabulary, or a tokenizer of your own. */
export interface Tokenizer {
  /** Ids are in [0, size). */
  readonly size: number
  encode(text: string): ArrayLike<number>
  decode(ids: ArrayLike<number>): string
  /** Id that closes a line of a corpus; left out, lines follow each other without a mark. */
  readonly end?: number | undefined
}

/** How text is cut into tokens. */
export interface TokenRules {
  readonly level: 'word' | 'character'
  readonly words: 'punctuation' | 'spaces'
  readonly lower: boolean
}

export interface VocabularyOptions extends Partial<TokenRules> {
  /** Tokens seen less often are unknown. Default 1. */
  readonly minCount?: number
  /** Largest size, special tokens included. */
  readonly maxSize?: number
  /** Stands for every unknown token; `null`: an unknown token is ERR_DATA. Default `<unk>`. */
  readonly unknown?: string | null
  /** Closes a line; `null`: lines are not marked. Default `<eos>` for words, null for characters (where the line end is a character). */
  readonly end?: string | null
  /** More tokens with ids of their own, before all others: `['<pad>']`. */
  readonly specials?: readonly string[]
}

/** Most distinct tokens that are counted: a JavaScript Map holds 2^24 entries. */
const MAX_DISTINCT = 16_000_000
const pattern = { spaces: /\n|\S+/gu, punctuation: /\n|[\p{L}\p{M}\p{N}]+(?:['’-][\p{L}\p{M}\p{N}]+)*|\S/gu }

/** Calls `emit` with each token; words: a line with words ends in '\n', empty lines give nothing. Characters: every code point. */
function eachToken(rules: TokenRules, source: string, emit: (token: string) => void): void {
  const unix = source.includes('\r') ? source.replace(/\r\n/g, '\n') : source
  const text = rules.lower ? unix.toLowerCase() : unix
  if (rules.level === 'character') {
    for (const character of text) emit(character)
    return
  }
  let words = 0
  for (const [token] of text.matchAll(pattern[rules.words])) {
    if (token !== '\n') words++
    else if (words === 0) continue
    else words = 0
    emit(token)
  }
}

/** A vocabulary as JSON. */
export interface VocabularyJson extends TokenRules {
  /** Version of this form. */
  readonly vocabulary: 1
  readonly unknown: string | null
  readonly end: string | null
  readonly specials: readonly string[]
  /** By id. */
  readonly tokens: readonly string[]
}

const isText = (v: unknown): boolean => typeof v === 'string'
const isTexts = (v: unknown): boolean => Array.isArray(v) && v.every(isText)
/** Checked by hand: workers read vocabularies and start faster without a schema library. */
const jsonRules: { readonly [K in keyof VocabularyJson]: readonly [rule: string, holds: (v: unknown) => boolean] } = {
  vocabulary: ['1', (v) => v === 1],
  level: ['word or character', (v) => v === 'word' || v === 'character'],
  words: ['punctuation or spaces', (v) => v === 'punctuation' || v === 'spaces'],
  lower: ['true or false', (v) => typeof v === 'boolean'],
  unknown: ['a string or null', (v) => v === null || isText(v)],
  end: ['a string or null', (v) => v === null || isText(v)],
  specials: ['a list of strings', isTexts],
  tokens: [`a list of 1 to ${MAX_DISTINCT} strings`, (v) => isTexts(v) && (v as []).length > 0 && (v as []).length <= MAX_DISTINCT],
}

function checkJson(json: unknown): VocabularyJson {
  const fail = (why: string): never => {
    throw new DataError('ERR_DATA', `vocabulary: ${why}`)
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return fail('must be a JSON object')
  const extra = Object.keys(json).find((key) => !Object.hasOwn(jsonRules, key))
  if (extra !== undefined) fail(`unknown key ${JSON.stringify(extra)}`)
  for (const [key, [rule, holds]] of Object.entries(jsonRules))
    if (!holds((json as Record<string, unknown>)[key])) fail(`/${key}: must be ${rule}`)
  return json as VocabularyJson
}

function checkSpecials(specials: readonly string[]): void {
  const twice = specials.find((s, i) => specials.indexOf(s) !== i)
  if (twice !== undefined) throw new OptionError('ERR_OPTION', `vocabulary: special token ${JSON.stringify(twice)} stands twice`)
  if (specials.includes('')) throw new OptionError('ERR_OPTION', 'vocabulary: a special token must not be empty')
}

/** Counts tokens of any amount of text; memory grows with the number of distinct ones only. */
export class VocabularyBuilder {
  readonly #rules: TokenRules
  readonly #options: VocabularyOptions
  readonly #counts = new Map<string, number>()
  #total = 0

  /** Options out of range: ERR_OPTION. */
  constructor(options: VocabularyOptions = {}) {
    const { level = 'word', words = 'punctuation', lower = false, minCount = 1, maxSize = MAX_DISTINCT } = options
    for (const [name, value] of Object.entries({ minCount, maxSize }))
      if (!Number.isSafeInteger(value) || value < 1)
        throw new OptionError('ERR_OPTION', `vocabulary: ${name} must be an integer >= 1, got ${value}`)
    this.#rules = { level, words, lower }
    this.#options = options
    checkSpecials(this.#specials().all)
  }

  #specials(): { readonly all: readonly string[]; readonly unknown: string | null; readonly end: string | null } {
    const { unknown = '<unk>', end = this.#rules.level === 'word' ? '<eos>' : null, specials = [] } = this.#options
    return { all: [...specials, ...(unknown === null ? [] : [unknown]), ...(end === null ? [] : [end])], unknown, end }
  }

  /** Tokens seen so far. */
  get total(): number {
    return this.#total
  }

  /** Counts a piece of text; pieces must be cut where tokens end. */
  add(text: string): void {
    eachToken(this.#rules, text, (token) => {
      this.#counts.set(token, (this.#counts.get(token) ?? 0) + 1)
      this.#total++
    })
    if (this.#counts.size > MAX_DISTINCT)
      throw new LimitError(
        'ERR_LIMIT',
        `vocabulary: more than ${MAX_DISTINCT} distinct tokens: lower-case, or use a tokenizer of parts of words`,
        {
          details: { limit: 'distinct tokens', value: this.#counts.size, max: MAX_DISTINCT },
        },
      )
  }

  build(): Vocabulary {
    const { minCount = 1, maxSize = MAX_DISTINCT } = this.#options
    const { all, unknown, end } = this.#specials()
    const special = new Set(all)
    const isLineEnd = (token: string): boolean => this.#rules.level === 'word' && token === '\n'
    const kept = [...this.#counts].filter(([token, count]) => count >= minCount && !special.has(token) && !isLineEnd(token))
    kept.sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
    const tokens = [...all, ...kept.slice(0, Math.max(0, maxSize - all.length)).map(([token]) => token)]
    if (tokens.length === 0) throw new DataError('ERR_DATA', 'vocabulary: the text has no tokens')
    if (tokens.length > maxSize)
      throw new OptionError('ERR_OPTION', `vocabulary: maxSize must leave room for ${all.length} special tokens, got ${maxSize}`)
    return new Vocabulary({ vocabulary: 1, ...this.#rules, unknown, end, specials: [...all], tokens })
  }
}

export class Vocabulary implements Tokenizer {
  readonly #json: VocabularyJson
  readonly #ids: ReadonlyMap<string, number>
  readonly #unknown: number | undefined
  /** Id of the token that closes a line. */
  readonly end: number | undefined

  /** @internal From checked parts; use `Vocabulary.build` or `Vocabulary.fromJSON`. */
  constructor(json: VocabularyJson) {
    const { tokens, unknown, end, specials } = json
    this.#ids = new Map(tokens.map((token, id) => [token, id]))
    const missing = [...specials, unknown, end].find((s) => s !== null && !this.#ids.has(s))
    if (this.#ids.size !== tokens.length || missing !== undefined)
      throw new DataError(
        'ERR_DATA',
        `vocabulary: ${missing === undefined ? 'a token stands twice' : `special token ${JSON.stringify(missing)} is not among the tokens`}`,
      )
    this.#json = json
    this.#unknown = unknown === null ? undefined : this.#ids.get(unknown)
    this.end = end === null ? undefined : this.#ids.get(end)
  }

  /**
   * The vocabulary of some texts.
   *
   * @example
   * import { Vocabulary } from 'tersor/data'
   * const v = Vocabulary.build(['The cat.', 'The dog.'], { lower: true, specials: ['<pad>'] })
   * v.encode('the bird')     // Int32Array [5, 1]: "the", and <unk> for "bird"
   */
  static build(texts: Iterable<string>, options: VocabularyOptions = {}): Vocabulary {
    const builder = new VocabularyBuilder(options)
    for (const text of texts) builder.add(text)
    return builder.build()
  }

  /** Restores what `toJSON` gave; ERR_DATA for anything else. */
  static fromJSON(json: unknown): Vocabulary {
    return new Vocabulary(checkJson(json))
  }

  toJSON(): VocabularyJson {
    return this.#json
  }

  get size(): number {
    return this.#json.tokens.length
  }

  get tokens(): readonly string[] {
    return this.#json.tokens
  }

  get rules(): TokenRules {
    const { level, words, lower } = this.#json
    return { level, words, lower }
  }

  /** Id of a token, that of the unknown token for one that is not there; without one: undefined. */
  id(token: string): number | undefined {
    return this.#ids.get(token) ?? this.#unknown
  }

  /** @internal `emit` gets the id of each token; line ends are given only where they have one. */
  each(text: string, emit: (id: number) => void): void {
    const word = this.#json.level === 'word'
    eachToken(this.#json, text, (token) => {
      if (word && token === '\n') {
        if (this.end !== undefined) emit(this.end)
        return
      }
      const id = this.#ids.get(token) ?? this.#unknown
      if (id === undefined)
        throw new DataError(
          'ERR_DATA',
          `vocabulary: ${JSON.stringify(token.slice(0, 100))} is not in the vocabulary, and it has no unknown token`,
        )
      emit(id)
    })
  }

  /** Ids of the tokens; a line end closes a line that has words. Unknown tokens where there is no `unknown`: ERR_DATA. */
  encode(text: string): Int32Array {
    const ids: number[] = []
    this.each(text, (id) => ids.push(id))
    return Int32Array.from(ids)
  }

  /** Words joined by spaces, a line end for `end`; characters joined. Not the inverse of `encode` where words were cut at punctuation. */
  decode(ids: ArrayLike<number>): string {
    const word = this.#json.level === 'word'
    let out = ''
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!
      const token = this.#json.tokens[id]
      if (token === undefined) throw new OptionError('ERR_OPTION', `vocabulary: an id must be in [0, ${this.size}), got ${id}`)
      if (word && id === this.end) out += '\n'
      else out += word && out !== '' && !out.endsWith('\n') ? ` ${token}` : token
    }
    return out
  }
}
