/** What `tersor compress` calibrates and trains on, and how it measures a model before and after: classifiers and encoders by accuracy, language models by perplexity, regressions by their squared error, translators by what they write. */
import { evaluateModel } from '../analyze/index.js'
import { DataError, OptionError } from '../base/errors.js'
import type { CompressOptions } from '../compress/index.js'
import { pacer } from '../base/pace.js'
import { language, languageFigures } from '../compress/train/tasks/language.js'
import { evaluateRegression, regression, type RegressionData } from '../compress/train/tasks/regression.js'
import { callInput, inputsOnly, outputError } from '../compress/train/tasks/inputs.js'
import { tokens } from '../compress/train/tasks/tokens.js'
import { isInputsSpec, loadData, loadInputs, parseInputsSpec, type Dataset, type ModelInputs } from '../data/index.js'
import { graphOf } from '../graph/index.js'
import { pairVocabulariesOf } from '../models/pairs.js'
import { vocabularyOf } from '../models/vocabulary.js'
import type { Model } from '../nn/index.js'
import { scope } from '../tensor/index.js'
import { formatCount, formatPercent } from '../report/format.js'
import type { Variant } from '../report/index.js'
import { asTrained } from './as-trained.js'
import { translationFigures } from './evaluate-tasks.js'
import { heldOutText, wholeText } from './train/language.js'
import { targetsFor } from './train/regression.js'
import { figureOf, pairsFor, pairTask } from './train/seq2seq.js'
import type { Ui } from './ui.js'

/** One model, measured. */
export interface Measured {
  readonly metric: 'accuracy' | 'perplexity' | 'mse' | 'bleu' | 'cer' | 'output error'
  readonly value: number
  readonly n: number
  /** For tables and plots of proportions. */
  readonly variant?: Omit<Variant, 'bytes' | 'ratio' | 'agreement'>
  readonly predictions?: Int32Array
}

export interface CompressData {
  readonly options: Pick<CompressOptions, 'data' | 'validation' | 'task'>
  /** Without held-out data there is none. */
  readonly measure?: (name: string, model: Model) => Promise<Measured>
}

interface Specs {
  readonly data?: string | undefined
  readonly validation?: string | undefined
}

export async function compressData(model: Model, specs: Specs, ui: Ui): Promise<CompressData> {
  const { task } = model.info
  if ([specs.data, specs.validation].some((spec) => spec !== undefined && isInputsSpec(spec))) return unlabelledData(model, specs, ui)
  if (task === 'language') return languageData(model, specs, ui)
  if (task === 'regression') return numbersData(model, specs, ui)
  return task === 'tokens' ? pairsData(model, specs, ui) : labelledData(model, specs, ui)
}

/** Samples of a call where the spec does not say: a few, or arrays as they are where the model fixes the first size of an input. */
function rowsFor(model: Model): { readonly rows?: number } {
  const graph = graphOf(model.root)
  return !graph || graph.inputs.every(({ shape }) => shape !== undefined && shape.length > 0 && typeof shape[0] !== 'number')
    ? { rows: 8 }
    : {}
}

/** Labels are not needed to calibrate; what was lost is then said as the distance of the outputs from those of the model given. */
function unlabelledData(model: Model, specs: Specs, ui: Ui): CompressData {
  const read = (spec: string | undefined): ModelInputs | undefined => {
    if (spec === undefined) return undefined
    if (!isInputsSpec(spec))
      throw new OptionError('ERR_OPTION', 'compress: --data and --validation are both inputs without labels (inputs:PATH), or neither is')
    return loadInputs({ ...rowsFor(model), ...parseInputsSpec(spec) }, { signal: ui.signal })
  }
  const [data, validation] = [read(specs.data), read(specs.validation)]
  // What does not fit the model is found now and not after the work.
  for (const inputs of [data, validation]) if (inputs) scope(() => void model.forward(callInput(model, inputs.name, inputs.call(0))))
  return {
    options: data ? { task: inputsOnly(data) } : {},
    ...(validation
      ? {
          measure: async (_name, of) => ({
            metric: 'output error',
            value: of === model ? 0 : await outputError(model, of, validation, pacer('compress', ui.signal)),
            n: validation.samples,
          }),
        }
      : {}),
  }
}

/** Deviations of the targets, the units that a training of `tersor train` ended with. */
function unitsOf(model: Model): readonly number[] | undefined {
  const last = Object.values(model.root.children).at(-1)
  return last?.kind === 'affine' ? (last.config as { readonly scale: readonly number[] }).scale : undefined
}

async function numbersData(model: Model, specs: Specs, ui: Ui): Promise<CompressData> {
  const read = (spec: string | undefined): Promise<RegressionData | undefined> =>
    spec === undefined ? Promise.resolve(undefined) : targetsFor(spec, model, ui)
  const [data, validation] = [await read(specs.data), await read(specs.validation)]
  const scale = unitsOf(model)
  return {
    options: data ? { task: regression(data, { ...(scale ? { scale } : {}), validation }) } : {},
    ...(validation
      ? {
          measure: async (_name, of) => ({
            metric: 'mse',
            value: (await evaluateRegression(of, validation, pacer('compress', ui.signal))).mse!,
            n: validation.size,
          }),
        }
      : {}),
  }
}

