/**
 * SentencePiece's BPE (Kudo, Richardson 2018) as Llama 2, TinyLlama and Mistral have it: spaces are "\u2581", a character without token becomes its bytes. Files
 * of GGUF hold a score for each token instead of the list of merges: the pair whose token has the highest score is joined first.
 */
import type { JsonObject } from '../../base/json-types.js'

const SPACE = '\u2581'

/** UTF-16 units; SentencePiece makes pieces of at most 16 characters, tools that add some make them longer. */
const LONGEST = 128

/** Whether the model of a tokenizer.json is of this kind. */
export const isSentencePiece = (model: JsonObject): boolean => model.byte_fallback === true

/** Scores by the rank of the first merge that makes a token; tokens that no merge makes come last. */
export function scoresOf(tokens: readonly string[], merges: readonly string[]): Float32Array {
  const rank = new Map<string, number>()
  merges.forEach((merge, i) => {
    const token = merge.replace(' ', '')
    if (!rank.has(token)) rank.set(token, i)
  })
  return Float32Array.from(tokens, (token) => -(rank.get(token) ?? merges.length))
}

/** Every way to make a token of two others, by falling score; of equal scores the one with the earlier parts first. */
function mergesOf(vocabulary: Readonly<Record<string, number>>, scores: ArrayLike<number>): string[] {
  const found: { readonly score: number; readonly left: number; readonly right: number; readonly merge: string }[] = []
  for (const [token, id] of Object.entries(vocabulary)) {
    if (token.length > LONGEST || /^<.*>$/.test(token)) continue
    for (let i = 1; i < token.length; i++) {
      const [l, r] = [token.slice(0, i), token.slice(i)]
      const [left, right] = [l, r].map((part) => (Object.hasOwn(vocabulary, part) ? vocabulary[part] : undefined))
      if (left !== undefined && right !== undefined) found.push({ score: scores[id] ?? 0, left, right, merge: `${l} ${r}` })
    }
  }
  return found.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right).map(({ merge }) => merge)
}

/** tokenizer.json of tokens and scores. */
export function sentencePiece(
  tokens: readonly string[],
  vocabulary: Readonly<Record<string, number>>,
  scores: ArrayLike<number>,
  unknown: string,
): JsonObject {
  const special = [unknown, '<s>', '</s>'].filter((token) => Object.hasOwn(vocabulary, token))
  return {
    version: '1.0',
    added_tokens: special.map((content) => ({
      id: tokens.indexOf(content),
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: SPACE },
        { type: 'Replace', pattern: { String: ' ' }, content: SPACE },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: unknown,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: vocabulary,
      merges: mergesOf(vocabulary, scores),
    },
  }
}
