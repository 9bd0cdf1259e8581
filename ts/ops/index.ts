/** Every public function of tensors, differentiable unless its comment says that it is constant to the tape. */
export { add, broadcastTo, padSlice, permute, reshape, slice, transpose } from '../autograd/index.js'
export { div, mul, neg, scaleShift, sub } from './arithmetic.js'
export { abs, clip, equal, gate, greater, maximum, minimum, relu, round, sign, step } from './piecewise.js'
export { cos, erf, exp, log, reciprocal, sigmoid, sin, sqrt, tanh } from './smooth.js'
export { cast, concat2, copy, oneHot } from './memory.js'
export { amax, amin, argmax, countNonfinite, countNonzero, sum } from './reduce.js'
export { linear, matmul } from './matmul.js'
export { conv2dLast, conv2dLastPack, pool2dLast } from './conv2d-last.js'
export { conv2dWinograd, conv2dWinogradPack } from './conv2d-winograd.js'
export { gemm, gemmPack, linearFused, linearPacked, type GemmOptions } from './gemm.js'
export { conv2dGradInput, conv2dGradWeight, pair, type Pair } from './conv2d.js'
export { maxUnpool2d, poolSelect2d } from './pool2d.js'
export { conv2dMaxPool } from './conv2d-pooled.js'
export { crossEntropyRows } from './softmax.js'
export { layerNorm } from './layer-norm.js'
export { rmsNorm } from './rms-norm.js'
export { groupNorm, instanceNorm } from './composite/channel-norm.js'
export { cumsum, gatherAlong, scatterAlong, sort, topK, where } from './along.js'
export {
  elu,
  gelu,
  geluTanh,
  hardSigmoid,
  hardSwish,
  hardTanh,
  leakyRelu,
  logSigmoid,
  mish,
  prelu,
  relu6,
  selu,
  silu,
  softplus,
  softsign,
} from './nonlinear.js'
export { gather, scatterAdd } from './gather.js'
export { randomNormal, randomUniform, type RandomOptions } from './random.js'
export {
  adamStep,
  adamwStep,
  assign,
  lambStep,
  rmspropStep,
  sgdStep,
  type AdamWOptions,
  type LambOptions,
  type RmspropOptions,
  type SgdOptions,
} from './in-place.js'
export { isHalf, narrowed, narrowedResult, widened, withPrecision, type HalfDType, type Precision } from './precision.js'
export { axpby, innerProduct, orthogonalize } from './vectors.js'
export { maskApply, maskCount, maskPack, maskSlice, maskUnpack, nmMask, thresholdMask, topkMask, topkMaskRows } from './mask.js'
export { blockDecode, blockEncode } from './blocks.js'
export { dequantizeRows, histogram, packBits, quantizeRows, rangeRows, unpackBits } from './quantize.js'
export { bf16Pack, linearBf16 } from './bf16.js'
export { dualGru, dualLinear, dualLstm } from './dual.js'
export { maskIndices, rowsDot, ternaryPack, ternaryProject, ternaryUnpack } from './rows.js'
export { wgemm, wgemmPack, wgemmUnpack } from './wgemm.js'
export { qconv2d, qconv2dLast, qconv2dPack, qgemmPack, qgemmS32, qlinear, qlinearDynamic, qmatmul, qmatmulFixed } from './qgemm.js'
export { csrFromDense, csrGroup, csrLinear, csrMultiply, csrToDense, sparseDecode, sparseEncode } from './csr.js'
export {
  bitmaskFromDense,
  bitmaskLinear,
  bitmaskToDense,
  bsrFromDense,
  bsrLinear,
  bsrToDense,
  nmFromDense,
  nmLinear,
  nmToDense,
} from './sparse-formats.js'
export { multiHeadAttention, type AttentionOptions } from './composite/attention.js'
export {
  batchNorm,
  batchNormInference,
  foldBatchNorm,
  type BatchNormResult,
  type BatchNormThen,
  type RunningStatistics,
} from './composite/batch-norm.js'
export { concat, stack } from './composite/concat.js'
export {
  conv1d,
  conv2d,
  convTranspose1d,
  convTranspose2d,
  type Conv1dOptions,
  type Conv2dOptions,
  type ConvTranspose1dOptions,
  type ConvTranspose2dOptions,
  type Padding1d,
  type Padding2d,
} from './composite/convolution.js'
export { ctcLoss, type CtcOptions } from './composite/ctc.js'
export { ctcBeam, ctcGreedy, type CtcBeamOptions, type CtcDecodeOptions, type CtcResult } from './composite/ctc-decode.js'
export { dropout } from './composite/dropout.js'
export { acos, acosh, asin, asinh, atan, atanh, ceil, cosh, floor, realPower, sinh, tan, trunc } from './composite/functions.js'
export { embedding, embeddingBag, type EmbeddingBagOptions, type EmbeddingOptions } from './composite/embedding.js'
export { average, dot, flatten, norm, pow, square, stopGradient } from './composite/elementary.js'
export { hvp } from './composite/hvp.js'
export { crossEntropy, nllLoss, softCrossEntropy, type CrossEntropyOptions, type NllOptions } from './composite/loss.js'
export {
  bceWithLogits,
  cosineEmbeddingLoss,
  cosineSimilarity,
  hingeLoss,
  huberLoss,
  klLoss,
  l1Loss,
  marginRankingLoss,
  mse,
  smoothL1Loss,
  tripletMarginLoss,
  type BceOptions,
  type KlOptions,
  type LossOptions,
} from './composite/losses.js'
export type { Reduction } from './composite/reduction.js'
export { einsum } from './composite/einsum.js'
export { dynamicConv, geglu, glu, highway, lightweightConv, swiglu } from './composite/gated.js'
export { rotary, type RotaryOptions } from './composite/rotary.js'
export { argmin, logSumExp, prod, std } from './composite/statistics.js'
export { greaterEqual, less, lessEqual, logicalAnd, logicalNot, logicalOr, notEqual, power } from './composite/compare.js'
export { flip, indexSelect, pad, repeatInterleave, roll, split, squeeze, tril, triu, unsqueeze, type PadMode } from './composite/shape.js'
export { mean, variance } from './composite/moments.js'
export {
  adaptiveAvgPool2d,
  adaptiveMaxPool2d,
  avgPool1d,
  avgPool2d,
  globalAvgPool,
  globalMaxPool,
  maxPool1d,
  maxPool2d,
  maxPool2dWithIndex,
  type AvgPool1dOptions,
  type AvgPoolOptions,
  type Pool1dOptions,
  type PoolOptions,
} from './composite/pooling.js'
export {
  gru,
  lstm,
  type GruResult,
  type LstmResult,
  type RecurrentOptions,
  type RecurrentRun,
  type RecurrentWeights,
} from './composite/recurrent.js'
export { logSoftmax, softmax } from './composite/softmax.js'
export { fakeQuantize, fakeQuantizeRows, type FakeGradient, type FakeQuantizeOptions } from './fake-quantize.js'
export { clipSte, roundSte, signSte } from './composite/straight-through.js'
