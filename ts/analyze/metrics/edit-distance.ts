/** Levenshtein distance and the error rates of recognised text: words (WER) and characters (CER). */
import { DataError } from '../../base/errors.js'
import type { Tokens } from './bleu.js'

/** Fewest insertions, deletions and replacements that turn one sequence into the other (Levenshtein 1966). O(|a| |b|) time, O(min) memory. */
export function editDistance(a: Tokens, b: Tokens): number {
  const [long, short] = a.length >= b.length ? [a, b] : [b, a]
  const row = Uint32Array.from({ length: short.length + 1 }, (_, j) => j)
  for (let i = 0; i < long.length; i++) {
    let diagonal = row[0]!
    row[0] = i + 1
    for (let j = 0; j < short.length; j++) {
      const replaced = diagonal + (long[i] === short[j] ? 0 : 1)
      diagonal = row[j + 1]!
      row[j + 1] = Math.min(replaced, diagonal + 1, row[j]! + 1)
    }
  }
  return row[short.length]!
}

/** Text as tokens: words between white space, or code points. */
const cut = {
  word: (text: string): string[] => text.split(/\s+/u).filter(Boolean),
  character: (text: string): string[] => Array.from(text),
}

export interface ErrorRateFigures {
  /** Edits / tokens of the references; above 1 where much was inserted. */
  readonly rate: number
  readonly edits: number
  readonly tokens: number
}

/**
 * Error rate over a corpus: the edits of all sentences over the tokens of all references. `'word'` gives WER, `'character'` CER (code points, white space
 * counts). Texts are compared as they are: change case and punctuation before, if they should not count.
 *
 * @example
 * import { metrics } from 'tersor'
 * const cer = new metrics.ErrorRate('character')
 * cer.update('helo world', 'hello world')
 * cer.result().rate              // 1 / 11
 */
export class ErrorRate {
  #edits = 0
  #tokens = 0
  #count = 0

  constructor(readonly level: 'word' | 'character') {}

  /** Texts, or tokens that were cut already. */
  update(hypothesis: string | Tokens, reference: string | Tokens): void {
    const tokens = (text: string | Tokens): Tokens => (typeof text === 'string' ? cut[this.level](text) : text)
    const wanted = tokens(reference)
    this.#edits += editDistance(tokens(hypothesis), wanted)
    this.#tokens += wanted.length
    this.#count++
  }

  get count(): number {
    return this.#count
  }

  /** References without any token: ERR_DATA. */
  result(): ErrorRateFigures {
    if (this.#tokens === 0) throw new DataError('ERR_DATA', 'ErrorRate: the references have no tokens')
    return { rate: this.#edits / this.#tokens, edits: this.#edits, tokens: this.#tokens }
  }
}
