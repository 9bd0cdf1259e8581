/** The bars that Tersor's kernels must reach, as data; bench/lib/verdict.ts judges them by the committed results. */
import { modelBars } from './bars-models.js'

export type Metric =
  /** The best of these rivals takes that many times as long. */
  | { readonly kind: 'ratio'; readonly over: readonly string[]; readonly subject?: string }
  /** Share of the limit that holds for the case. */
  | { readonly kind: 'limit'; readonly subject?: string }
  /** The least of these rivals needs that many times as much memory. */
  | { readonly kind: 'memory'; readonly over: readonly string[]; readonly subject?: string }
  /** At most that many nanoseconds. */
  | { readonly kind: 'time'; readonly subject?: string }
  /** One thread takes that many times as long. */
  | { readonly kind: 'threads'; readonly subject?: string }
  /** A contender of another case of the same family, cap and threads takes that many times as long. */
  | { readonly kind: 'against'; readonly case: string; readonly contender: string; readonly subject?: string }

export interface Bar {
  readonly section: 'int8 and f32 GEMM' | 'from JavaScript' | 'sparse x dense' | 'top-k mask' | 'second order' | 'training' | 'models'
  readonly text: string
  readonly family: string
  /** Of the family's cases. */
  readonly cases: RegExp
  readonly metric: Metric
  readonly bar: number
  /** Caps; default: the strongest that was measured. */
  readonly isas?: readonly string[]
  readonly threads?: readonly number[]
  /** An instruction set without which the bar cannot be measured. */
  readonly needs?: string
}

const GEMM = 'int8 and f32 GEMM'
const AMX = { section: GEMM, family: 'qgemm', isas: ['amx'], needs: 'amx' } as const
const LARGE = /^int8 (?:32|128|512|1024|2048)x\d+x\d+$/
const SMALL = /^int8 (?:1|8|16)x\d+x\d+$/

const gemm: readonly Bar[] = [
  { ...AMX, text: '>= 1.1x oneDNN u8s8, M >= 16', cases: LARGE, metric: { kind: 'ratio', over: ['oneDNN u8s8'] }, bar: 1.1 },
  { ...AMX, text: '>= 1.5x onnxruntime u8s8, M >= 16', cases: LARGE, metric: { kind: 'ratio', over: ['ONNX Runtime u8s8'] }, bar: 1.5 },
  { ...AMX, text: '>= 50x onnxruntime s8s8, M >= 16', cases: LARGE, metric: { kind: 'ratio', over: ['ONNX Runtime s8s8'] }, bar: 50 },
  { ...AMX, text: '>= 65 % of the register peak at 2048^3', cases: /^int8 2048x2048x2048$/, metric: { kind: 'limit' }, bar: 0.65 },
  {
    section: GEMM,
    text: 'M <= 8 warm: u8s8 >= 1.0x the best rival (strongest cap here)',
    family: 'qgemm',
    cases: /^int8 [18]x\d+x\d+$/,
    metric: { kind: 'ratio', subject: 'Tersor u8s8', over: ['oneDNN u8s8', 'oneDNN s8s8', 'XNNPACK qs8', 'ONNX Runtime u8s8'] },
    bar: 1,
  },
  {
    section: GEMM,
    text: 'GEMV, weights in DRAM: >= 1.4x onnxruntime',
    family: 'qgemm',
    cases: /^int8 1x.* cold$/,
    metric: { kind: 'ratio', over: ['ONNX Runtime u8s8'] },
    bar: 1.4,
  },
  {
    section: GEMM,
    text: 'GEMV, weights in DRAM: >= 2.3x oneDNN',
    family: 'qgemm',
    cases: /^int8 1x.* cold$/,
    metric: { kind: 'ratio', over: ['oneDNN u8s8'] },
    bar: 2.3,
  },
  {
    section: GEMM,
    text: 'GEMV, weights in DRAM: >= 85 % of the read limit',
    family: 'qgemm',
    cases: /^int8 1x.* cold$/,
    metric: { kind: 'limit' },
    bar: 0.85,
  },
  {
    section: GEMM,
    text: 'int4-weight GEMV >= 1.8x int8 GEMV, weights in DRAM',
    family: 'wgemm',
    cases: /^4 bit 1x4096x4096 .*cold$/,
    metric: { kind: 'ratio', over: ['Tersor int8'] },
    bar: 1.8,
  },
  {
    section: GEMM,
    text: 'AVX2, exact: >= 1.1x the best of XNNPACK (uncapped) and oneDNN, M >= 32',
    family: 'qgemm',
    isas: ['avx2'],
    cases: LARGE,
    metric: { kind: 'ratio', over: ['oneDNN u8s8', 'oneDNN s8s8', 'XNNPACK qs8'] },
    bar: 1.1,
  },
  {
    section: GEMM,
    text: 'AVX2, exact: >= 5x oneDNN s8s8, M <= 16',
    family: 'qgemm',
    isas: ['avx2'],
    cases: SMALL,
    metric: { kind: 'ratio', over: ['oneDNN s8s8'] },
    bar: 5,
  },
  {
    section: GEMM,
    text: 'AVX-VNNI and AVX512-VNNI: >= 1.2x oneDNN s8s8',
    family: 'qgemm',
    isas: ['avxvnni', 'avx512vnni', 'avx512bf16'],
    cases: LARGE,
    metric: { kind: 'ratio', over: ['oneDNN s8s8'] },
    bar: 1.2,
  },
  {
    section: GEMM,
    text: 'AVX-VNNI and AVX512-VNNI: >= 80 % of the dot product peak at 1024^3',
    family: 'qgemm',
    isas: ['avxvnni', 'avx512vnni', 'avx512bf16'],
    cases: /^int8 1024x1024x1024$/,
    metric: { kind: 'limit' },
    bar: 0.8,
  },
  {
    section: GEMM,
    text: 'dynamic path (f32 in, f32 out) >= 1.7x onnxruntime dynamic',
    family: 'qgemm',
    cases: /^int8 \d+x\d+x\d+$/,
    metric: { kind: 'ratio', over: ['ONNX Runtime dynamic'], subject: 'Tersor dynamic' },
    bar: 1.7,
  },
  {
    section: GEMM,
    text: 'dynamic path <= 15 % over the bare integer product at 128x768x3072',
    family: 'qgemm',
    cases: /^int8 128x768x3072$/,
    metric: { kind: 'ratio', over: ['Tersor s8s8'], subject: 'Tersor dynamic' },
    bar: 1 / 1.15,
  },
  {
    section: GEMM,
    text: 'f32 >= 1.0x the best of oneDNN and onnxruntime',
    family: 'gemm',
    cases: /^f32 \d+x\d+x\d+$/,
    metric: { kind: 'ratio', over: ['oneDNN', 'ONNX Runtime'] },
    bar: 1,
  },
  {
    section: GEMM,
    text: 'f32 >= 85 % of the FMA peak at 1024^3',
    family: 'gemm',
    cases: /^f32 1024x1024x1024$/,
    metric: { kind: 'limit' },
    bar: 0.85,
  },
]

