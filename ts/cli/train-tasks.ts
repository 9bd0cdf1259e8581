/** What `tersor train` can train: architectures by name, each with its task, its data and its defaults. */
import { Rng } from '../base/rng.js'
import { OptionError } from '../base/errors.js'
import type { TrainTask } from '../compress/train/task.js'
import { classification } from '../compress/train/tasks/classification.js'
import { language } from '../compress/train/tasks/language.js'
import {
  isTextSpec,
  loadData,
  loadText,
  parseTextSpec,
  type Dataset,
  type NumberDataset,
  type TextCorpus,
  type Tokenizer,
} from '../data/index.js'
import { architectures, batchInputs, languageModel, withVocabulary, type ArchitectureName } from '../models/index.js'
import { build, freshValues, Model } from '../nn/index.js'
import { formatCount } from '../report/format.js'
import { scope } from '../tensor/index.js'
import { downloadView } from './demo/context.js'
import type { SettingDefaults } from './train-settings.js'
import type { Ui } from './ui.js'

export interface LanguageCliOptions {
  readonly hidden?: number
  readonly layers?: number
  readonly embedding?: number
  readonly dropout?: number
  readonly tied?: boolean
  readonly window?: number
}

export interface TaskCliOptions extends LanguageCliOptions {
  readonly data: string
  readonly validation?: string
  readonly seed: number
}

export interface Prepared {
  readonly model: Model
  readonly task: TrainTask
  /** What is trained on what, for people. */
  readonly facts: string
  /** Examples of the evaluation. */
  readonly held: number
}

interface Kind {
  readonly architectures: readonly string[]
  readonly task: string
  readonly defaults: SettingDefaults
  prepare(architecture: string, o: TaskCliOptions, ui: Ui): Promise<Prepared>
}

/** Mean and standard deviation over all numbers of a data set, for the model's input scaling. */
function normalization(data: NumberDataset): { mean: number; std: number } {
  let n = 0
  let sum = 0
  let squares = 0
  for (let i = 0; i < data.size; i += 1024) {
    const { x } = data.batch(Array.from({ length: Math.min(1024, data.size - i) }, (_, j) => i + j))
    for (const v of x) {
      sum += v
      squares += v * v
    }
    n += x.length
  }
  const mean = n ? sum / n : 0
  const std = n ? Math.sqrt(Math.max(0, squares / n - mean * mean)) : 1
  return { mean, std: std > 0 ? std : 1 }
}

/** An untrained classifier that fits the data. */
export function newModel(architecture: string, data: Dataset, seed: number): Model {
  if (data.input !== 'numbers') throw new OptionError('ERR_OPTION', `train: ${architecture} takes numbers, ${data.name} holds text`)
  const made = architectures[architecture as ArchitectureName]({ inputShape: data.inputShape, classes: data.classes.length })
  return new Model(build(made.spec, freshValues(Rng.of(seed, 'init'))), {
    name: architecture,
    task: 'classification',
    classes: data.classes,
    inputShape: made.inputShape,
    normalize: normalization(data),
    history: [],
  })
}

async function prepareClassifier(architecture: string, o: TaskCliOptions, ui: Ui): Promise<Prepared> {
  for (const name of ['hidden', 'layers', 'embedding', 'dropout', 'tied', 'window'] as const)
    if (o[name] !== undefined) throw new OptionError('ERR_OPTION', `train: --${name} is for language models, not ${architecture}`)
  if (isTextSpec(o.data))
    throw new OptionError('ERR_OPTION', `train: ${architecture} classifies; ${o.data} is text for ${languages.architectures.join(', ')}`)
  const data = await loadData(o.data, { signal: ui.signal })
  const validation = o.validation === undefined ? undefined : await loadData(o.validation, { signal: ui.signal, classes: data.classes })
  const model = newModel(architecture, data, o.seed)
  // What does not fit is found now and not after the first epoch.
  if (validation) scope(() => void batchInputs(model, validation, [0]))
  return {
    model,
    task: classification(data, { validation }),
    facts: `${formatCount(data.size)} examples, ${data.classes.length} classes`,
    held: validation?.size ?? 0,
  }
}

