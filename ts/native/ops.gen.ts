// Generated from native/ops/ops.def by tools/gen.ts. Do not edit.
import type { DType } from '../base/dtypes.gen.js'

export type Activation = 'none' | 'relu' | 'gelu' | 'tanh' | 'sigmoid' | 'gelu_tanh'
export type ConvActivation = 'clip' | 'hard_swish' | 'silu' | 'sigmoid'
export type Nonlinearity = 'leaky_relu' | 'elu' | 'gelu' | 'gelu_tanh' | 'silu' | 'mish' | 'hard_swish' | 'hard_sigmoid' | 'softplus' | 'softsign' | 'log_sigmoid'
export type BlockFormat = 'q8_0' | 'q4_0' | 'q4_1' | 'q4_k' | 'q6_k'

export const enumValues: Readonly<Record<string, readonly string[]>> = {
  activation: ['none', 'relu', 'gelu', 'tanh', 'sigmoid', 'gelu_tanh'],
  conv_activation: ['clip', 'hard_swish', 'silu', 'sigmoid'],
  nonlinearity: ['leaky_relu', 'elu', 'gelu', 'gelu_tanh', 'silu', 'mish', 'hard_swish', 'hard_sigmoid', 'softplus', 'softsign', 'log_sigmoid'],
  block_format: ['q8_0', 'q4_0', 'q4_1', 'q4_k', 'q6_k'],
}

