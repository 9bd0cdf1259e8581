/** The vocabulary that a language model was trained with, as a part of the model: `extra:vocabulary` of its file, JSON in UTF-8. */
import { UnsupportedError } from '../base/errors.js'
import { parseJson, toPlain } from '../base/json.js'
import { Vocabulary } from '../data/vocabulary.js'
import type { Model } from '../nn/index.js'

/** Name of the extra that holds it. */
export const VOCABULARY = 'vocabulary'

/** The model with a vocabulary that is saved with it. */
export function withVocabulary(model: Model, vocabulary: Vocabulary): Model {
  const data = new TextEncoder().encode(JSON.stringify(vocabulary))
  return model.withExtras({ [VOCABULARY]: { dtype: 'u8', shape: [data.length], data } })
}

/**
 * The vocabulary of a language model.
 *
 * - a model without one: ERR_UNSUPPORTED; a damaged one: ERR_DATA
 *
 * @example
 * vocabularyOf(model).encode('call me ishmael')
 */
export function vocabularyOf(model: Model): Vocabulary {
  const raw = model.extras[VOCABULARY]
  if (!raw)
    throw new UnsupportedError('ERR_UNSUPPORTED', `${model.info.name}: the model has no vocabulary`, { details: { what: VOCABULARY } })
  return Vocabulary.fromJSON(toPlain(parseJson(new TextDecoder().decode(raw.data), { where: VOCABULARY, maxString: 2 ** 26 })))
}
