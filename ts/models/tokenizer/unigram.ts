/**
 * Unigram tokenizer (Kudo 2018, "Subword Regularization"): the split of a text into vocabulary pieces whose scores add up to the most, by Viterbi
 * over the text's code points.
 *
 * Contract: the same ids as the tokenizer that the Universal Sentence Encoder lite was published with (tfjs-models universal-sentence-encoder
 * 1.3.3, tokenizer/index.js), rule by rule, for every text:
 * - NFKC, then U+2581 in front and in place of each space; an empty text has no tokens
 * - a position where no piece begins takes one code point as unknown (id 0) at score 0; of equal scores the piece that begins last wins
 * - the score 0 means "unset": a position that no piece ends at has it too, and the best split may pass through it as through an unknown
 * - runs of unknowns become one
 */
import { ModelFormatError, OptionError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'

export interface UnigramVocabulary {
  readonly pieces: readonly string[]
  readonly scores: readonly number[]
  /** Ids below this are control symbols and never found in a text; 0 is the unknown. */
  readonly reserved: number
}

interface Node {
  next: Map<number, Node> | undefined
  /** Id of the piece that ends here, or -1. */
  id: number
}

const SEPARATOR = '\u2581'

export class UnigramTokenizer {
  readonly vocabulary: UnigramVocabulary
  readonly #root: Node = { next: undefined, id: -1 }
  /** UTF-16 units of each piece: the reference steps back by these. */
  readonly #units: readonly number[]

  constructor(vocabulary: UnigramVocabulary) {
    const { pieces, scores, reserved } = vocabulary
    if (pieces.length !== scores.length || !pieces[0] || reserved < 1 || reserved > pieces.length)
      throw new OptionError(
        'ERR_OPTION',
        `tokenizer: ${pieces.length} pieces, ${scores.length} scores and ${reserved} reserved ids do not fit together`,
      )
    this.vocabulary = vocabulary
    this.#units = pieces.map((piece) => piece.length)
    for (let id = reserved; id < pieces.length; id++) this.#insert(pieces[id]!, id)
  }

  get size(): number {
    return this.vocabulary.pieces.length
  }

  #insert(piece: string, id: number): void {
    let node = this.#root
    for (const symbol of piece) {
      const code = symbol.codePointAt(0)!
      node.next ??= new Map()
      let child = node.next.get(code)
      if (!child) node.next.set(code, (child = { next: undefined, id: -1 }))
      node = child
    }
    if (piece !== '') node.id = id
  }

  encode(text: string): number[] {
    const normalized = text.normalize('NFKC')
    if (normalized.length === 0) return []
    const symbols = Array.from(SEPARATOR + normalized.replaceAll(' ', SEPARATOR), (symbol) => symbol.codePointAt(0)!)
    const { scores } = this.vocabulary
    const best = new Float64Array(symbols.length + 1)
    const last = new Int32Array(symbols.length + 1)
    // Pieces are offered to each end in the order of their beginnings, and best[i] is final when its turn comes: forward is enough.
    for (let start = 0; start < symbols.length; start++) {
      const before = best[start]!
      let found = false
      let node = this.#root
      for (let end = start; end < symbols.length; end++) {
        const child = node.next?.get(symbols[end]!)
        if (!child) break
        node = child
        if (node.id < 0) continue
        found = true
        offer(best, last, end + 1, before + scores[node.id]!, node.id)
      }
      if (!found) offer(best, last, start + 1, before, 0)
    }
    return this.#trace(last)
  }

  #trace(last: Int32Array): number[] {
    const ids: number[] = []
    for (let at = last.length - 1; at > 0; at -= this.#units[last[at]!]!) {
      const id = last[at]!
      if (id !== 0 || ids[ids.length - 1] !== 0) ids.push(id)
    }
    return ids.reverse()
  }
}

function offer(best: Float64Array, last: Int32Array, end: number, score: number, id: number): void {
  if (best[end] !== 0 && score < best[end]!) return
  best[end] = score
  last[end] = id
}

/** The vocabulary as plain data for a file. */
export function vocabularyToJson({ pieces, scores, reserved }: UnigramVocabulary): Json {
  return { tokenizer: 'unigram', reserved, pieces, scores }
}

export function vocabularyFromJson(json: unknown): UnigramVocabulary {
  const { tokenizer, reserved, pieces, scores } = (typeof json === 'object' && json !== null ? json : {}) as Record<string, unknown>
  const ok =
    tokenizer === 'unigram' &&
    Number.isInteger(reserved) &&
    Array.isArray(pieces) &&
    Array.isArray(scores) &&
    pieces.every((p) => typeof p === 'string') &&
    scores.every((s) => typeof s === 'number')
  if (!ok) throw new ModelFormatError('ERR_MODEL_FORMAT', 'tokenizer: not a unigram vocabulary { tokenizer, reserved, pieces, scores }')
  return { reserved: reserved as number, pieces, scores }
}

/** The form of tfjs-models' vocab.json: a list of [piece, score]. A score of null (":" and six more) counts as 0, as it does there. */
export function vocabularyFromPairs(json: unknown, reserved: number): UnigramVocabulary {
  const ok =
    Array.isArray(json) &&
    json.every((pair) => Array.isArray(pair) && typeof pair[0] === 'string' && (pair[1] === null || typeof pair[1] === 'number'))
  if (!ok) throw new ModelFormatError('ERR_MODEL_FORMAT', 'tokenizer: vocab.json must be a list of [piece, score]')
  const pairs = json as [string, number | null][]
  return { reserved, pieces: pairs.map(([piece]) => piece), scores: pairs.map(([, score]) => score ?? 0) }
}