/** Argument and result types of every native op; T is the tensor type. */
export interface OpTable<T> {
  neg: { args: [x: T]; result: T; tensors: 'x' }
  abs: { args: [x: T]; result: T; tensors: 'x' }
  sign: { args: [x: T]; result: T; tensors: 'x' }
  step: { args: [x: T]; result: T; tensors: 'x' }
  exp: { args: [x: T]; result: T; tensors: 'x' }
  log: { args: [x: T]; result: T; tensors: 'x' }
  sqrt: { args: [x: T]; result: T; tensors: 'x' }
  reciprocal: { args: [x: T]; result: T; tensors: 'x' }
  sin: { args: [x: T]; result: T; tensors: 'x' }
  cos: { args: [x: T]; result: T; tensors: 'x' }
  tanh: { args: [x: T]; result: T; tensors: 'x' }
  sigmoid: { args: [x: T]; result: T; tensors: 'x' }
  relu: { args: [x: T]; result: T; tensors: 'x' }
  erf: { args: [x: T]; result: T; tensors: 'x' }
  gelu: { args: [x: T]; result: T; tensors: 'x' }
  round: { args: [x: T]; result: T; tensors: 'x' }
  clip: { args: [x: T, lo: number, hi: number]; result: T; tensors: 'x' }
  nonlinear: { args: [x: T, kind: Nonlinearity, p: number, q: number]; result: T; tensors: 'x' }
  nonlinear_grad: { args: [x: T, dy: T, kind: Nonlinearity, p: number, q: number]; result: T; tensors: 'x' | 'dy' }
  add: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  sub: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  mul: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  div: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  maximum: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  minimum: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  greater: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  equal: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  gate: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  scale_shift: { args: [x: T, scale: number, shift: number]; result: T; tensors: 'x' }
  where: { args: [condition: T, a: T, b: T]; result: T; tensors: 'condition' | 'a' | 'b' }
  copy: { args: [x: T]; result: T; tensors: 'x' }
  cast: { args: [x: T, dtype: DType]; result: T; tensors: 'x' }
  concat2: { args: [a: T, b: T, axis: number]; result: T; tensors: 'a' | 'b' }
  pad_slice: { args: [x: T, shape: readonly number[], start: readonly number[]]; result: T; tensors: 'x' }
  one_hot: { args: [labels: T, classes: number]; result: T; tensors: 'labels' }
  assign: { args: [x: T, value: T]; result: void; tensors: 'value' }
  sum: { args: [x: T, axes: readonly number[], keepDims: boolean]; result: T; tensors: 'x' }
  amax: { args: [x: T, axes: readonly number[], keepDims: boolean]; result: T; tensors: 'x' }
  amin: { args: [x: T, axes: readonly number[], keepDims: boolean]; result: T; tensors: 'x' }
  argmax: { args: [x: T]; result: T; tensors: 'x' }
  cumsum: { args: [x: T, axis: number, exclusive: boolean, reverse: boolean]; result: T; tensors: 'x' }
  top_k: { args: [x: T, k: number, largest: boolean]; result: [y: T, index: T]; tensors: 'x' }
  count_nonfinite: { args: [x: T]; result: T; tensors: 'x' }
  count_nonzero: { args: [x: T]; result: T; tensors: 'x' }
  matmul: { args: [a: T, b: T, transposeA: boolean, transposeB: boolean]; result: T; tensors: 'a' | 'b' }
  matmul_half: { args: [a: T, b: T, bias: T | null, transposeA: boolean, transposeB: boolean, dtype: DType]; result: T; tensors: 'a' | 'b' | 'bias' }
  linear: { args: [x: T, w: T, bias: T | null]; result: T; tensors: 'x' | 'w' | 'bias' }
  linear_fused: { args: [x: T, w: T, bias: T | null, residual: T | null, act: Activation]; result: T; tensors: 'x' | 'w' | 'bias' | 'residual' }
  gemm_pack: { args: [w: T]; result: T; tensors: 'w' }
  linear_packed: { args: [x: T, packed: T, bias: T | null, residual: T | null, out: number, act: Activation]; result: T; tensors: 'x' | 'packed' | 'bias' | 'residual' }
  gemm: { args: [a: T, b: T, c: T | null, transposeA: boolean, transposeB: boolean, alpha: number, beta: number]; result: T; tensors: 'a' | 'b' | 'c' }
  bf16_pack: { args: [w: T]; result: T; tensors: 'w' }
  linear_bf16: { args: [x: T, packed: T, bias: T | null, out: number, act: Activation, dtype: DType]; result: T; tensors: 'x' | 'packed' | 'bias' }
  conv2d: { args: [x: T, w: T, bias: T | null, stride: readonly number[], padding: readonly number[]]; result: T; tensors: 'x' | 'w' | 'bias' }
  conv2d_grad_input: { args: [dy: T, w: T, inputShape: readonly number[], stride: readonly number[], padding: readonly number[]]; result: T; tensors: 'dy' | 'w' }
  conv2d_grad_weight: { args: [x: T, dy: T, weightShape: readonly number[], stride: readonly number[], padding: readonly number[]]; result: T; tensors: 'x' | 'dy' }
  conv2d_max_pool: { args: [x: T, w: T, bias: T | null, stride: readonly number[], padding: readonly number[], pool: readonly number[]]; result: [y: T, index: T]; tensors: 'x' | 'w' | 'bias' }
  conv2d_select: { args: [x: T, w: T, index: T, stride: readonly number[], padding: readonly number[], pool: readonly number[]]; result: T; tensors: 'x' | 'w' | 'index' }
  conv2d_select_grad_input: { args: [dy: T, index: T, w: T, inputShape: readonly number[], stride: readonly number[], padding: readonly number[], pool: readonly number[]]; result: T; tensors: 'dy' | 'index' | 'w' }
  conv2d_select_grad_weight: { args: [x: T, dy: T, index: T, weightShape: readonly number[], stride: readonly number[], padding: readonly number[], pool: readonly number[]]; result: T; tensors: 'x' | 'dy' | 'index' }
  conv2d_grouped: { args: [x: T, w: T, bias: T | null, stride: readonly number[], padding: readonly number[], dilation: readonly number[], groups: number]; result: T; tensors: 'x' | 'w' | 'bias' }
  conv2d_grouped_grad_input: { args: [dy: T, w: T, inputShape: readonly number[], stride: readonly number[], padding: readonly number[], dilation: readonly number[], groups: number]; result: T; tensors: 'dy' | 'w' }
  conv2d_grouped_grad_weight: { args: [x: T, dy: T, weightShape: readonly number[], stride: readonly number[], padding: readonly number[], dilation: readonly number[], groups: number]; result: T; tensors: 'x' | 'dy' }
  conv2d_last_pack: { args: [w: T, scale: T | null, groups: number]; result: T; tensors: 'w' | 'scale' }
  conv2d_last: { args: [x: T, packed: T, bias: T | null, residual: T | null, weightShape: readonly number[], stride: readonly number[], padding: readonly number[], dilation: readonly number[], groups: number, act: ConvActivation, lo: number, hi: number, scale: number, shift: number]; result: T; tensors: 'x' | 'packed' | 'bias' | 'residual' }
  conv2d_winograd_pack: { args: [w: T, scale: T | null, tile: number]; result: T; tensors: 'w' | 'scale' }
  conv2d_winograd: { args: [x: T, packed: T, bias: T | null, residual: T | null, out: number, tile: number, padding: readonly number[], act: ConvActivation, lo: number, hi: number, scale: number, shift: number]; result: T; tensors: 'x' | 'packed' | 'bias' | 'residual' }
  pool2d_last: { args: [x: T, kernel: readonly number[], stride: readonly number[], padding: readonly number[], ceil: boolean, average: boolean, countPadding: boolean]; result: T; tensors: 'x' }
  max_pool2d: { args: [x: T, kernel: readonly number[], stride: readonly number[], padding: readonly number[], ceil: boolean]; result: [y: T, index: T]; tensors: 'x' }
  max_unpool2d: { args: [dy: T, index: T, inputShape: readonly number[]]; result: T; tensors: 'dy' | 'index' }
  pool_select2d: { args: [x: T, index: T]; result: T; tensors: 'x' | 'index' }
  avg_pool2d: { args: [x: T, kernel: readonly number[], stride: readonly number[], padding: readonly number[], ceil: boolean, countPadding: boolean]; result: T; tensors: 'x' }
  avg_pool2d_grad: { args: [dy: T, inputShape: readonly number[], kernel: readonly number[], stride: readonly number[], padding: readonly number[], ceil: boolean, countPadding: boolean]; result: T; tensors: 'dy' }
  softmax: { args: [x: T]; result: T; tensors: 'x' }
  log_softmax: { args: [x: T]; result: T; tensors: 'x' }
  attention: { args: [q: T, k: T, v: T, mask: T | null, keyMask: T | null, heads: number, scale: number, causal: boolean, dropout: number, seed: number, stream: number]; result: [y: T, lse: T]; tensors: 'q' | 'k' | 'v' | 'mask' | 'keyMask' }
  attention_grad: { args: [q: T, k: T, v: T, mask: T | null, keyMask: T | null, y: T, lse: T, dy: T, heads: number, scale: number, causal: boolean, dropout: number, seed: number, stream: number]; result: [dq: T, dk: T, dv: T]; tensors: 'q' | 'k' | 'v' | 'mask' | 'keyMask' | 'y' | 'lse' | 'dy' }
  layer_norm: { args: [x: T, gamma: T | null, beta: T | null, eps: number]; result: [y: T, mean: T, rstd: T]; tensors: 'x' | 'gamma' | 'beta' }
  layer_norm_grad: { args: [x: T, gamma: T | null, mean: T, rstd: T, dy: T]; result: [dx: T, dgamma: T, dbeta: T]; tensors: 'x' | 'gamma' | 'mean' | 'rstd' | 'dy' }
  rms_norm: { args: [x: T, gamma: T | null, eps: number]; result: [y: T, rstd: T]; tensors: 'x' | 'gamma' }
  rms_norm_grad: { args: [x: T, gamma: T | null, rstd: T, dy: T]; result: [dx: T, dgamma: T]; tensors: 'x' | 'gamma' | 'rstd' | 'dy' }
  batch_norm: { args: [x: T, gamma: T | null, beta: T | null, residual: T | null, eps: number, relu: boolean]; result: [y: T, mean: T, variance: T]; tensors: 'x' | 'gamma' | 'beta' | 'residual' }
  batch_norm_grad: { args: [x: T, gamma: T | null, mean: T, variance: T, y: T | null, dy: T, eps: number, residual: boolean]; result: [dx: T, dgamma: T, dbeta: T, dresidual: T]; tensors: 'x' | 'gamma' | 'mean' | 'variance' | 'y' | 'dy' }
  cross_entropy: { args: [logits: T, labels: T]; result: T; tensors: 'logits' | 'labels' }
  cross_entropy_grad: { args: [logits: T, labels: T, dy: T]; result: T; tensors: 'logits' | 'labels' | 'dy' }
  ctc_loss: { args: [logProbs: T, targets: T, inputLengths: T | null, targetLengths: T | null, blank: number, zeroInfinity: boolean]; result: T; tensors: 'logProbs' | 'targets' | 'inputLengths' | 'targetLengths' }
  ctc_loss_grad: { args: [logProbs: T, targets: T, inputLengths: T | null, targetLengths: T | null, dloss: T, blank: number, zeroInfinity: boolean]; result: T; tensors: 'logProbs' | 'targets' | 'inputLengths' | 'targetLengths' | 'dloss' }
  gather: { args: [table: T, index: T]; result: T; tensors: 'table' | 'index' }
  scatter_add: { args: [dy: T, index: T, rows: number]; result: T; tensors: 'dy' | 'index' }
  gather_along: { args: [x: T, index: T, axis: number]; result: T; tensors: 'x' | 'index' }
  scatter_along: { args: [dy: T, index: T, axis: number, size: number]; result: T; tensors: 'dy' | 'index' }
  lstm: { args: [x: T, wIh: T, wHh: T, bias: T | null, h0: T | null, c0: T | null, lengths: T | null, reverse: boolean]; result: [states: T, gates: T, cells: T, previous: T]; tensors: 'x' | 'wIh' | 'wHh' | 'bias' | 'h0' | 'c0' | 'lengths' }
  lstm_grad: { args: [x: T, wIh: T, wHh: T, c0: T | null, lengths: T | null, gates: T, cells: T, previous: T, dstates: T, reverse: boolean]; result: [dx: T, dwIh: T, dwHh: T, dbias: T, dh0: T, dc0: T]; tensors: 'x' | 'wIh' | 'wHh' | 'c0' | 'lengths' | 'gates' | 'cells' | 'previous' | 'dstates' }
  gru: { args: [x: T, wIh: T, wHh: T, bIh: T | null, bHh: T | null, h0: T | null, lengths: T | null, reverse: boolean]; result: [states: T, gates: T, recurrent: T, previous: T]; tensors: 'x' | 'wIh' | 'wHh' | 'bIh' | 'bHh' | 'h0' | 'lengths' }
  gru_grad: { args: [x: T, wIh: T, wHh: T, lengths: T | null, gates: T, recurrent: T, previous: T, dstates: T, reverse: boolean]; result: [dx: T, dwIh: T, dwHh: T, dbIh: T, dbHh: T, dh0: T]; tensors: 'x' | 'wIh' | 'wHh' | 'lengths' | 'gates' | 'recurrent' | 'previous' | 'dstates' }
  random_uniform: { args: [shape: readonly number[], seed: number, stream: number]; result: T; tensors: never }
  random_normal: { args: [shape: readonly number[], seed: number, stream: number]; result: T; tensors: never }
  sgd_step: { args: [p: T, g: T, velocity: T, mask: T | null, lr: number, momentum: number, weightDecay: number, nesterov: boolean]; result: void; tensors: 'g' | 'mask' }
  adamw_step: { args: [p: T, g: T, m: T, v: T, mask: T | null, lr: number, beta1: number, beta2: number, eps: number, weightDecay: number, step: number]; result: void; tensors: 'g' | 'mask' }
  adam_step: { args: [p: T, g: T, m: T, v: T, mask: T | null, lr: number, beta1: number, beta2: number, eps: number, weightDecay: number, step: number]; result: void; tensors: 'g' | 'mask' }
  rmsprop_step: { args: [p: T, g: T, square: T, mean: T, velocity: T, mask: T | null, lr: number, alpha: number, eps: number, momentum: number, weightDecay: number, centered: boolean]; result: void; tensors: 'g' | 'mask' }
  lamb_step: { args: [p: T, g: T, m: T, v: T, mask: T | null, lr: number, beta1: number, beta2: number, eps: number, weightDecay: number, phiMin: number, phiMax: number, step: number]; result: void; tensors: 'g' | 'mask' }
  inner_product: { args: [a: T, b: T]; result: T; tensors: 'a' | 'b' }
  axpby: { args: [y: T, x: T, alpha: number, beta: number]; result: void; tensors: 'x' }
  orthogonalize: { args: [v: T, basis: T, rows: number]; result: [coefficients: T, norm: T]; tensors: 'basis' }
  topk_mask: { args: [scores: T, k: number, magnitude: boolean]; result: T; tensors: 'scores' }
  topk_mask_rows: { args: [scores: T, k: number, magnitude: boolean]; result: T; tensors: 'scores' }
  threshold_mask: { args: [scores: T, threshold: number, magnitude: boolean]; result: T; tensors: 'scores' }
  nm_mask: { args: [scores: T, n: number, m: number, magnitude: boolean]; result: T; tensors: 'scores' }
  mask_slice: { args: [mask: T, start: number, size: number]; result: T; tensors: 'mask' }
  mask_count: { args: [mask: T, size: number]; result: T; tensors: 'mask' }
  mask_unpack: { args: [mask: T, shape: readonly number[]]; result: T; tensors: 'mask' }
  mask_pack: { args: [x: T]; result: T; tensors: 'x' }
  mask_apply: { args: [x: T, mask: T]; result: T; tensors: 'x' | 'mask' }
  range_rows: { args: [x: T, groups: number]; result: [lo: T, hi: T]; tensors: 'x' }
  quantize_rows: { args: [x: T, scale: T, zero: T | null, qmin: number, qmax: number]; result: T; tensors: 'x' | 'scale' | 'zero' }
  dequantize_rows: { args: [q: T, scale: T, zero: T | null]; result: T; tensors: 'q' | 'scale' | 'zero' }
  fake_quantize_rows: { args: [x: T, scale: T, zero: T | null, qmin: number, qmax: number]; result: T; tensors: 'x' | 'scale' | 'zero' }
  fake_quantize_rows_grad: { args: [x: T, dy: T, scale: T, zero: T | null, qmin: number, qmax: number, learned: boolean]; result: [dx: T, dscale: T]; tensors: 'x' | 'dy' | 'scale' | 'zero' }
  pack_bits: { args: [q: T, bits: number]; result: T; tensors: 'q' }
  unpack_bits: { args: [packed: T, bits: number, size: number]; result: T; tensors: 'packed' }
  block_encode: { args: [x: T, format: BlockFormat]; result: T; tensors: 'x' }
  block_decode: { args: [blocks: T, format: BlockFormat]; result: T; tensors: 'blocks' }
  histogram: { args: [x: T, lo: number, hi: number, bins: number]; result: T; tensors: 'x' }
  qgemm_pack: { args: [w: T]; result: T; tensors: 'w' }
  qgemm_s32: { args: [x: T, packed: T, xZeros: T | null, wZeros: T | null, out: number, xZero: number]; result: T; tensors: 'x' | 'packed' | 'xZeros' | 'wZeros' }
  qlinear: { args: [x: T, packed: T, wScale: T, bias: T | null, out: number, xScale: number, xZero: number, act: Activation]; result: T; tensors: 'x' | 'packed' | 'wScale' | 'bias' }
  qlinear_dynamic: { args: [x: T, packed: T, wScale: T, bias: T | null, residual: T | null, out: number, symmetric: boolean, act: Activation]; result: T; tensors: 'x' | 'packed' | 'wScale' | 'bias' | 'residual' }
  qmatmul: { args: [x: T, packed: T, wScale: T, bias: T | null, residual: T | null, xScales: T | null, xZeros: T | null, wZeros: T | null, out: number, xScale: number, xZero: number, act: Activation, dtype: DType, yScale: number, yZero: number]; result: T; tensors: 'x' | 'packed' | 'wScale' | 'bias' | 'residual' | 'xScales' | 'xZeros' | 'wZeros' }
  qmatmul_fixed: { args: [x: T, packed: T, bias: T | null, multiplier: T, exponent: T, wZeros: T | null, out: number, xZero: number, dtype: DType, yZero: number, lo: number, hi: number]; result: T; tensors: 'x' | 'packed' | 'bias' | 'multiplier' | 'exponent' | 'wZeros' }
  qconv2d_pack: { args: [w: T, groups: number]; result: T; tensors: 'w' }
  qconv2d_last: { args: [x: T, packed: T, wScale: T, bias: T | null, residual: T | null, weightShape: readonly number[], stride: readonly number[], padding: readonly number[], dilation: readonly number[], groups: number, xScale: number, xZero: number, act: ConvActivation, lo: number, hi: number, scale: number, shift: number, dtype: DType, yScale: number, yZero: number]; result: T; tensors: 'x' | 'packed' | 'wScale' | 'bias' | 'residual' }
  qconv2d: { args: [x: T, packed: T, wScale: T, bias: T | null, weightShape: readonly number[], stride: readonly number[], padding: readonly number[], dilation: readonly number[], groups: number, xScale: number, xZero: number]; result: T; tensors: 'x' | 'packed' | 'wScale' | 'bias' }
  wgemm_pack: { args: [q: T, scale: T, zero: T | null, bits: number]; result: T; tensors: 'q' | 'scale' | 'zero' }
  wgemm_unpack: { args: [packed: T, out: number, cols: number]; result: T; tensors: 'packed' }
  wgemm: { args: [x: T, packed: T, bias: T | null, residual: T | null, out: number, act: Activation]; result: T; tensors: 'x' | 'packed' | 'bias' | 'residual' }
  mask_indices: { args: [mask: T, size: number]; result: T; tensors: 'mask' }
  rows_dot: { args: [x: T, w: T, scale: T | null, bias: T | null, index: T, offsets: T | null, base: T | null]; result: T; tensors: 'x' | 'w' | 'scale' | 'bias' | 'index' | 'offsets' | 'base' }
  ternary_pack: { args: [out: number, cols: number, seed: number, stream: number]; result: T; tensors: never }
  ternary_unpack: { args: [packed: T, out: number, cols: number]; result: T; tensors: 'packed' }
  ternary_project: { args: [x: T, packed: T, out: number]; result: T; tensors: 'x' | 'packed' }
  dual_linear: { args: [x: T, w: T, scale: T | null, bias: T | null, projection: T | null, little: T, threshold: T, k: number, copies: number, insensitive: number, below: boolean]; result: [y: T, count: T]; tensors: 'x' | 'w' | 'scale' | 'bias' | 'projection' | 'little' | 'threshold' }
  dual_lstm: { args: [x: T, wIh: T, wHh: T, scaleIh: T | null, scaleHh: T | null, bias: T | null, projectionX: T | null, projectionH: T | null, littleX: T | null, littleH: T, h0: T | null, c0: T | null, lengths: T | null, thresholds: T, k: number, copies: number, insensitive: number, reverse: boolean]; result: [states: T, count: T]; tensors: 'x' | 'wIh' | 'wHh' | 'scaleIh' | 'scaleHh' | 'bias' | 'projectionX' | 'projectionH' | 'littleX' | 'littleH' | 'h0' | 'c0' | 'lengths' | 'thresholds' }
  dual_gru: { args: [x: T, wIh: T, wHh: T, scaleIh: T | null, scaleHh: T | null, bIh: T | null, bHh: T | null, projectionX: T | null, projectionH: T | null, littleX: T | null, littleH: T, h0: T | null, lengths: T | null, thresholds: T, k: number, copies: number, insensitive: number, reverse: boolean]; result: [states: T, count: T]; tensors: 'x' | 'wIh' | 'wHh' | 'scaleIh' | 'scaleHh' | 'bIh' | 'bHh' | 'projectionX' | 'projectionH' | 'littleX' | 'littleH' | 'h0' | 'lengths' | 'thresholds' }
  csr_from_dense: { args: [w: T]; result: [values: T, indptr: T, columns: T]; tensors: 'w' }
  csr_to_dense: { args: [values: T, indptr: T, columns: T, cols: number]; result: T; tensors: 'values' | 'indptr' | 'columns' }
  csr_group: { args: [values: T, indptr: T, columns: T, cols: number]; result: T; tensors: 'values' | 'indptr' | 'columns' }
  csr_linear: { args: [x: T, values: T, indptr: T, columns: T, scale: T | null, bias: T | null, packed: T | null]; result: T; tensors: 'x' | 'values' | 'indptr' | 'columns' | 'scale' | 'bias' | 'packed' }
  csr_multiply: { args: [values: T, indptr: T, columns: T, x: T, scale: T | null, bias: T | null, packed: T | null]; result: T; tensors: 'values' | 'indptr' | 'columns' | 'x' | 'scale' | 'bias' | 'packed' }
  bsr_from_dense: { args: [w: T, blockRows: number, blockCols: number]; result: [values: T, indptr: T, columns: T]; tensors: 'w' }
  bsr_to_dense: { args: [values: T, indptr: T, columns: T, rows: number, cols: number, blockRows: number, blockCols: number]; result: T; tensors: 'values' | 'indptr' | 'columns' }
  bsr_linear: { args: [x: T, values: T, indptr: T, columns: T, scale: T | null, bias: T | null, rows: number, blockRows: number, blockCols: number, xScale: number, xZero: number]; result: T; tensors: 'x' | 'values' | 'indptr' | 'columns' | 'scale' | 'bias' }
  bitmask_from_dense: { args: [w: T]; result: [values: T, indptr: T, bits: T]; tensors: 'w' }
  bitmask_to_dense: { args: [values: T, indptr: T, bits: T, cols: number]; result: T; tensors: 'values' | 'indptr' | 'bits' }
  bitmask_linear: { args: [x: T, values: T, indptr: T, bits: T, scale: T | null, bias: T | null]; result: T; tensors: 'x' | 'values' | 'indptr' | 'bits' | 'scale' | 'bias' }
  nm_from_dense: { args: [w: T]; result: [values: T, indices: T]; tensors: 'w' }
  nm_to_dense: { args: [values: T, indices: T, cols: number]; result: T; tensors: 'values' | 'indices' }
  nm_linear: { args: [x: T, values: T, indices: T, scale: T | null, bias: T | null]; result: T; tensors: 'x' | 'values' | 'indices' | 'scale' | 'bias' }
  sparse_encode: { args: [q: T]; result: T; tensors: 'q' }
  sparse_decode: { args: [code: T, shape: readonly number[]]; result: T; tensors: 'code' }
}