const JS = 'from JavaScript'
const javascript: readonly Bar[] = [
  {
    section: JS,
    text: 'f32 >= 2x onnxruntime-node at 8x768x768 and 128x768x768',
    family: 'call',
    cases: /^f32 (?:8|128)x768x768$/,
    metric: { kind: 'ratio', over: ['ONNX Runtime'] },
    bar: 2,
  },
  {
    section: JS,
    text: 'int8 >= 2x onnxruntime-node at 8x768x768 and 128x768x768',
    family: 'call',
    cases: /^int8 (?:8|128)x768x768$/,
    metric: { kind: 'ratio', over: ['ONNX Runtime dynamic', 'ONNX Runtime u8s8'] },
    bar: 2,
  },
  {
    section: JS,
    text: '>= 20x onnxruntime-node on 1x16x16',
    family: 'call',
    cases: /^f32 1x16x16$/,
    metric: { kind: 'ratio', over: ['ONNX Runtime'] },
    bar: 20,
  },
  {
    section: JS,
    text: 'int8 >= 60x tfjs-wasm f32, M >= 128',
    family: 'call',
    cases: /^int8 128x/,
    metric: { kind: 'ratio', over: ['TensorFlow.js wasm f32'] },
    bar: 60,
  },
  {
    section: JS,
    text: 'a call with a handle and a number <= 150 ns',
    family: 'call',
    cases: /^handle and number$/,
    metric: { kind: 'time' },
    bar: 150,
  },
  { section: JS, text: 'a call with four tensors <= 600 ns', family: 'call', cases: /^four tensors$/, metric: { kind: 'time' }, bar: 600 },
]

const SPARSE = 'sparse x dense'
const at = (percent: number): RegExp => new RegExp(`^csr f32 3072x768 ${percent} % x 128$`)
const dense: readonly (readonly [number, number])[] = [
  [50, 1],
  [70, 1.8],
  [80, 2.2],
  [90, 4.5],
  [95, 7],
  [98, 18],
]
const sparse: readonly Bar[] = [
  {
    section: SPARSE,
    text: 'N = 128: >= 1.8x the best of Eigen, libxsmm, XNNPACK',
    family: 'spmm',
    cases: /^csr f32 .* x 128$/,
    metric: { kind: 'ratio', over: ['Eigen', 'libxsmm', 'XNNPACK'] },
    bar: 1.8,
  },
  {
    section: SPARSE,
    text: 'N = 128: >= 15x SciPy',
    family: 'spmm',
    cases: /^csr f32 .* x 128$/,
    threads: [1],
    metric: { kind: 'ratio', over: ['SciPy'] },
    bar: 15,
  },
  {
    section: SPARSE,
    text: 'N = 1: >= 1.5x Eigen',
    family: 'spmm',
    cases: /^csr f32 .* x 1$/,
    metric: { kind: 'ratio', over: ['Eigen'] },
    bar: 1.5,
  },
  {
    section: SPARSE,
    text: 'N = 16: >= 1.05x XNNPACK',
    family: 'spmm',
    cases: /^csr f32 .* x 16$/,
    metric: { kind: 'ratio', over: ['XNNPACK'] },
    bar: 1.05,
  },
  ...dense.map(([percent, bar]): Bar => ({
    section: SPARSE,
    text: `${percent} % zeros: >= ${bar}x the best dense f32`,
    family: 'spmm',
    cases: at(percent),
    metric: { kind: 'ratio', over: ['oneDNN dense f32', 'OpenBLAS dense f32'] },
    bar,
  })),
  {
    section: SPARSE,
    text: 'blocked int8 faster than dense int8 from 80 % zeros on',
    family: 'spmm',
    cases: /^block int8 .*(?:80|90|95|98) %/,
    metric: { kind: 'ratio', over: ['oneDNN dense int8', 'Tersor dense int8'] },
    bar: 1,
  },
]

