/** One sequence from another: the recurrent encoder and decoder with attention of models/seq2seq.ts on pairs of texts. */
import { DataError } from '../../base/errors.js'
import { Rng } from '../../base/rng.js'
import { sequencePairs, tokens, type TokenData, type TokenOptions } from '../../compress/train/tasks/tokens.js'
import { loadPairs, PAIR_MARKS, parsePairSpec, type PairCorpus, type PairVocabularies, type TokenPair } from '../../data/index.js'
import { seq2seq, withPairVocabularies } from '../../models/index.js'
import { build, freshValues, Model } from '../../nn/index.js'
import { formatCount } from '../../report/format.js'
import { downloadView } from '../demo/context.js'
import type { Ui } from '../ui.js'
import { oneWord, type Kind, type Prepared, type TaskCliOptions } from './kind.js'

const ATTENTIONS = ['bahdanau', 'luong'] as const
const FIGURES = ['bleu', 'cer', 'wer', 'none'] as const

export const pairTask = (name: string, pairs: readonly TokenPair[]): TokenData => sequencePairs({ name, pairs, ...PAIR_MARKS })

/** Pairs in the ids of a model's vocabularies; how tokens are made is theirs, whatever the spec says of it. With `whole` nothing is held out. */
export async function pairsFor(spec: string, vocabularies: PairVocabularies, whole: boolean, ui: Ui): Promise<PairCorpus> {
  const parsed = parsePairSpec(spec)
  const { level: _l, sourceLevel: _s, targetLevel: _t, words: _w, lower: _c, minCount: _m, maxSize: _x, ...where } = parsed
  const download = downloadView(ui, spec)
  return loadPairs({ ...where, ...(whole ? { valid: 0 } : {}) }, { vocabularies, signal: ui.signal, onFetch: download.onProgress }).finally(
    download.end,
  )
}

/** The figure that suits what targets are made of. */
export const figureOf = ({ target }: PairVocabularies): 'bleu' | 'cer' => (target.rules.level === 'character' ? 'cer' : 'bleu')

async function prepare(_architecture: string, o: TaskCliOptions, ui: Ui): Promise<Prepared> {
  const { hidden: width = 256, layers = 2, dropout = 0.2 } = o
  const attention = oneWord('attention', o.attention ?? 'bahdanau', ATTENTIONS)
  const asked = o.decode === undefined ? undefined : oneWord('decode', o.decode, FIGURES)
  const spec = parsePairSpec(o.data)
  const download = downloadView(ui, o.data)
  // Held-out pairs of their own: then all of the data is for training.
  const corpus = await loadPairs(o.validation === undefined ? spec : { ...spec, valid: 0 }, {
    signal: ui.signal,
    onFetch: download.onProgress,
  }).finally(download.end)
  const { name, train, source, target } = corpus
  const vocabularies = { source, target }
  const held = o.validation === undefined ? corpus.valid : (await pairsFor(o.validation, vocabularies, true, ui)).train
  const decode = asked ?? figureOf(vocabularies)
  if (asked !== undefined && asked !== 'none' && held.length === 0)
    throw new DataError('ERR_DATA', `train: --decode ${asked} needs held-out pairs, ${name} keeps none`)
  const figures: TokenOptions =
    held.length === 0 ? {} : { validation: pairTask(o.validation ?? name, held), ...(decode === 'none' ? {} : { decode }) }
  const config = { sourceVocabulary: source.size, targetVocabulary: target.size, width, layers, attention, dropout }
  const info = { name: 'seq2seq', task: 'tokens' as const, history: [] }
  const model = withPairVocabularies(new Model(build(seq2seq(config), freshValues(Rng.of(o.seed, 'init'))), info), vocabularies)
  const left = corpus.leftOut > 0 ? ` (${formatCount(corpus.leftOut)} left out: empty or too long)` : ''
  return {
    model,
    task: tokens(pairTask(name, train), { ...figures, order: 'bucketed' }),
    facts: `${formatCount(train.length)} pairs${left}, vocabularies ${formatCount(source.size)} and ${formatCount(target.size)}`,
    held: held.length,
  }
}

export const translators: Kind = {
  architectures: ['seq2seq'],
  task: 'translation',
  options: ['hidden', 'layers', 'dropout', 'attention', 'decode'],
  defaults: { epochs: 10, batch: 64, lr: 0.003, optimizer: 'adam', clipNorm: 5 },
  prepare,
}
