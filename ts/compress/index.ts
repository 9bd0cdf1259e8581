/** Compression: recipes of passes, the runner, and training. */
import { retrain } from './train/retrain.js'
import { train as trainModel } from './train/train.js'

export { distill, dual, factorize, prune, quantize, sparsify } from './families.js'

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
export { inputsOnly, outputError } from './train/tasks/inputs.js'
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