const TOPK = 'top-k mask'
const MANY = /^mask (?:1e7|8\.5e7) /
const masks: readonly Bar[] = [
  { section: TOPK, text: 'n >= 1e7: <= 3.5x one read pass', family: 'topk', cases: MANY, metric: { kind: 'limit' }, bar: 1 / 3.5 },
  { section: TOPK, text: 'n = 1e6: <= 8x one read pass', family: 'topk', cases: /^mask 1e6 /, metric: { kind: 'limit' }, bar: 1 / 8 },
  {
    section: TOPK,
    text: 'n >= 1e7: >= 16x std::nth_element',
    family: 'topk',
    cases: MANY,
    metric: { kind: 'ratio', over: ['C++ library nth_element'] },
    bar: 16,
  },
  {
    section: TOPK,
    text: 'n >= 1e7: >= 25x numpy.partition',
    family: 'topk',
    cases: MANY,
    metric: { kind: 'ratio', over: ['NumPy partition'] },
    bar: 25,
  },
  {
    section: TOPK,
    text: 'n >= 1e7: >= 40x torch',
    family: 'topk',
    cases: MANY,
    threads: [1],
    metric: { kind: 'ratio', over: ['PyTorch topk', 'PyTorch kthvalue'] },
    bar: 40,
  },
  {
    section: TOPK,
    text: 'n >= 1e7: >= 200x Float32Array.sort',
    family: 'topk',
    cases: MANY,
    metric: { kind: 'ratio', over: ['JavaScript Float32Array.sort'] },
    bar: 200,
  },
  {
    section: TOPK,
    text: 'n >= 1e7: 2 threads >= 1.4x one',
    family: 'topk',
    cases: MANY,
    threads: [2],
    metric: { kind: 'threads' },
    bar: 1.4,
  },
]

const SECOND = 'second order'
const STEP = /power step$/
const second: readonly Bar[] = [
  {
    section: SECOND,
    text: 'a power-iteration step <= 1.3x own forward + backward',
    family: 'hessian',
    cases: STEP,
    metric: { kind: 'ratio', over: ['Tersor forward + backward'] },
    bar: 1 / 1.3,
  },
  {
    section: SECOND,
    text: 'MLP: >= 1.2x torch',
    family: 'hessian',
    cases: /^mlp power/,
    metric: { kind: 'ratio', over: ['PyTorch'] },
    bar: 1.2,
  },
  {
    section: SECOND,
    text: 'LeNet-5: >= 5x torch',
    family: 'hessian',
    cases: /^lenet5 power/,
    metric: { kind: 'ratio', over: ['PyTorch'] },
    bar: 5,
  },
]

const TRAINING = 'training'
const overTorch = (text: string, cases: RegExp, bar: number): Bar => ({
  section: TRAINING,
  text: `${text}: >= ${bar}x torch`,
  family: 'training',
  cases,
  metric: { kind: 'ratio', over: ['PyTorch'] },
  bar,
})
const training: readonly Bar[] = [
  overTorch('2-layer encoder step, width 512, 32 x 64 tokens', /^encoder step/, 1.3),
  overTorch('LeNet-5 epoch on MNIST sizes, batch 64', /^lenet5 epoch/, 3),
  overTorch('ResNet-20 step on 32 x 32 images, batch 128', /^resnet20 step/, 1.3),
  overTorch('LSTM-650 language model step, batch 20, 35 tokens', /^lstm650 step/, 1.3),
  {
    section: TRAINING,
    text: 'peak memory of each training net: at most that of torch',
    family: 'training',
    cases: /./,
    metric: { kind: 'memory', over: ['PyTorch'] },
    bar: 1,
  },
  {
    section: TRAINING,
    text: 'add of 16 floats with its release <= 500 ns',
    family: 'eager',
    cases: /^add$/,
    metric: { kind: 'time' },
    bar: 500,
  },
]

export const bars: readonly Bar[] = [...gemm, ...javascript, ...sparse, ...masks, ...second, ...training, ...modelBars]