/** Without pairs of their own for validation those that the spec holds out. */
async function pairsData(model: Model, specs: Specs, ui: Ui): Promise<CompressData> {
  const vocabularies = pairVocabulariesOf(model)
  const metric = figureOf(vocabularies)
  const own = specs.validation === undefined ? undefined : (await pairsFor(specs.validation, vocabularies, true, ui)).train
  const corpus = specs.data === undefined ? undefined : await pairsFor(specs.data, vocabularies, own !== undefined, ui)
  const held = own ?? corpus?.valid ?? []
  const validation = held.length > 0 ? { validation: pairTask(specs.validation ?? specs.data!, held) } : {}
  return {
    options: corpus ? { task: tokens(pairTask(corpus.name, corpus.train), { ...validation, order: 'bucketed' }) } : {},
    ...(held.length > 0
      ? {
          measure: async (name, of) => ({ metric, value: (await translationFigures(of, name, held, 1, ui))[metric], n: held.length }),
        }
      : {}),
  }
}

async function labelledData(model: Model, specs: Specs, ui: Ui): Promise<CompressData> {
  const read = (spec: string | undefined): Promise<Dataset | undefined> =>
    spec === undefined ? Promise.resolve(undefined) : loadData(spec, { signal: ui.signal, ...asTrained(model) })
  const data = await read(specs.data)
  const validation = await read(specs.validation)
  return {
    options: { ...(data ? { data } : {}), ...(validation ? { validation } : {}) },
    ...(validation ? { measure: (name, of) => accuracyOf(name, of, validation, ui) } : {}),
  }
}

async function accuracyOf(name: string, model: Model, data: Dataset, ui: Ui): Promise<Measured> {
  const bar = ui.progress(`evaluating ${name}`, data.size)
  const e = await evaluateModel(model, data, { signal: ui.signal, onProgress: (done) => bar.update(done) }).finally(() => bar.end())
  const { accuracy: value, interval, n, latency: msPerExample, predictions } = e
  return { metric: 'accuracy', value, n, predictions, variant: { name, metric: 'accuracy', value, interval, n, msPerExample } }
}

/** The text in the tokens of the model's own vocabulary: what the spec keeps for validation is held out, unless another text is given for that. */
async function languageData(model: Model, specs: Specs, ui: Ui): Promise<CompressData> {
  const vocabulary = vocabularyOf(model)
  const parts = specs.data === undefined ? undefined : await heldOutText(specs.data, vocabulary, ui)
  const held = specs.validation === undefined ? parts?.valid : await wholeText(specs.validation, vocabulary, ui)
  if (specs.validation !== undefined && held!.length < 2)
    throw new DataError('ERR_DATA', `${specs.validation}: a text of ${held!.length} tokens is too short`)
  if (parts && parts.train.length < 2)
    throw new OptionError('ERR_OPTION', `compress: ${specs.data} keeps ${parts.train.length} tokens to calibrate and train on`)
  const text = held && held.length > 1 ? held : undefined
  return {
    options: parts ? { task: language(parts.train, { name: specs.data!, validation: text }) } : {},
    ...(text ? { measure: (name, of) => perplexityOf(name, of, text, ui) } : {}),
  }
}

async function perplexityOf(name: string, model: Model, text: Int32Array, ui: Ui): Promise<Measured> {
  const bar = ui.progress(`evaluating ${name}`, text.length)
  const { perplexity: value, tokens: n } = await languageFigures(model, text, {
    columns: 8,
    signal: ui.signal,
    onProgress: (done, total) => bar.update(Math.round((done / total) * text.length)),
  }).finally(() => bar.end())
  return { metric: 'perplexity', value, n }
}

/** "accuracy 99.10 % -> 99.02 % (n = 10,000), agreement 99.8 %". */
export function comparison(before: Measured, after: Measured): string {
  const show = ({ metric, value }: Measured): string =>
    metric === 'accuracy' || metric === 'cer' || metric === 'output error'
      ? formatPercent(value, 2)
      : metric === 'mse'
        ? String(Number(value.toPrecision(5)))
        : value.toFixed(2)
  const same = agreementOf(before, after)
  return `${before.metric} ${show(before)} -> ${show(after)} (n = ${formatCount(after.n)})${same === undefined ? '' : `, agreement ${formatPercent(same)}`}`
}

/** Share of the examples with the same label; undefined where there are no labels. */
export function agreementOf(
  { predictions: a }: Pick<Measured, 'predictions'>,
  { predictions: b }: Pick<Measured, 'predictions'>,
): number | undefined {
  if (!a || !b) return undefined
  let same = 0
  for (let i = 0; i < a.length; i++) if (a[i] === b[i]) same++
  return a.length ? same / a.length : 1
}
