/** Compression: recipes of passes, the runner, and training. */
import { adaround } from './quantize/adaround.js'
import { awq } from './quantize/awq.js'
import { auto } from './quantize/auto.js'
import { distillTrain } from './distill/train.js'
import { dual as buildDual } from './dual/build.js'
import { biasCorrection } from './quantize/bias-correction.js'
import { binary } from './quantize/binary.js'
import { cast } from './quantize/cast.js'
import { codebook } from './quantize/codebook.js'
import { dynamicInt8 } from './quantize/dynamic-int8.js'
import { equalize } from './quantize/equalize.js'
import { gptq } from './quantize/gptq.js'
import { hqq } from './quantize/hqq.js'
import { mixed } from './quantize/mixed.js'
import { qat } from './quantize/qat.js'
import { rtn } from './quantize/rtn.js'
import { smooth } from './quantize/smooth.js'
import { staticInt8 } from './quantize/static-int8.js'
import { csr } from './sparsify/csr.js'
import { layout } from './sparsify/layout.js'
import { retrain } from './train/retrain.js'
import { train as trainModel } from './train/train.js'

export { prune } from './prune/index.js'
/** Passes that train a smaller net on what a larger one says. */
export const distill = { train: distillTrain } as const
/** Passes that store weights in fewer bits. */
export const quantize = {
  rtn,
  gptq,
  hqq,
  mixed,
  biasCorrection,
  dynamic: dynamicInt8,
  static: staticInt8,
  qat,
  smooth,
  equalize,
  auto,
  awq,
  adaround,
  codebook,
  cast,
  binary,
} as const
/** Passes that give layers a little twin (dual-module inference). */
export const dual = { build: buildDual } as const
/** Passes that store only what is not 0. */
export const sparsify = { csr, layout } as const

/** Trains a model; `train.rewindLearningRate({ epochs })` and its siblings are the ways to retrain that passes take. */
export const train = Object.assign(trainModel, retrain)

export { compress } from './run/compress.js'
export { planCompression, type PassPlan } from './run/plan.js'
export { removeCheckpoints } from './run/checkpoint.js'
export type { CompressOptions, CompressResult } from './run/options.js'
export {
  definePass,
  type PassContext,
  type PassDefinition,
  type PassFactory,
  type PassNeeds,
  type PassSpec,
  type PassState,
  type Where,
} from './pass.js'
export { parseRecipe, recipe, type Recipe } from './recipe.js'
export { passDefinition, passDefinitions } from './registry.js'
export { presets, type Preset } from './presets.js'
export type { CompressEvent, OnEvent, Place, TrainEvent } from './events.js'
export type { CompressReport, EpochRecord, LayerOutcome, PassOutcome, WeightFacts } from './outcome.js'
export { gridQuantizer, type GridOptionsInput } from './quantize/mixed-grids.js'
export { runIdentity } from './run/fingerprint.js'
export { convertWeights, type Conversion } from './convert.js'
export { distribution, leastErrorRange, percentileRange, type Distribution } from './observe/histogram.js'
export { divergence, entropyRange } from './observe/entropy.js'
export { movingRange, valueRange, type ValueRange } from './observe/ranges.js'
export { canTrainFake, fakeModel, hardenModel, normsBehind, quantizesInput, type FakePlan } from './quantize/fake-model.js'
export { integerOnly, type IntegerOnlyOptions } from './quantize/integer-only.js'
export { magnitudeOf, type Magnitude } from './observe/magnitude.js'
export type { Observer, Statistic } from './observe/statistic.js'
export { dualThreshold, projectionSize, type Bound, type Squash } from './dual/rule.js'
export { roundsFor } from './prune/amount.js'
export { cutLayers } from './distill/cut.js'
export { distilled, type DistilledOptions } from './train/distill/distilled.js'
export { distillationLoss, type DistillationLossOptions } from './train/distill/logits.js'
export {
  conventions,
  type Convention,
  type ConventionName,
  type Distill,
  type DistillInput,
  type MatchTerm,
} from './train/distill/options.js'
export { distillOption, evaluateGoal, retrainTask, stepsPerEpoch, stopValue, type RetrainFacts } from './train/retrain-task.js'
export { embedding, type EmbeddingOptions } from './train/tasks/embedding.js'
export { trainingOf, trainSettings, type TrainSettings, type TrainSettingsInput } from './train/settings.js'
export { packState, snapshotsOf, unpackState, type Snapshots, type TrainState } from './train/state.js'
export { removeTrainCheckpoints } from './train/checkpoints.js'
export { taskLosses, type TaskLossOptions } from './train/task-losses.js'
export { trainTask, type TaskOptions, type TrainHooks, type TrainOptions, type TrainResult } from './train/train.js'
export {
  isBetter,
  type BatchPlace,
  type BatchSource,
  type BesideValue,
  type BySample,
  type Look,
  type LossContext,
  type MetricGoal,
  type Metrics,
  type Prepared,
  type TrainTask,
} from './train/task.js'
export { classification, type ClassBatch, type ClassificationOptions } from './train/tasks/classification.js'
export {
  language,
  languageFigures,
  languagePerplexity,
  type LanguageFigures,
  type LanguageOptions,
  type PerplexityOptions,
  type TextWindow,
} from './train/tasks/language.js'
export { regression, regressionData, type RegressionData, type RegressionOptions, type RegressionParts } from './train/tasks/regression.js'
export {
  IGNORE,
  maskedText,
  sequencePairs,
  tokens,
  type DecodedTokens,
  type MaskedText,
  type SequencePairs,
  type TokenBatch,
  type TokenData,
  type TokenOptions,
} from './train/tasks/tokens.js'
export type { Retrain } from './train/retrain.js'
