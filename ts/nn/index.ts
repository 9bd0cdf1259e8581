export {
  Model,
  build,
  distinctLeaves,
  placesOf,
  freshValues,
  modelTasks,
  type ModelInfo,
  type ModelTask,
  type PlacedWeight,
  type ValueSource,
} from './model.js'
export { toDevice } from './to-device.js'
export {
  defineModule,
  join,
  moduleKind,
  run,
  runChild,
  single,
  vector,
  type ForwardContext,
  type Module,
  type ModuleInput,
  type ModuleKind,
  type ModuleSpec,
  type WeightRole,
} from './module.js'
export {
  headChannels,
  keepsChannels,
  mainInput,
  type ChannelFlow,
  type ChannelInput,
  type Channels,
  type Count,
  type SliceRole,
  type UnitKind,
  type Units,
} from './channels.js'
export { attention, crossAttention, maskedInput, type AttentionConfig, type CrossAttentionConfig } from './attention.js'
export { decoderBlock, encoderBlock, type DecoderBlockConfig, type EncoderBlockConfig } from './transformer.js'
export { rotaryAttention, rotaryBlock, type RotaryAttentionConfig, type RotaryBlockConfig } from './rotary-block.js'
export { rotaryDivisors, rotaryScaling, rotaryTables, type RotaryAngles, type RotaryScaling } from './rotary-positions.js'
export { KeyValueCache } from './key-value-cache.js'
export { conv1d, conv2d, convTranspose2d } from './conv.js'
export { embedding, learnedPositions, sinusoidalPositions } from './embedding.js'
export { fanInUniform, filled, glorotUniform, heUniform, initial, initRules, normals, uniformIn, type InitRule, type Rng } from './init.js'
export { linear } from './linear.js'
export { batchNorm, groupNorm, instanceNorm, layerNorm, rmsNorm, runNormThen } from './norm.js'
export { liteDecoderBlock, liteEncoderBlock, lsra } from './lite-transformer.js'
export { sequenceAttention, type SequenceAttentionConfig } from './sequence-attention.js'
export { dynamicConv, highway, lightweightConv } from './sequence-conv.js'
export { adaptiveAvgPool2d, adaptiveMaxPool2d, avgPool1d, avgPool2d, globalAvgPool, maxPool1d, maxPool2d } from './pool.js'
export { activate, activation, activationNames, gate, leakyRelu, prelu, type ActivationName } from './activation.js'
export { parameterCount, specTensors, type SpecTensor } from './spec.js'
export { affine, dropout, flatten, identity, sequential, streamOf } from './simple.js'
export { integerNet, SUM_BITS, type IntegerConfig, type IntegerStep } from './integer.js'
export { doublingHighMul, fixedPoint, rescale, roundingShift, type FixedPoint } from './weight/fixed-point.js'
export { gru, lstm, type RecurrentConfig } from './recurrent.js'
export { BinaryWeight, type BinaryParts } from './weight/binary.js'
export { CodebookWeight, type CodebookLayout, type CodebookParts } from './weight/codebook.js'
export { codeRange, gridOf, legalScale, roundEven, type CodeRange, type Grid } from './weight/grid.js'
export { keepBits, keepRaw, type Keep } from './weight/cut.js'
export { DenseWeight } from './weight/dense.js'
export { MaskedWeight, maskWeight } from './weight/masked.js'
export { NarrowWeight, narrowFormats, type NarrowFormat, type NarrowParts } from './weight/narrow.js'
export { QuantizedWeight, withCoding, type QuantizedLayout, type QuantizedParts } from './weight/quantized.js'
export { SparseWeight, sparseFrom, type SparseParts } from './weight/sparse.js'
export { ScoredWeight } from './weight/scored.js'
export { SparseLayoutWeight, sparseLayoutFrom, sparseLayouts, type SparseLayout } from './weight/sparse-layout.js'
export { LowRankWeight, type LowRankFactors } from './weight/low-rank.js'
export { DualWeight, watchDual, type DualParts, type DualRule } from './weight/dual.js'
export {
  weightKind,
  type InputQuantization,
  type Leaf,
  type RecurrentUse,
  type Weight,
  type WeightKind,
  type WeightUse,
} from './weight/weight.js'
export { FakeInput, type FakeInputConfig } from './weight/fake-input.js'
export { FakeWeight, type FakeConfig, type FakeParts } from './weight/fake.js'