async function prepareLanguage(architecture: string, o: TaskCliOptions, ui: Ui): Promise<Prepared> {
  const { hidden = 200, layers = 2, embedding = hidden, dropout = 0.2, tied = false, window } = o
  if (!isTextSpec(o.data))
    throw new OptionError('ERR_OPTION', `train: ${architecture} learns a language: --data must be text:PATH, brown or moby-dick`)
  const corpus = await loadCorpus(o.data, ui)
  const { vocabulary } = corpus
  // Held-out text of its own is read whole, with the vocabulary of the training.
  const held = o.validation === undefined ? corpus.valid : await wholeText(o.validation, vocabulary, ui)
  const spec = languageModel({
    vocabulary: vocabulary.size,
    width: embedding,
    hidden,
    layers,
    cell: architecture as 'lstm' | 'gru',
    dropout,
    tied,
  })
  const info = { name: `${architecture}-language-model`, task: 'language' as const, history: [] }
  const model = withVocabulary(new Model(build(spec, freshValues(Rng.of(o.seed, 'init'))), info), vocabulary)
  const { train, name } = corpus
  const validation = held.length > 0 ? held : undefined
  return {
    model,
    task: language(train, { name, validation, ...(window === undefined ? {} : { window }) }),
    facts: `${formatCount(train.length)} tokens, vocabulary ${formatCount(vocabulary.size)}`,
    held: held.length,
  }
}

const classifiers: Kind = {
  architectures: Object.keys(architectures),
  task: 'classification',
  defaults: { epochs: 3, batch: 64, lr: 0.05, optimizer: 'sgd' },
  prepare: prepareClassifier,
}

const languages: Kind = {
  architectures: ['lstm', 'gru'],
  task: 'language',
  defaults: { epochs: 6, batch: 20, lr: 0.003, optimizer: 'adam', clipNorm: 1 },
  prepare: prepareLanguage,
}

const kinds: readonly Kind[] = [classifiers, languages]

/** Names of all architectures, for help. */
export const architectureNames = kinds.flatMap((kind) => kind.architectures)
export const taskNames = kinds.map((kind) => kind.task)

/** The kind that an architecture belongs to; `task` says which one is meant, where it is given. */
export function kindOf(architecture: string, task: string | undefined): Kind {
  const kind = kinds.find((k) => k.architectures.includes(architecture))
  if (!kind)
    throw new OptionError(
      'ERR_OPTION',
      `train: unknown architecture ${JSON.stringify(architecture)}; known: ${architectureNames.join(', ')}`,
    )
  if (task !== undefined && kind.task !== task)
    throw new OptionError('ERR_OPTION', `train: ${architecture} is for ${kind.task}; --task must be that, got ${JSON.stringify(task)}`)
  return kind
}

/** The default of an option for every kind: "0.05; lstm, gru: 0.003". */
export function defaultsText(name: keyof SettingDefaults): string {
  const text = (kind: Kind): string => String(kind.defaults[name] ?? 'none')
  const [first, ...rest] = kinds
  const others = rest.filter((k) => text(k) !== text(first!)).map((k) => `; ${k.architectures.join(', ')}: ${text(k)}`)
  return text(first!) + others.join('')
}

async function loadCorpus(spec: string, ui: Ui): Promise<TextCorpus> {
  const download = downloadView(ui, spec)
  return loadText(spec, { signal: ui.signal, onFetch: download.onProgress }).finally(download.end)
}

/** All of a text as ids of a tokenizer. */
export async function wholeText(spec: string, tokenizer: Tokenizer, ui: Ui): Promise<Int32Array> {
  return (await heldOutText(spec, tokenizer, ui, { valid: 0, test: 0 })).train
}

/** The parts of a text as ids of a tokenizer; how tokens are made is the tokenizer's, whatever the spec says of it. */
export async function heldOutText(
  spec: string,
  tokenizer: Tokenizer,
  ui: Ui,
  shares: { readonly valid?: number; readonly test?: number } = {},
): Promise<{ readonly train: Int32Array; readonly valid: Int32Array; readonly test: Int32Array }> {
  const { level: _l, words: _w, lower: _c, minCount: _m, maxSize: _s, ...where } = parseTextSpec(spec)
  const download = downloadView(ui, spec)
  return loadText({ ...where, ...shares }, { tokenizer, signal: ui.signal, onFetch: download.onProgress }).finally(download.end)
}
