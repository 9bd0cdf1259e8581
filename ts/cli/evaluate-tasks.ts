/** `tersor evaluate` for models that do not classify: language models by perplexity, regressions by their errors, translators by what they write. */
import { statSync } from 'node:fs'
import { metrics } from '../analyze/index.js'
import { DataError } from '../base/errors.js'
import { pacer } from '../base/pace.js'
import { languageFigures } from '../compress/train/tasks/language.js'
import { evaluateRegression } from '../compress/train/tasks/regression.js'
import { evaluateTokens } from '../compress/train/tasks/tokens.js'
import { PAIR_MARKS, type TokenPair } from '../data/index.js'
import { translate } from '../models/translate.js'
import { pairVocabulariesOf } from '../models/pairs.js'
import { vocabularyOf } from '../models/vocabulary.js'
import type { Model } from '../nn/index.js'
import { formatBytes, formatCount, formatPercent } from '../report/format.js'
import { metricsText } from './events.js'
import { heldOutText } from './train/language.js'
import { targetsFor } from './train/regression.js'
import { figureOf, pairsFor, pairTask } from './train/seq2seq.js'
import type { Ui } from './ui.js'

/** Parts of a text that `--split` names. */
export const PARTS = { train: true, valid: true, test: true } as const

/** Corpus perplexity of a language model: the state carried through the whole text, every token counted. */
export async function evaluateLanguage(file: string, model: Model, spec: string, split: keyof typeof PARTS, ui: Ui): Promise<void> {
  const text = (await heldOutText(spec, vocabularyOf(model), ui))[split]
  if (text.length < 2)
    throw new DataError('ERR_DATA', `${spec}: the ${split} part has ${text.length} tokens; --split takes ${Object.keys(PARTS).join(', ')}`)
  const bar = ui.progress('evaluating', text.length)
  const started = performance.now()
  const { perplexity: value, accuracy } = await languageFigures(model, text, {
    signal: ui.signal,
    onProgress: (done, total) => bar.update(Math.round((done / total) * text.length)),
  }).finally(() => bar.end())
  const n = text.length - 1
  const tokensPerSecond = (1000 * n) / (performance.now() - started)
  const bytes = statSync(file).size
  const bitsPerToken = Math.log2(value)
  ui.table({
    head: ['model', 'file', 'metric', 'value', 'bits per token', 'tokens', 'accuracy', 'tokens/s'],
    numeric: [false, true, false, true, true, true, true, true],
    rows: [
      [
        model.info.name,
        formatBytes(bytes),
        'perplexity',
        value.toFixed(2),
        bitsPerToken.toFixed(3),
        formatCount(n),
        formatPercent(accuracy, 2),
        formatCount(Math.round(tokensPerSecond)),
      ],
    ],
  })
  ui.result({ model: model.info.name, file, bytes, metric: 'perplexity', value, accuracy, bitsPerToken, split, n, tokensPerSecond })
}

/** Mean squared error and the other figures of a regression, in the units of the targets. */
export async function evaluateNumbers(file: string, model: Model, spec: string, ui: Ui): Promise<void> {
  const data = await targetsFor(spec, model, ui)
  const figures = await evaluateRegression(model, data, pacer('evaluate', ui.signal))
  showFigures(file, model, figures, { metric: 'mse', value: figures.mse!, n: data.size }, ui)
}

export interface TranslationFigures {
  readonly perplexity: number
  readonly accuracy: number
  readonly bleu: number
  readonly cer: number
  readonly wer: number
}

/** Of pairs in the ids of the model's vocabularies: teacher forcing, then what it writes by itself with a beam of `width`. */
export async function translationFigures(
  model: Model,
  name: string,
  pairs: readonly TokenPair[],
  width: number,
  ui: Ui,
): Promise<TranslationFigures> {
  const breathe = pacer('evaluate', ui.signal)
  const { target } = pairVocabulariesOf(model)
  const forced = await evaluateTokens(model, pairTask(name, pairs), breathe)
  const [bleu, cer, wer] = [new metrics.Bleu(), new metrics.ErrorRate('character'), new metrics.ErrorRate('word')]
  const bar = ui.progress('translating', pairs.length)
  try {
    // Sources of similar length together: the longest of a batch is how long all take.
    const order = pairs.map((_, i) => i).sort((a, b) => pairs[a]![0].length - pairs[b]![0].length || a - b)
    for (let at = 0; at < order.length; at += 32) {
      const some = order.slice(at, at + 32).map((i) => pairs[i]!)
      const found = translate(
        model,
        some.map(([s]) => s),
        { begin: PAIR_MARKS.begin, end: PAIR_MARKS.end, width },
      )
      some.forEach(([, reference], i) => {
        const hypothesis = found[i]![0]?.tokens ?? []
        bleu.update(hypothesis, [reference])
        wer.update(hypothesis, reference)
        cer.update(target.decode(hypothesis), target.decode(reference))
      })
      bar.update(Math.min(order.length, at + 32))
      await breathe()
    }
  } finally {
    bar.end()
  }
  return {
    perplexity: forced.perplexity!,
    accuracy: forced.accuracy!,
    bleu: bleu.result().score,
    cer: cer.result().rate,
    wer: wer.result().rate,
  }
}

/** Perplexity, BLEU and error rates of a translator. The part that the spec holds out; all of it where nothing is held out. */
export async function evaluateTranslator(file: string, model: Model, spec: string, width: number, ui: Ui): Promise<void> {
  const vocabularies = pairVocabulariesOf(model)
  const { train, valid } = await pairsFor(spec, vocabularies, !/,valid=/.test(spec), ui)
  const pairs = valid.length > 0 ? valid : train
  const figures = await translationFigures(model, spec, pairs, width, ui)
  const metric = figureOf(vocabularies)
  showFigures(file, model, { ...figures }, { metric, value: figures[metric], n: pairs.length }, ui, { beam: width })
}

function showFigures(
  file: string,
  model: Model,
  figures: Readonly<Record<string, number>>,
  head: { readonly metric: string; readonly value: number; readonly n: number },
  ui: Ui,
  more: Readonly<Record<string, number>> = {},
): void {
  const bytes = statSync(file).size
  ui.say(`${model.info.name}: ${formatBytes(bytes)}, ${metricsText(figures)} (n = ${formatCount(head.n)})`)
  ui.result({ model: model.info.name, file, bytes, ...head, figures: { ...figures }, ...more })
}
