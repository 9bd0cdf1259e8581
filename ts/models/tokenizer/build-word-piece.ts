/** A WordPiece vocabulary from texts: for models that are trained from scratch. */
import { OptionError } from '../../base/errors.js'
import { HubTokenizer } from './hub.js'
import { wordPiece } from './vocabulary-files.js'

const SPECIAL = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']

/**
 * Tokenizer with at most `size` tokens: the special ones, every character that is frequent enough (alone and as a continuation, so that such words never are
 * unknown), then the most frequent words; of equal counts the one first in the order of code points. Lower case, accents stripped. Not the merging
 * procedure of Wu et al. 2016: words outside the vocabulary fall into characters.
 *
 * @example
 * const tokenizer = buildWordPiece(['the dog', 'the fox'], { size: 40 })
 * tokenizer.encode('the dogs')
 */
export function buildWordPiece(texts: Iterable<string>, { size }: { readonly size: number }): HubTokenizer {
  if (!Number.isSafeInteger(size) || size < SPECIAL.length + 2)
    throw new OptionError('ERR_OPTION', `buildWordPiece: size must be an integer >= ${SPECIAL.length + 2}, got ${size}`)
  const words = new Map<string, number>()
  const characters = new Map<string, number>()
  const count = (map: Map<string, number>, key: string): void => void map.set(key, (map.get(key) ?? 0) + 1)
  for (const text of texts) {
    const plain = text.toLowerCase().normalize('NFD').replace(/\p{Mn}/gu, '')
    for (const [word] of plain.matchAll(/[\p{L}\p{N}]+|[^\s\p{L}\p{N}]/gu)) {
      count(words, word)
      for (const character of word) count(characters, character)
    }
  }
  const byCount = (map: Map<string, number>): string[] =>
    [...map].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)).map(([key]) => key)
  // Characters take at most half of the room.
  const alphabet = byCount(characters).slice(0, Math.floor((size - SPECIAL.length) / 4) || 1)
  const tokens = new Set([...SPECIAL, ...alphabet, ...alphabet.filter((c) => /[\p{L}\p{N}]/u.test(c)).map((c) => `##${c}`)])
  for (const word of byCount(words)) {
    if (tokens.size >= size) break
    tokens.add(word)
  }
  return new HubTokenizer({ tokenizer: 'huggingface', json: wordPiece([...tokens], {}), config: { do_lower_case: true, tokenizer_class: 'BertTokenizer' } })
}
