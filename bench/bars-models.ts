/** The bars of whole models from JavaScript, as data (see bars.ts). */
import type { Bar } from './bars.js'

const MODELS = 'models'
const ENCODER = '2-layer encoder, width 768, 128 tokens'
const overOnnxRuntime = (text: string, cases: RegExp, over: readonly string[], bar: number): Bar => ({
  section: MODELS,
  text: `${text}: >= ${bar}x onnxruntime-node`,
  family: 'models',
  cases,
  metric: { kind: 'ratio', over: over.map((form) => `ONNX Runtime ${form}`.trim()) },
  bar,
})
const transformers: readonly Bar[] = [
  overOnnxRuntime(`${ENCODER}, f32`, /^encoder 2x768 f32$/, ['f32', 'f32 fused'], 1.4),
  overOnnxRuntime(`${ENCODER}, int8`, /^encoder 2x768 int8$/, ['int8 dynamic'], 2.5),
  {
    section: MODELS,
    text: `${ENCODER}: int8 >= 2x own f32`,
    family: 'models',
    cases: /^encoder 2x768 int8$/,
    metric: { kind: 'against', case: 'encoder 2x768 f32', contender: 'Tersor' },
    bar: 2,
  },
  overOnnxRuntime('BERT-base-shaped, 128 tokens, f32', /^BERT-base f32$/, ['f32'], 1.3),
  overOnnxRuntime('GPT-2-shaped, 64 tokens, f32', /^GPT-2 f32$/, ['f32'], 1.3),
]

const graphs: readonly Bar[] = [
  overOnnxRuntime('ResNet-18-shaped, 224 x 224, f32', /^ResNet-18 f32$/, [''], 1.3),
  overOnnxRuntime('PP-OCRv4 recognition, 48 x 320, f32', /^PP-OCRv4 rec f32$/, [''], 1.3),
  overOnnxRuntime('angle classifier, 48 x 192, f32', /^angle classifier f32$/, [''], 1.3),
  overOnnxRuntime('Silero v5, 512 samples at 16 kHz, f32', /^silero v5 f32$/, [''], 1.3),
  overOnnxRuntime('USE-lite, 15 tokens, f32', /^USE-lite f32$/, [''], 1.3),
  {
    section: MODELS,
    text: 'a file of 28 MB to its first result <= 60 ms',
    family: 'models',
    cases: /^load 28 MB$/,
    metric: { kind: 'time' },
    bar: 60e6,
  },
]

export const modelBars: readonly Bar[] = [...transformers, ...graphs]
