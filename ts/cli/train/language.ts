/** The next token of a text: recurrent language models. And texts as ids, for whatever command needs them. */
import { OptionError } from '../../base/errors.js'
import { Rng } from '../../base/rng.js'
import { language } from '../../compress/train/tasks/language.js'
import { isTextSpec, loadText, parseTextSpec, type TextCorpus, type Tokenizer } from '../../data/index.js'
import { languageModel, withVocabulary } from '../../models/index.js'
import { build, freshValues, Model } from '../../nn/index.js'
import { formatCount } from '../../report/format.js'
import { downloadView } from '../demo/context.js'
import type { Ui } from '../ui.js'
import type { Kind, Prepared, TaskCliOptions } from './kind.js'

async function prepare(architecture: string, o: TaskCliOptions, ui: Ui): Promise<Prepared> {
  const { hidden = 200, layers = 2, embedding = hidden, dropout = 0.2, tied = false, window } = o
  if (!isTextSpec(o.data))
    throw new OptionError('ERR_OPTION', `train: ${architecture} learns a language: --data must be text:PATH, brown or moby-dick`)
  const corpus = await loadCorpus(o.data, ui)
  const { vocabulary } = corpus
  // Held-out text of its own is read whole, with the vocabulary of the training.
  const held = o.validation === undefined ? corpus.valid : await wholeText(o.validation, vocabulary, ui)
  const cell = architecture as 'lstm' | 'gru'
  const spec = languageModel({ vocabulary: vocabulary.size, width: embedding, hidden, layers, cell, dropout, tied })
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

export const languages: Kind = {
  architectures: ['lstm', 'gru'],
  task: 'language',
  options: ['hidden', 'layers', 'embedding', 'dropout', 'tied', 'window'],
  defaults: { epochs: 6, batch: 20, lr: 0.003, optimizer: 'adam', clipNorm: 1 },
  prepare,
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
