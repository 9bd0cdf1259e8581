/**
 * Tersor: neural networks made small and fast. Load a model, compress it by a recipe, measure what was lost, run it.
 *
 * @example
 * import { load, save, compress, recipe, quantize } from 'tersor'
 * const model = load('encoder.safetensors')
 * const { model: small, report } = await compress(model, recipe([[quantize.rtn({ bits: 8 })]]))
 * save(small, 'encoder.small.safetensors')
 */
export { VERSION } from './base/version.js'
export * from './base/errors.js'
export type { DType, TypedArray } from './base/dtype.js'
export type { Json, JsonObject } from './base/json-types.js'
export type { Shape } from './base/shape.js'
export { isa, kernelRows, memory, resetPeakMemory, setMemoryBudget, setThreads, threads } from './native/devices.js'
export {
  cpu,
  defaultDevice,
  device,
  Device,
  deviceLibrary,
  deviceProblem,
  devices,
  onDevice,
  setDefaultDevice,
  type DeviceInfo,
  type DeviceMemory,
  type DeviceOptions,
  type DeviceSpec,
} from './native/device.js'
export { fromRaw, full, keep, ones, scope, tensor, Tensor, toRaw, zeros } from './tensor/index.js'
export { grad, hvpOperator, HvpOperator, valueAndGrad, type TensorTree, type ValueAndGrad } from './autograd/index.js'
export * as ops from './ops/index.js'
export { hvp } from './ops/index.js'
export * as optim from './optim/index.js'
export { Model, toDevice, type ModelInfo, type ModuleInput } from './nn/index.js'
export {
  architectures,
  batchInputs,
  buildWordPiece,
  CarriedState,
  continueText,
  generate,
  generateTokens,
  languageModel,
  loadHuggingFace,
  loadModel as load,
  loadGguf,
  saveGguf,
  saveHuggingFace,
  type SaveGgufOptions,
  saveModel as save,
  tokenizerOf,
  transformerSpec,
  withTokenizer,
  seq2seq,
  translate,
} from './models/index.js'
export {
  compress,
  definePass,
  gridQuantizer,
  classification,
  cutLayers,
  distill,
  distillationLoss,
  dual,
  factorize,
  distilled,
  embedding,
  integerOnly,
  language,
  languagePerplexity,
  maskedText,
  parseRecipe,
  presets,
  prune,
  quantize,
  recipe,
  regression,
  regressionData,
  sequencePairs,
  sparsify,
  tokens,
  train,
  trainTask,
  type CompressEvent,
  type CompressOptions,
  type CompressReport,
  type CompressResult,
  type PassSpec,
  type Preset,
  type Recipe,
  type TaskOptions,
  type TrainOptions,
  type TrainResult,
  type TrainTask,
} from './compress/index.js'
export { compressInWorker, trainInWorker, trainTaskInWorker, type WorkerOptions } from './runtime/index.js'
export {
  evaluateModel as evaluate,
  fitProbe,
  hessian,
  inspect,
  latency,
  loyalty,
  metrics,
  outputs,
  sensitivity,
  withProbe,
  type Evaluation,
  type Inspection,
} from './analyze/index.js'
export {
  Profile,
  session,
  Session,
  speeds,
  type LayerSpeed,
  type ProfileStep,
  type RunOptions,
  type SessionClass,
  type SessionFunction,
  type SessionInfo,
  type SessionInput,
  type SessionInputs,
  type SessionOptions,
  type SessionValue,
  type SpeedOptions,
  type Speeds,
} from './runtime/index.js'
export {
  exampleInput,
  exportOnnx,
  graphPasses,
  kerasLayers,
  loadTfjsModel,
  optimizeGraph,
  optimizeModel,
  tfOperators,
  type ExportOptions,
  type ExportProfile,
  type GraphPass,
  type OptimizedModel,
  type OptimizeOptions,
  type PassResult,
  type TfjsModelOptions,
} from './graph/index.js'
export { saveOnnx, type OnnxRuntime, type SavedOnnx, type SaveOnnxOptions } from './runtime/save-onnx.js'
export { saveTransformersJs, transformersJsFiles, type TransformersJsOptions } from './runtime/transformers-js.js'