export type OpName = keyof OpTable<unknown>
export type OpParam = readonly [kind: string, name: string, enumName?: string]
export interface OpRow {
  readonly name: OpName
  readonly params: readonly OpParam[]
  readonly results: number
  readonly schema: string
}

/** In the order of native/ops/ops.def: the index is the op's number at the seam. */
export const opRows: readonly OpRow[] = [
  { name: 'neg', params: [['T', 'x']], results: 1, schema: 'neg(T:x,R:y)' },
  { name: 'abs', params: [['T', 'x']], results: 1, schema: 'abs(T:x,R:y)' },
  { name: 'sign', params: [['T', 'x']], results: 1, schema: 'sign(T:x,R:y)' },
  { name: 'step', params: [['T', 'x']], results: 1, schema: 'step(T:x,R:y)' },
  { name: 'exp', params: [['T', 'x']], results: 1, schema: 'exp(T:x,R:y)' },
  { name: 'log', params: [['T', 'x']], results: 1, schema: 'log(T:x,R:y)' },
  { name: 'sqrt', params: [['T', 'x']], results: 1, schema: 'sqrt(T:x,R:y)' },
  { name: 'reciprocal', params: [['T', 'x']], results: 1, schema: 'reciprocal(T:x,R:y)' },
  { name: 'sin', params: [['T', 'x']], results: 1, schema: 'sin(T:x,R:y)' },
  { name: 'cos', params: [['T', 'x']], results: 1, schema: 'cos(T:x,R:y)' },
  { name: 'tanh', params: [['T', 'x']], results: 1, schema: 'tanh(T:x,R:y)' },
  { name: 'sigmoid', params: [['T', 'x']], results: 1, schema: 'sigmoid(T:x,R:y)' },
  { name: 'relu', params: [['T', 'x']], results: 1, schema: 'relu(T:x,R:y)' },
  { name: 'erf', params: [['T', 'x']], results: 1, schema: 'erf(T:x,R:y)' },
  { name: 'gelu', params: [['T', 'x']], results: 1, schema: 'gelu(T:x,R:y)' },
  { name: 'round', params: [['T', 'x']], results: 1, schema: 'round(T:x,R:y)' },
  { name: 'clip', params: [['T', 'x'], ['F', 'lo'], ['F', 'hi']], results: 1, schema: 'clip(T:x,F:lo,F:hi,R:y)' },
  { name: 'nonlinear', params: [['T', 'x'], ['E', 'kind', 'nonlinearity'], ['F', 'p'], ['F', 'q']], results: 1, schema: 'nonlinear(T:x,E:nonlinearity:kind,F:p,F:q,R:y)' },
  { name: 'nonlinear_grad', params: [['T', 'x'], ['T', 'dy'], ['E', 'kind', 'nonlinearity'], ['F', 'p'], ['F', 'q']], results: 1, schema: 'nonlinear_grad(T:x,T:dy,E:nonlinearity:kind,F:p,F:q,R:dx)' },
  { name: 'add', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'add(T:a,T:b,R:y)' },
  { name: 'sub', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'sub(T:a,T:b,R:y)' },
  { name: 'mul', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'mul(T:a,T:b,R:y)' },
  { name: 'div', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'div(T:a,T:b,R:y)' },
  { name: 'maximum', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'maximum(T:a,T:b,R:y)' },
  { name: 'minimum', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'minimum(T:a,T:b,R:y)' },
  { name: 'greater', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'greater(T:a,T:b,R:y)' },
  { name: 'equal', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'equal(T:a,T:b,R:y)' },
  { name: 'gate', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'gate(T:a,T:b,R:y)' },
  { name: 'scale_shift', params: [['T', 'x'], ['F', 'scale'], ['F', 'shift']], results: 1, schema: 'scale_shift(T:x,F:scale,F:shift,R:y)' },
  { name: 'where', params: [['T', 'condition'], ['T', 'a'], ['T', 'b']], results: 1, schema: 'where(T:condition,T:a,T:b,R:y)' },
  { name: 'copy', params: [['T', 'x']], results: 1, schema: 'copy(T:x,R:y)' },
  { name: 'cast', params: [['T', 'x'], ['D', 'dtype']], results: 1, schema: 'cast(T:x,D:dtype,R:y)' },
  { name: 'concat2', params: [['T', 'a'], ['T', 'b'], ['I', 'axis']], results: 1, schema: 'concat2(T:a,T:b,I:axis,R:y)' },
  { name: 'pad_slice', params: [['T', 'x'], ['L', 'shape'], ['L', 'start']], results: 1, schema: 'pad_slice(T:x,L:shape,L:start,R:y)' },
  { name: 'one_hot', params: [['T', 'labels'], ['I', 'classes']], results: 1, schema: 'one_hot(T:labels,I:classes,R:y)' },
  { name: 'assign', params: [['M', 'x'], ['T', 'value']], results: 0, schema: 'assign(M:x,T:value)' },
  { name: 'sum', params: [['T', 'x'], ['L', 'axes'], ['B', 'keepDims']], results: 1, schema: 'sum(T:x,L:axes,B:keep_dims,R:y)' },
  { name: 'amax', params: [['T', 'x'], ['L', 'axes'], ['B', 'keepDims']], results: 1, schema: 'amax(T:x,L:axes,B:keep_dims,R:y)' },
  { name: 'amin', params: [['T', 'x'], ['L', 'axes'], ['B', 'keepDims']], results: 1, schema: 'amin(T:x,L:axes,B:keep_dims,R:y)' },
  { name: 'argmax', params: [['T', 'x']], results: 1, schema: 'argmax(T:x,R:y)' },
  { name: 'cumsum', params: [['T', 'x'], ['I', 'axis'], ['B', 'exclusive'], ['B', 'reverse']], results: 1, schema: 'cumsum(T:x,I:axis,B:exclusive,B:reverse,R:y)' },
  { name: 'top_k', params: [['T', 'x'], ['I', 'k'], ['B', 'largest']], results: 2, schema: 'top_k(T:x,I:k,B:largest,R:y,R:index)' },
  { name: 'count_nonfinite', params: [['T', 'x']], results: 1, schema: 'count_nonfinite(T:x,R:count)' },
  { name: 'count_nonzero', params: [['T', 'x']], results: 1, schema: 'count_nonzero(T:x,R:count)' },
  { name: 'matmul', params: [['T', 'a'], ['T', 'b'], ['B', 'transposeA'], ['B', 'transposeB']], results: 1, schema: 'matmul(T:a,T:b,B:transpose_a,B:transpose_b,R:y)' },
  { name: 'matmul_half', params: [['T', 'a'], ['T', 'b'], ['O', 'bias'], ['B', 'transposeA'], ['B', 'transposeB'], ['D', 'dtype']], results: 1, schema: 'matmul_half(T:a,T:b,O:bias,B:transpose_a,B:transpose_b,D:dtype,R:y)' },
  { name: 'linear', params: [['T', 'x'], ['T', 'w'], ['O', 'bias']], results: 1, schema: 'linear(T:x,T:w,O:bias,R:y)' },
  { name: 'linear_fused', params: [['T', 'x'], ['T', 'w'], ['O', 'bias'], ['O', 'residual'], ['E', 'act', 'activation']], results: 1, schema: 'linear_fused(T:x,T:w,O:bias,O:residual,E:activation:act,R:y)' },
  { name: 'gemm_pack', params: [['T', 'w']], results: 1, schema: 'gemm_pack(T:w,R:packed)' },
  { name: 'linear_packed', params: [['T', 'x'], ['T', 'packed'], ['O', 'bias'], ['O', 'residual'], ['I', 'out'], ['E', 'act', 'activation']], results: 1, schema: 'linear_packed(T:x,T:packed,O:bias,O:residual,I:out,E:activation:act,R:y)' },
  { name: 'gemm', params: [['T', 'a'], ['T', 'b'], ['O', 'c'], ['B', 'transposeA'], ['B', 'transposeB'], ['F', 'alpha'], ['F', 'beta']], results: 1, schema: 'gemm(T:a,T:b,O:c,B:transpose_a,B:transpose_b,F:alpha,F:beta,R:y)' },
  { name: 'bf16_pack', params: [['T', 'w']], results: 1, schema: 'bf16_pack(T:w,R:packed)' },
  { name: 'linear_bf16', params: [['T', 'x'], ['T', 'packed'], ['O', 'bias'], ['I', 'out'], ['E', 'act', 'activation'], ['D', 'dtype']], results: 1, schema: 'linear_bf16(T:x,T:packed,O:bias,I:out,E:activation:act,D:dtype,R:y)' },
  { name: 'conv2d', params: [['T', 'x'], ['T', 'w'], ['O', 'bias'], ['L', 'stride'], ['L', 'padding']], results: 1, schema: 'conv2d(T:x,T:w,O:bias,L:stride,L:padding,R:y)' },
  { name: 'conv2d_grad_input', params: [['T', 'dy'], ['T', 'w'], ['L', 'inputShape'], ['L', 'stride'], ['L', 'padding']], results: 1, schema: 'conv2d_grad_input(T:dy,T:w,L:input_shape,L:stride,L:padding,R:dx)' },
  { name: 'conv2d_grad_weight', params: [['T', 'x'], ['T', 'dy'], ['L', 'weightShape'], ['L', 'stride'], ['L', 'padding']], results: 1, schema: 'conv2d_grad_weight(T:x,T:dy,L:weight_shape,L:stride,L:padding,R:dw)' },
  { name: 'conv2d_max_pool', params: [['T', 'x'], ['T', 'w'], ['O', 'bias'], ['L', 'stride'], ['L', 'padding'], ['L', 'pool']], results: 2, schema: 'conv2d_max_pool(T:x,T:w,O:bias,L:stride,L:padding,L:pool,R:y,R:index)' },
  { name: 'conv2d_select', params: [['T', 'x'], ['T', 'w'], ['T', 'index'], ['L', 'stride'], ['L', 'padding'], ['L', 'pool']], results: 1, schema: 'conv2d_select(T:x,T:w,T:index,L:stride,L:padding,L:pool,R:y)' },
  { name: 'conv2d_select_grad_input', params: [['T', 'dy'], ['T', 'index'], ['T', 'w'], ['L', 'inputShape'], ['L', 'stride'], ['L', 'padding'], ['L', 'pool']], results: 1, schema: 'conv2d_select_grad_input(T:dy,T:index,T:w,L:input_shape,L:stride,L:padding,L:pool,R:dx)' },
  { name: 'conv2d_select_grad_weight', params: [['T', 'x'], ['T', 'dy'], ['T', 'index'], ['L', 'weightShape'], ['L', 'stride'], ['L', 'padding'], ['L', 'pool']], results: 1, schema: 'conv2d_select_grad_weight(T:x,T:dy,T:index,L:weight_shape,L:stride,L:padding,L:pool,R:dw)' },
  { name: 'conv2d_grouped', params: [['T', 'x'], ['T', 'w'], ['O', 'bias'], ['L', 'stride'], ['L', 'padding'], ['L', 'dilation'], ['I', 'groups']], results: 1, schema: 'conv2d_grouped(T:x,T:w,O:bias,L:stride,L:padding,L:dilation,I:groups,R:y)' },
  { name: 'conv2d_grouped_grad_input', params: [['T', 'dy'], ['T', 'w'], ['L', 'inputShape'], ['L', 'stride'], ['L', 'padding'], ['L', 'dilation'], ['I', 'groups']], results: 1, schema: 'conv2d_grouped_grad_input(T:dy,T:w,L:input_shape,L:stride,L:padding,L:dilation,I:groups,R:dx)' },
  { name: 'conv2d_grouped_grad_weight', params: [['T', 'x'], ['T', 'dy'], ['L', 'weightShape'], ['L', 'stride'], ['L', 'padding'], ['L', 'dilation'], ['I', 'groups']], results: 1, schema: 'conv2d_grouped_grad_weight(T:x,T:dy,L:weight_shape,L:stride,L:padding,L:dilation,I:groups,R:dw)' },
  { name: 'conv2d_last_pack', params: [['T', 'w'], ['O', 'scale'], ['I', 'groups']], results: 1, schema: 'conv2d_last_pack(T:w,O:scale,I:groups,R:packed)' },
  { name: 'conv2d_last', params: [['T', 'x'], ['T', 'packed'], ['O', 'bias'], ['O', 'residual'], ['L', 'weightShape'], ['L', 'stride'], ['L', 'padding'], ['L', 'dilation'], ['I', 'groups'], ['E', 'act', 'conv_activation'], ['F', 'lo'], ['F', 'hi'], ['F', 'scale'], ['F', 'shift']], results: 1, schema: 'conv2d_last(T:x,T:packed,O:bias,O:residual,L:weight_shape,L:stride,L:padding,L:dilation,I:groups,E:conv_activation:act,F:lo,F:hi,F:scale,F:shift,R:y)' },
  { name: 'conv2d_winograd_pack', params: [['T', 'w'], ['O', 'scale'], ['I', 'tile']], results: 1, schema: 'conv2d_winograd_pack(T:w,O:scale,I:tile,R:packed)' },
  { name: 'conv2d_winograd', params: [['T', 'x'], ['T', 'packed'], ['O', 'bias'], ['O', 'residual'], ['I', 'out'], ['I', 'tile'], ['L', 'padding'], ['E', 'act', 'conv_activation'], ['F', 'lo'], ['F', 'hi'], ['F', 'scale'], ['F', 'shift']], results: 1, schema: 'conv2d_winograd(T:x,T:packed,O:bias,O:residual,I:out,I:tile,L:padding,E:conv_activation:act,F:lo,F:hi,F:scale,F:shift,R:y)' },
  { name: 'pool2d_last', params: [['T', 'x'], ['L', 'kernel'], ['L', 'stride'], ['L', 'padding'], ['B', 'ceil'], ['B', 'average'], ['B', 'countPadding']], results: 1, schema: 'pool2d_last(T:x,L:kernel,L:stride,L:padding,B:ceil,B:average,B:count_padding,R:y)' },
  { name: 'max_pool2d', params: [['T', 'x'], ['L', 'kernel'], ['L', 'stride'], ['L', 'padding'], ['B', 'ceil']], results: 2, schema: 'max_pool2d(T:x,L:kernel,L:stride,L:padding,B:ceil,R:y,R:index)' },
  { name: 'max_unpool2d', params: [['T', 'dy'], ['T', 'index'], ['L', 'inputShape']], results: 1, schema: 'max_unpool2d(T:dy,T:index,L:input_shape,R:dx)' },
  { name: 'pool_select2d', params: [['T', 'x'], ['T', 'index']], results: 1, schema: 'pool_select2d(T:x,T:index,R:y)' },
  { name: 'avg_pool2d', params: [['T', 'x'], ['L', 'kernel'], ['L', 'stride'], ['L', 'padding'], ['B', 'ceil'], ['B', 'countPadding']], results: 1, schema: 'avg_pool2d(T:x,L:kernel,L:stride,L:padding,B:ceil,B:count_padding,R:y)' },
  { name: 'avg_pool2d_grad', params: [['T', 'dy'], ['L', 'inputShape'], ['L', 'kernel'], ['L', 'stride'], ['L', 'padding'], ['B', 'ceil'], ['B', 'countPadding']], results: 1, schema: 'avg_pool2d_grad(T:dy,L:input_shape,L:kernel,L:stride,L:padding,B:ceil,B:count_padding,R:dx)' },
  { name: 'softmax', params: [['T', 'x']], results: 1, schema: 'softmax(T:x,R:y)' },
  { name: 'log_softmax', params: [['T', 'x']], results: 1, schema: 'log_softmax(T:x,R:y)' },
  { name: 'attention', params: [['T', 'q'], ['T', 'k'], ['T', 'v'], ['O', 'mask'], ['O', 'keyMask'], ['I', 'heads'], ['F', 'scale'], ['B', 'causal'], ['F', 'dropout'], ['I', 'seed'], ['I', 'stream']], results: 2, schema: 'attention(T:q,T:k,T:v,O:mask,O:key_mask,I:heads,F:scale,B:causal,F:dropout,I:seed,I:stream,R:y,R:lse)' },
  { name: 'attention_grad', params: [['T', 'q'], ['T', 'k'], ['T', 'v'], ['O', 'mask'], ['O', 'keyMask'], ['T', 'y'], ['T', 'lse'], ['T', 'dy'], ['I', 'heads'], ['F', 'scale'], ['B', 'causal'], ['F', 'dropout'], ['I', 'seed'], ['I', 'stream']], results: 3, schema: 'attention_grad(T:q,T:k,T:v,O:mask,O:key_mask,T:y,T:lse,T:dy,I:heads,F:scale,B:causal,F:dropout,I:seed,I:stream,R:dq,R:dk,R:dv)' },
  { name: 'layer_norm', params: [['T', 'x'], ['O', 'gamma'], ['O', 'beta'], ['F', 'eps']], results: 3, schema: 'layer_norm(T:x,O:gamma,O:beta,F:eps,R:y,R:mean,R:rstd)' },
  { name: 'layer_norm_grad', params: [['T', 'x'], ['O', 'gamma'], ['T', 'mean'], ['T', 'rstd'], ['T', 'dy']], results: 3, schema: 'layer_norm_grad(T:x,O:gamma,T:mean,T:rstd,T:dy,R:dx,R:dgamma,R:dbeta)' },
  { name: 'rms_norm', params: [['T', 'x'], ['O', 'gamma'], ['F', 'eps']], results: 2, schema: 'rms_norm(T:x,O:gamma,F:eps,R:y,R:rstd)' },
  { name: 'rms_norm_grad', params: [['T', 'x'], ['O', 'gamma'], ['T', 'rstd'], ['T', 'dy']], results: 2, schema: 'rms_norm_grad(T:x,O:gamma,T:rstd,T:dy,R:dx,R:dgamma)' },
  { name: 'batch_norm', params: [['T', 'x'], ['O', 'gamma'], ['O', 'beta'], ['O', 'residual'], ['F', 'eps'], ['B', 'relu']], results: 3, schema: 'batch_norm(T:x,O:gamma,O:beta,O:residual,F:eps,B:relu,R:y,R:mean,R:variance)' },
  { name: 'batch_norm_grad', params: [['T', 'x'], ['O', 'gamma'], ['T', 'mean'], ['T', 'variance'], ['O', 'y'], ['T', 'dy'], ['F', 'eps'], ['B', 'residual']], results: 4, schema: 'batch_norm_grad(T:x,O:gamma,T:mean,T:variance,O:y,T:dy,F:eps,B:residual,R:dx,R:dgamma,R:dbeta,R:dresidual)' },
  { name: 'cross_entropy', params: [['T', 'logits'], ['T', 'labels']], results: 1, schema: 'cross_entropy(T:logits,T:labels,R:loss)' },
  { name: 'cross_entropy_grad', params: [['T', 'logits'], ['T', 'labels'], ['T', 'dy']], results: 1, schema: 'cross_entropy_grad(T:logits,T:labels,T:dy,R:dlogits)' },
  { name: 'ctc_loss', params: [['T', 'logProbs'], ['T', 'targets'], ['O', 'inputLengths'], ['O', 'targetLengths'], ['I', 'blank'], ['B', 'zeroInfinity']], results: 1, schema: 'ctc_loss(T:log_probs,T:targets,O:input_lengths,O:target_lengths,I:blank,B:zero_infinity,R:loss)' },
  { name: 'ctc_loss_grad', params: [['T', 'logProbs'], ['T', 'targets'], ['O', 'inputLengths'], ['O', 'targetLengths'], ['T', 'dloss'], ['I', 'blank'], ['B', 'zeroInfinity']], results: 1, schema: 'ctc_loss_grad(T:log_probs,T:targets,O:input_lengths,O:target_lengths,T:dloss,I:blank,B:zero_infinity,R:dlog_probs)' },
  { name: 'gather', params: [['T', 'table'], ['T', 'index']], results: 1, schema: 'gather(T:table,T:index,R:y)' },
  { name: 'scatter_add', params: [['T', 'dy'], ['T', 'index'], ['I', 'rows']], results: 1, schema: 'scatter_add(T:dy,T:index,I:rows,R:dtable)' },
  { name: 'gather_along', params: [['T', 'x'], ['T', 'index'], ['I', 'axis']], results: 1, schema: 'gather_along(T:x,T:index,I:axis,R:y)' },
  { name: 'scatter_along', params: [['T', 'dy'], ['T', 'index'], ['I', 'axis'], ['I', 'size']], results: 1, schema: 'scatter_along(T:dy,T:index,I:axis,I:size,R:dx)' },
  { name: 'lstm', params: [['T', 'x'], ['T', 'wIh'], ['T', 'wHh'], ['O', 'bias'], ['O', 'h0'], ['O', 'c0'], ['O', 'lengths'], ['B', 'reverse']], results: 4, schema: 'lstm(T:x,T:w_ih,T:w_hh,O:bias,O:h0,O:c0,O:lengths,B:reverse,R:states,R:gates,R:cells,R:previous)' },
  { name: 'lstm_grad', params: [['T', 'x'], ['T', 'wIh'], ['T', 'wHh'], ['O', 'c0'], ['O', 'lengths'], ['T', 'gates'], ['T', 'cells'], ['T', 'previous'], ['T', 'dstates'], ['B', 'reverse']], results: 6, schema: 'lstm_grad(T:x,T:w_ih,T:w_hh,O:c0,O:lengths,T:gates,T:cells,T:previous,T:dstates,B:reverse,R:dx,R:dw_ih,R:dw_hh,R:dbias,R:dh0,R:dc0)' },
  { name: 'gru', params: [['T', 'x'], ['T', 'wIh'], ['T', 'wHh'], ['O', 'bIh'], ['O', 'bHh'], ['O', 'h0'], ['O', 'lengths'], ['B', 'reverse']], results: 4, schema: 'gru(T:x,T:w_ih,T:w_hh,O:b_ih,O:b_hh,O:h0,O:lengths,B:reverse,R:states,R:gates,R:recurrent,R:previous)' },
  { name: 'gru_grad', params: [['T', 'x'], ['T', 'wIh'], ['T', 'wHh'], ['O', 'lengths'], ['T', 'gates'], ['T', 'recurrent'], ['T', 'previous'], ['T', 'dstates'], ['B', 'reverse']], results: 6, schema: 'gru_grad(T:x,T:w_ih,T:w_hh,O:lengths,T:gates,T:recurrent,T:previous,T:dstates,B:reverse,R:dx,R:dw_ih,R:dw_hh,R:db_ih,R:db_hh,R:dh0)' },
  { name: 'random_uniform', params: [['L', 'shape'], ['I', 'seed'], ['I', 'stream']], results: 1, schema: 'random_uniform(L:shape,I:seed,I:stream,R:y)' },
  { name: 'random_normal', params: [['L', 'shape'], ['I', 'seed'], ['I', 'stream']], results: 1, schema: 'random_normal(L:shape,I:seed,I:stream,R:y)' },
  { name: 'sgd_step', params: [['M', 'p'], ['T', 'g'], ['M', 'velocity'], ['O', 'mask'], ['F', 'lr'], ['F', 'momentum'], ['F', 'weightDecay'], ['B', 'nesterov']], results: 0, schema: 'sgd_step(M:p,T:g,M:velocity,O:mask,F:lr,F:momentum,F:weight_decay,B:nesterov)' },
  { name: 'adamw_step', params: [['M', 'p'], ['T', 'g'], ['M', 'm'], ['M', 'v'], ['O', 'mask'], ['F', 'lr'], ['F', 'beta1'], ['F', 'beta2'], ['F', 'eps'], ['F', 'weightDecay'], ['I', 'step']], results: 0, schema: 'adamw_step(M:p,T:g,M:m,M:v,O:mask,F:lr,F:beta1,F:beta2,F:eps,F:weight_decay,I:step)' },
  { name: 'adam_step', params: [['M', 'p'], ['T', 'g'], ['M', 'm'], ['M', 'v'], ['O', 'mask'], ['F', 'lr'], ['F', 'beta1'], ['F', 'beta2'], ['F', 'eps'], ['F', 'weightDecay'], ['I', 'step']], results: 0, schema: 'adam_step(M:p,T:g,M:m,M:v,O:mask,F:lr,F:beta1,F:beta2,F:eps,F:weight_decay,I:step)' },
  { name: 'rmsprop_step', params: [['M', 'p'], ['T', 'g'], ['M', 'square'], ['M', 'mean'], ['M', 'velocity'], ['O', 'mask'], ['F', 'lr'], ['F', 'alpha'], ['F', 'eps'], ['F', 'momentum'], ['F', 'weightDecay'], ['B', 'centered']], results: 0, schema: 'rmsprop_step(M:p,T:g,M:square,M:mean,M:velocity,O:mask,F:lr,F:alpha,F:eps,F:momentum,F:weight_decay,B:centered)' },
  { name: 'lamb_step', params: [['M', 'p'], ['T', 'g'], ['M', 'm'], ['M', 'v'], ['O', 'mask'], ['F', 'lr'], ['F', 'beta1'], ['F', 'beta2'], ['F', 'eps'], ['F', 'weightDecay'], ['F', 'phiMin'], ['F', 'phiMax'], ['I', 'step']], results: 0, schema: 'lamb_step(M:p,T:g,M:m,M:v,O:mask,F:lr,F:beta1,F:beta2,F:eps,F:weight_decay,F:phi_min,F:phi_max,I:step)' },
  { name: 'inner_product', params: [['T', 'a'], ['T', 'b']], results: 1, schema: 'inner_product(T:a,T:b,R:y)' },
  { name: 'axpby', params: [['M', 'y'], ['T', 'x'], ['F', 'alpha'], ['F', 'beta']], results: 0, schema: 'axpby(M:y,T:x,F:alpha,F:beta)' },
  { name: 'orthogonalize', params: [['M', 'v'], ['T', 'basis'], ['I', 'rows']], results: 2, schema: 'orthogonalize(M:v,T:basis,I:rows,R:coefficients,R:norm)' },
  { name: 'topk_mask', params: [['T', 'scores'], ['I', 'k'], ['B', 'magnitude']], results: 1, schema: 'topk_mask(T:scores,I:k,B:magnitude,R:mask)' },
  { name: 'topk_mask_rows', params: [['T', 'scores'], ['I', 'k'], ['B', 'magnitude']], results: 1, schema: 'topk_mask_rows(T:scores,I:k,B:magnitude,R:mask)' },
  { name: 'threshold_mask', params: [['T', 'scores'], ['F', 'threshold'], ['B', 'magnitude']], results: 1, schema: 'threshold_mask(T:scores,F:threshold,B:magnitude,R:mask)' },
  { name: 'nm_mask', params: [['T', 'scores'], ['I', 'n'], ['I', 'm'], ['B', 'magnitude']], results: 1, schema: 'nm_mask(T:scores,I:n,I:m,B:magnitude,R:mask)' },
  { name: 'mask_slice', params: [['T', 'mask'], ['I', 'start'], ['I', 'size']], results: 1, schema: 'mask_slice(T:mask,I:start,I:size,R:part)' },
  { name: 'mask_count', params: [['T', 'mask'], ['I', 'size']], results: 1, schema: 'mask_count(T:mask,I:size,R:count)' },
  { name: 'mask_unpack', params: [['T', 'mask'], ['L', 'shape']], results: 1, schema: 'mask_unpack(T:mask,L:shape,R:y)' },
  { name: 'mask_pack', params: [['T', 'x']], results: 1, schema: 'mask_pack(T:x,R:mask)' },
  { name: 'mask_apply', params: [['T', 'x'], ['T', 'mask']], results: 1, schema: 'mask_apply(T:x,T:mask,R:y)' },
  { name: 'range_rows', params: [['T', 'x'], ['I', 'groups']], results: 2, schema: 'range_rows(T:x,I:groups,R:lo,R:hi)' },
  { name: 'quantize_rows', params: [['T', 'x'], ['T', 'scale'], ['O', 'zero'], ['I', 'qmin'], ['I', 'qmax']], results: 1, schema: 'quantize_rows(T:x,T:scale,O:zero,I:qmin,I:qmax,R:q)' },
  { name: 'dequantize_rows', params: [['T', 'q'], ['T', 'scale'], ['O', 'zero']], results: 1, schema: 'dequantize_rows(T:q,T:scale,O:zero,R:x)' },
  { name: 'fake_quantize_rows', params: [['T', 'x'], ['T', 'scale'], ['O', 'zero'], ['I', 'qmin'], ['I', 'qmax']], results: 1, schema: 'fake_quantize_rows(T:x,T:scale,O:zero,I:qmin,I:qmax,R:y)' },
  { name: 'fake_quantize_rows_grad', params: [['T', 'x'], ['T', 'dy'], ['T', 'scale'], ['O', 'zero'], ['I', 'qmin'], ['I', 'qmax'], ['B', 'learned']], results: 2, schema: 'fake_quantize_rows_grad(T:x,T:dy,T:scale,O:zero,I:qmin,I:qmax,B:learned,R:dx,R:dscale)' },
  { name: 'pack_bits', params: [['T', 'q'], ['I', 'bits']], results: 1, schema: 'pack_bits(T:q,I:bits,R:packed)' },
  { name: 'unpack_bits', params: [['T', 'packed'], ['I', 'bits'], ['I', 'size']], results: 1, schema: 'unpack_bits(T:packed,I:bits,I:size,R:q)' },
  { name: 'block_encode', params: [['T', 'x'], ['E', 'format', 'block_format']], results: 1, schema: 'block_encode(T:x,E:block_format:format,R:blocks)' },
  { name: 'block_decode', params: [['T', 'blocks'], ['E', 'format', 'block_format']], results: 1, schema: 'block_decode(T:blocks,E:block_format:format,R:x)' },
  { name: 'histogram', params: [['T', 'x'], ['F', 'lo'], ['F', 'hi'], ['I', 'bins']], results: 1, schema: 'histogram(T:x,F:lo,F:hi,I:bins,R:counts)' },
  { name: 'qgemm_pack', params: [['T', 'w']], results: 1, schema: 'qgemm_pack(T:w,R:packed)' },
  { name: 'qgemm_s32', params: [['T', 'x'], ['T', 'packed'], ['O', 'xZeros'], ['O', 'wZeros'], ['I', 'out'], ['I', 'xZero']], results: 1, schema: 'qgemm_s32(T:x,T:packed,O:x_zeros,O:w_zeros,I:out,I:x_zero,R:y)' },
  { name: 'qlinear', params: [['T', 'x'], ['T', 'packed'], ['T', 'wScale'], ['O', 'bias'], ['I', 'out'], ['F', 'xScale'], ['I', 'xZero'], ['E', 'act', 'activation']], results: 1, schema: 'qlinear(T:x,T:packed,T:w_scale,O:bias,I:out,F:x_scale,I:x_zero,E:activation:act,R:y)' },
  { name: 'qlinear_dynamic', params: [['T', 'x'], ['T', 'packed'], ['T', 'wScale'], ['O', 'bias'], ['O', 'residual'], ['I', 'out'], ['B', 'symmetric'], ['E', 'act', 'activation']], results: 1, schema: 'qlinear_dynamic(T:x,T:packed,T:w_scale,O:bias,O:residual,I:out,B:symmetric,E:activation:act,R:y)' },
  { name: 'qmatmul', params: [['T', 'x'], ['T', 'packed'], ['T', 'wScale'], ['O', 'bias'], ['O', 'residual'], ['O', 'xScales'], ['O', 'xZeros'], ['O', 'wZeros'], ['I', 'out'], ['F', 'xScale'], ['I', 'xZero'], ['E', 'act', 'activation'], ['D', 'dtype'], ['F', 'yScale'], ['I', 'yZero']], results: 1, schema: 'qmatmul(T:x,T:packed,T:w_scale,O:bias,O:residual,O:x_scales,O:x_zeros,O:w_zeros,I:out,F:x_scale,I:x_zero,E:activation:act,D:dtype,F:y_scale,I:y_zero,R:y)' },
  { name: 'qmatmul_fixed', params: [['T', 'x'], ['T', 'packed'], ['O', 'bias'], ['T', 'multiplier'], ['T', 'exponent'], ['O', 'wZeros'], ['I', 'out'], ['I', 'xZero'], ['D', 'dtype'], ['I', 'yZero'], ['I', 'lo'], ['I', 'hi']], results: 1, schema: 'qmatmul_fixed(T:x,T:packed,O:bias,T:multiplier,T:exponent,O:w_zeros,I:out,I:x_zero,D:dtype,I:y_zero,I:lo,I:hi,R:y)' },
  { name: 'qconv2d_pack', params: [['T', 'w'], ['I', 'groups']], results: 1, schema: 'qconv2d_pack(T:w,I:groups,R:packed)' },
  { name: 'qconv2d_last', params: [['T', 'x'], ['T', 'packed'], ['T', 'wScale'], ['O', 'bias'], ['O', 'residual'], ['L', 'weightShape'], ['L', 'stride'], ['L', 'padding'], ['L', 'dilation'], ['I', 'groups'], ['F', 'xScale'], ['I', 'xZero'], ['E', 'act', 'conv_activation'], ['F', 'lo'], ['F', 'hi'], ['F', 'scale'], ['F', 'shift'], ['D', 'dtype'], ['F', 'yScale'], ['I', 'yZero']], results: 1, schema: 'qconv2d_last(T:x,T:packed,T:w_scale,O:bias,O:residual,L:weight_shape,L:stride,L:padding,L:dilation,I:groups,F:x_scale,I:x_zero,E:conv_activation:act,F:lo,F:hi,F:scale,F:shift,D:dtype,F:y_scale,I:y_zero,R:y)' },
  { name: 'qconv2d', params: [['T', 'x'], ['T', 'packed'], ['T', 'wScale'], ['O', 'bias'], ['L', 'weightShape'], ['L', 'stride'], ['L', 'padding'], ['L', 'dilation'], ['I', 'groups'], ['F', 'xScale'], ['I', 'xZero']], results: 1, schema: 'qconv2d(T:x,T:packed,T:w_scale,O:bias,L:weight_shape,L:stride,L:padding,L:dilation,I:groups,F:x_scale,I:x_zero,R:y)' },
  { name: 'wgemm_pack', params: [['T', 'q'], ['T', 'scale'], ['O', 'zero'], ['I', 'bits']], results: 1, schema: 'wgemm_pack(T:q,T:scale,O:zero,I:bits,R:packed)' },
  { name: 'wgemm_unpack', params: [['T', 'packed'], ['I', 'out'], ['I', 'cols']], results: 1, schema: 'wgemm_unpack(T:packed,I:out,I:cols,R:w)' },
  { name: 'wgemm', params: [['T', 'x'], ['T', 'packed'], ['O', 'bias'], ['O', 'residual'], ['I', 'out'], ['E', 'act', 'activation']], results: 1, schema: 'wgemm(T:x,T:packed,O:bias,O:residual,I:out,E:activation:act,R:y)' },
  { name: 'mask_indices', params: [['T', 'mask'], ['I', 'size']], results: 1, schema: 'mask_indices(T:mask,I:size,R:index)' },
  { name: 'rows_dot', params: [['T', 'x'], ['T', 'w'], ['O', 'scale'], ['O', 'bias'], ['T', 'index'], ['O', 'offsets'], ['O', 'base']], results: 1, schema: 'rows_dot(T:x,T:w,O:scale,O:bias,T:index,O:offsets,O:base,R:y)' },
  { name: 'ternary_pack', params: [['I', 'out'], ['I', 'cols'], ['I', 'seed'], ['I', 'stream']], results: 1, schema: 'ternary_pack(I:out,I:cols,I:seed,I:stream,R:packed)' },
  { name: 'ternary_unpack', params: [['T', 'packed'], ['I', 'out'], ['I', 'cols']], results: 1, schema: 'ternary_unpack(T:packed,I:out,I:cols,R:p)' },
  { name: 'ternary_project', params: [['T', 'x'], ['T', 'packed'], ['I', 'out']], results: 1, schema: 'ternary_project(T:x,T:packed,I:out,R:y)' },
  { name: 'dual_linear', params: [['T', 'x'], ['T', 'w'], ['O', 'scale'], ['O', 'bias'], ['O', 'projection'], ['T', 'little'], ['T', 'threshold'], ['I', 'k'], ['I', 'copies'], ['I', 'insensitive'], ['B', 'below']], results: 2, schema: 'dual_linear(T:x,T:w,O:scale,O:bias,O:projection,T:little,T:threshold,I:k,I:copies,I:insensitive,B:below,R:y,R:count)' },
  { name: 'dual_lstm', params: [['T', 'x'], ['T', 'wIh'], ['T', 'wHh'], ['O', 'scaleIh'], ['O', 'scaleHh'], ['O', 'bias'], ['O', 'projectionX'], ['O', 'projectionH'], ['O', 'littleX'], ['T', 'littleH'], ['O', 'h0'], ['O', 'c0'], ['O', 'lengths'], ['T', 'thresholds'], ['I', 'k'], ['I', 'copies'], ['I', 'insensitive'], ['B', 'reverse']], results: 2, schema: 'dual_lstm(T:x,T:w_ih,T:w_hh,O:scale_ih,O:scale_hh,O:bias,O:projection_x,O:projection_h,O:little_x,T:little_h,O:h0,O:c0,O:lengths,T:thresholds,I:k,I:copies,I:insensitive,B:reverse,R:states,R:count)' },
  { name: 'dual_gru', params: [['T', 'x'], ['T', 'wIh'], ['T', 'wHh'], ['O', 'scaleIh'], ['O', 'scaleHh'], ['O', 'bIh'], ['O', 'bHh'], ['O', 'projectionX'], ['O', 'projectionH'], ['O', 'littleX'], ['T', 'littleH'], ['O', 'h0'], ['O', 'lengths'], ['T', 'thresholds'], ['I', 'k'], ['I', 'copies'], ['I', 'insensitive'], ['B', 'reverse']], results: 2, schema: 'dual_gru(T:x,T:w_ih,T:w_hh,O:scale_ih,O:scale_hh,O:b_ih,O:b_hh,O:projection_x,O:projection_h,O:little_x,T:little_h,O:h0,O:lengths,T:thresholds,I:k,I:copies,I:insensitive,B:reverse,R:states,R:count)' },
  { name: 'csr_from_dense', params: [['T', 'w']], results: 3, schema: 'csr_from_dense(T:w,R:values,R:indptr,R:columns)' },
  { name: 'csr_to_dense', params: [['T', 'values'], ['T', 'indptr'], ['T', 'columns'], ['I', 'cols']], results: 1, schema: 'csr_to_dense(T:values,T:indptr,T:columns,I:cols,R:w)' },
  { name: 'csr_group', params: [['T', 'values'], ['T', 'indptr'], ['T', 'columns'], ['I', 'cols']], results: 1, schema: 'csr_group(T:values,T:indptr,T:columns,I:cols,R:packed)' },
  { name: 'csr_linear', params: [['T', 'x'], ['T', 'values'], ['T', 'indptr'], ['T', 'columns'], ['O', 'scale'], ['O', 'bias'], ['O', 'packed']], results: 1, schema: 'csr_linear(T:x,T:values,T:indptr,T:columns,O:scale,O:bias,O:packed,R:y)' },
  { name: 'csr_multiply', params: [['T', 'values'], ['T', 'indptr'], ['T', 'columns'], ['T', 'x'], ['O', 'scale'], ['O', 'bias'], ['O', 'packed']], results: 1, schema: 'csr_multiply(T:values,T:indptr,T:columns,T:x,O:scale,O:bias,O:packed,R:y)' },
  { name: 'bsr_from_dense', params: [['T', 'w'], ['I', 'blockRows'], ['I', 'blockCols']], results: 3, schema: 'bsr_from_dense(T:w,I:block_rows,I:block_cols,R:values,R:indptr,R:columns)' },
  { name: 'bsr_to_dense', params: [['T', 'values'], ['T', 'indptr'], ['T', 'columns'], ['I', 'rows'], ['I', 'cols'], ['I', 'blockRows'], ['I', 'blockCols']], results: 1, schema: 'bsr_to_dense(T:values,T:indptr,T:columns,I:rows,I:cols,I:block_rows,I:block_cols,R:w)' },
  { name: 'bsr_linear', params: [['T', 'x'], ['T', 'values'], ['T', 'indptr'], ['T', 'columns'], ['O', 'scale'], ['O', 'bias'], ['I', 'rows'], ['I', 'blockRows'], ['I', 'blockCols'], ['F', 'xScale'], ['I', 'xZero']], results: 1, schema: 'bsr_linear(T:x,T:values,T:indptr,T:columns,O:scale,O:bias,I:rows,I:block_rows,I:block_cols,F:x_scale,I:x_zero,R:y)' },
  { name: 'bitmask_from_dense', params: [['T', 'w']], results: 3, schema: 'bitmask_from_dense(T:w,R:values,R:indptr,R:bits)' },
  { name: 'bitmask_to_dense', params: [['T', 'values'], ['T', 'indptr'], ['T', 'bits'], ['I', 'cols']], results: 1, schema: 'bitmask_to_dense(T:values,T:indptr,T:bits,I:cols,R:w)' },
  { name: 'bitmask_linear', params: [['T', 'x'], ['T', 'values'], ['T', 'indptr'], ['T', 'bits'], ['O', 'scale'], ['O', 'bias']], results: 1, schema: 'bitmask_linear(T:x,T:values,T:indptr,T:bits,O:scale,O:bias,R:y)' },
  { name: 'nm_from_dense', params: [['T', 'w']], results: 2, schema: 'nm_from_dense(T:w,R:values,R:indices)' },
  { name: 'nm_to_dense', params: [['T', 'values'], ['T', 'indices'], ['I', 'cols']], results: 1, schema: 'nm_to_dense(T:values,T:indices,I:cols,R:w)' },
  { name: 'nm_linear', params: [['T', 'x'], ['T', 'values'], ['T', 'indices'], ['O', 'scale'], ['O', 'bias']], results: 1, schema: 'nm_linear(T:x,T:values,T:indices,O:scale,O:bias,R:y)' },
  { name: 'sparse_encode', params: [['T', 'q']], results: 1, schema: 'sparse_encode(T:q,R:code)' },
  { name: 'sparse_decode', params: [['T', 'code'], ['L', 'shape']], results: 1, schema: 'sparse_decode(T:code,L:shape,R:q)' },
]

/** The addon reports the same hash; the loader refuses an addon that does not. */
export const schemaHash = '9accf19138c7cf6d'
