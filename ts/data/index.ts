/** Data sets: where they come from, splits, batches. The public names of `tersor/data`. */
export { cacheDir, fetchPackage, type FetchOptions, type FetchProgress } from './cache.js'
export type { LoadOptions } from './arrays.js'
export { BatchIterator, type BatchOptions, type BatchPosition, type IndexBatch } from './batches.js'
export {
  countClasses,
  encodeLabels,
  numberDataset,
  subset,
  textDataset,
  type Dataset,
  type NumberBatch,
  type NumberDataset,
  type StoredFeatures,
  type TextBatch,
  type TextDataset,
} from './dataset.js'
export { loadPronunciations, parsePronunciations, PRONUNCIATION_MARKS, type Pronunciations } from './cmu-dict.js'
export { jaccard, nearDuplicates, nearest, normalizedWords, shingles, type DuplicateOptions } from './dedup.js'
export { knownPackages, type KnownPackage } from './known-packages.js'
export { loadData } from './load.js'
export { mailText } from './mail.js'
export { loadMnist } from './mnist.js'
export { balancedEpoch, balancedSample, splitIndices, type Split, type SplitOptions } from './sampling.js'
export { loadSpamAssassin, splitSpamAssassin, type SpamSplit, type SpamSplitOptions } from './spam-assassin.js'
export {
  csv,
  dataForms,
  formatDataSpec,
  idx,
  npz,
  parseDataSpec,
  tsv,
  type DataSpec,
  type IdxSpec,
  type NpzSpec,
  type TableSpec,
} from './spec.js'
export { loadPairs, PAIR_MARKS, type LoadPairsOptions, type PairCorpus, type PairVocabularies, type TokenPair } from './pairs.js'
export {
  formatPairSpec,
  pairForms,
  parsePairSpec,
  type PairOptions,
  type PairSpec,
  type PairTableSpec,
  type ParallelSpec,
  type PronunciationsSpec,
} from './pair-spec.js'
export { inputsForm, isInputsSpec, loadInputs, parseInputsSpec, type InputArrays, type InputsSpec, type ModelInputs } from './inputs.js'
export { loadTargets, type NumberTargets } from './targets.js'
export { loadText, type LoadTextOptions, type TextCorpus, type TextProgress } from './text.js'
export {
  formatTextSpec,
  isTextSpec,
  parseTextSpec,
  textForms,
  type BrownSpec,
  type MobyDickSpec,
  type TextFilesSpec,
  type TextOptions,
  type TextSpec,
} from './text-spec.js'
export {
  Vocabulary,
  VocabularyBuilder,
  type Tokenizer,
  type TokenRules,
  type VocabularyJson,
  type VocabularyOptions,
} from './vocabulary.js'
export { augmentBatch, type AugmentContext, type AugmentedBatch } from './augment.js'
export { augmentSchema, augmentSettings, type Augment, type AugmentInput } from './augment-settings.js'
export { openLoader, type Loader, type Padding } from './loader/loader.js'
export type {
  BatchSource,
  LoadedBatch,
  LoadedNumbers,
  LoadedSequences,
  LoaderMode,
  LoaderOptions,
  MapContext,
  ModuleMap,
  Sample,
  SampleMap,
} from './loader/contract.js'
export { tokenize, type LoadableData, type SequenceData, type StreamData, type TokenizeOptions } from './loader/sources.js'
export { streamData, streamForms, type StreamOptions } from './loader/stream.js'
