/** The two vocabularies that a sequence-to-sequence model was trained with, as parts of the model: JSON in UTF-8. And translation of texts with them. */
import { UnsupportedError } from '../base/errors.js'
import { parseJson, toPlain } from '../base/json.js'
import { encodeSide, PAIR_MARKS, type PairVocabularies } from '../data/pairs.js'
import { Vocabulary } from '../data/vocabulary.js'
import type { Model } from '../nn/index.js'
import { translate, type TranslateOptions } from './translate.js'

/** Names of the extras that hold them. */
export const PAIR_VOCABULARIES = { source: 'sourceVocabulary', target: 'targetVocabulary' } as const

/** The model with vocabularies that are saved with it. */
export function withPairVocabularies(model: Model, { source, target }: PairVocabularies): Model {
  const raw = (vocabulary: Vocabulary): { dtype: 'u8'; shape: number[]; data: Uint8Array } => {
    const data = new TextEncoder().encode(JSON.stringify(vocabulary))
    return { dtype: 'u8', shape: [data.length], data }
  }
  return model.withExtras({ [PAIR_VOCABULARIES.source]: raw(source), [PAIR_VOCABULARIES.target]: raw(target) })
}

/**
 * The vocabularies of a sequence-to-sequence model.
 *
 * - a model without them: ERR_UNSUPPORTED; damaged ones: ERR_DATA
 *
 * @example
 * pairVocabulariesOf(model).source.encode('a sentence')
 */
export function pairVocabulariesOf(model: Model): PairVocabularies {
  const one = (name: string): Vocabulary => {
    const raw = model.extras[name]
    if (!raw) throw new UnsupportedError('ERR_UNSUPPORTED', `${model.info.name}: the model has no ${name}`, { details: { what: name } })
    return Vocabulary.fromJSON(toPlain(parseJson(new TextDecoder().decode(raw.data), { where: name, maxString: 2 ** 26 })))
  }
  return { source: one(PAIR_VOCABULARIES.source), target: one(PAIR_VOCABULARIES.target) }
}

/**
 * The likeliest target of each text, written out: `translate` with the vocabularies of the model. A text without a token gives the empty text.
 *
 * - a model without vocabularies: ERR_UNSUPPORTED; options out of range: ERR_OPTION
 *
 * @example
 * translateTexts(model, ['good morning'], { width: 4 })   // ['guten morgen']
 */
export function translateTexts(model: Model, texts: readonly string[], options: Omit<TranslateOptions, 'begin' | 'end'> = {}): string[] {
  const { source, target } = pairVocabulariesOf(model)
  const { begin, end } = PAIR_MARKS
  const ids = texts.map((text) => encodeSide(source, text))
  const some = ids.flatMap((list, i) => (list.length > 0 ? [i] : []))
  const found = translate(
    model,
    some.map((i) => ids[i]!),
    { ...options, begin, end },
  )
  const out = texts.map(() => '')
  some.forEach((i, k) => (out[i] = target.decode(found[k]![0]?.tokens ?? [])))
  return out
}
