/** Imported models from JavaScript, batch 1: the same file in onnxruntime-node. Runs, and the way from a file of 28 MB to its first result. */
import type { Case } from './case.js'

const parts = (kernel: string, sync: boolean): Case['parts'] => [
  { contender: 'tersor', kernel },
  ...(sync ? [{ contender: 'tersor', kernel: `${kernel}.sync`, label: 'on the main thread' }] : []),
  { contender: 'onnxruntime', kernel },
]

/** Operations of the products (multiply-adds count as 2); where nobody has counted them, bytes of the weights. */
const run = (name: string, file: string, operations: number, tokens = 0, bytes = 0): Case => ({
  name,
  params: { file, tokens },
  operations,
  bytes,
  limits: operations > 0 ? [{ kernel: 'limit.f32', amount: operations }] : [],
  parts: parts('onnx.run', true),
  ms: 60,
})

const TOKENS = 15
/** Per token: two blocks (the first from 256 to 512), four projections of attention each and two of the feed-forward net. */
const useLite = 2 * (256 * 256 * 3 + 256 * 512 + 256 * 512 + 512 * 1536 * 2 + 512 * 512 * 4 + 512 * 1536 * 2)

export const graphCases: readonly Case[] = [
  // Multiply-adds of the published net for 224 x 224.
  run('ResNet-18 f32', 'resnet18', 2 * 1.814e9),
  run('PP-OCRv4 rec f32', 'ocr', 0, 0, 4 * 2_690_296),
  run('angle classifier f32', 'angle', 0, 0, 4 * 133_664),
  // The same nets with int8 weights and inputs of layers as u8, in the file as QuantizeLinear and DequantizeLinear.
  run('ResNet-18 int8', 'resnet18 int8', 2 * 1.814e9),
  run('PP-OCRv4 rec int8', 'ocr int8', 0, 0, 2_690_296),
  run('angle classifier int8', 'angle int8', 0, 0, 133_664),
  // A spectrum of 4 frames, four convolutions, an LSTM of 128 units.
  run('silero v5 f32', 'silero v5', 2 * (258 * 256 * 4 + 129 * 128 * 3 * 4 + 128 * 64 * 3 * 2 + 64 * 64 * 3 + 64 * 128 * 3 + 512 * 256)),
  run('USE-lite f32', 'use-lite', TOKENS * useLite, TOKENS),
  {
    name: 'load 28 MB',
    params: { file: 'encoder', tokens: 16 },
    operations: 0,
    bytes: 28.4e6,
    limits: [{ kernel: 'limit.copy', amount: 28.4e6, params: { span: 28.4e6 } }],
    parts: parts('onnx.load', false),
    ms: 300,
  },
]
