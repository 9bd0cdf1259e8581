/** Real ONNX models from the registry against onnxruntime: max abs difference at most 1e-4. Skipped, visibly, without the packages. */
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { load, memory, scope, tensor } from '../../ts/index.js'
import { fetchPackage, knownPackages } from '../../ts/data/index.js'
import { oracle, ort, random, type Fed } from './build.js'

const draw = random(5)
const f32 = (scale: number, ...dims: number[]): Fed => ({
  type: 'float32',
  data: Float32Array.from(draw(dims.reduce((a, b) => a * b, 1), scale)), // prettier-ignore
  dims,
})
const rate = (hz: number): Fed => ({ type: 'int64', data: BigInt64Array.of(BigInt(hz)), dims: [] })
const silero = (hz: number): Record<string, Fed> => ({ input: f32(0.3, 1, hz / 31.25), state: f32(0.1, 2, 1, 128), sr: rate(hz) })

const models: readonly (readonly [string, keyof typeof knownPackages, string, Readonly<Record<string, Fed>>])[] = [
  ['angle classifier', 'ocr', 'assets/ch_ppocr_mobile_v2.0_cls_infer.onnx', { x: f32(1, 1, 3, 48, 192) }],
  ['PP-OCRv4 recognition', 'ocr', 'assets/ch_PP-OCRv4_rec_infer.onnx', { x: f32(1, 1, 3, 48, 160) }],
  ['PP-OCRv4 detection', 'ocr', 'assets/ch_PP-OCRv4_det_infer.onnx', { x: f32(1, 1, 3, 64, 96) }],
  ['silero v5, 16 kHz', 'voiceActivity', 'dist/silero_vad_v5.onnx', silero(16_000)],
  ['silero v6, 8 kHz', 'voiceActivity', 'dist/silero_vad_v6.onnx', silero(8000)],
  [
    'silero legacy',
    'voiceActivity',
    'dist/silero_vad_legacy.onnx',
    { input: f32(0.3, 1, 1536), sr: rate(16_000), h: f32(0.1, 2, 1, 64), c: f32(0.1, 2, 1, 64) },
  ],
]

const folders = new Map<string, string>()
for (const name of ort ? (['ocr', 'voiceActivity'] as const) : [])
  await fetchPackage(knownPackages[name]).then(
    (folder) => folders.set(name, folder),
    (error: unknown) => console.warn(`skipped: ${String(error)}`),
  )

describe('real models', () => {
  for (const [title, pkg, file, feeds] of models)
    it.skipIf(!folders.has(pkg))(title, async () => {
      const at = path.join(folders.get(pkg)!, file)
      const want = await oracle(at, feeds)
      const before = memory().tensors
      const net = load(at)
      scope(() => {
        const out = net.predictAll(
          Object.fromEntries(Object.entries(feeds).map(([name, { data, dims }]) => [name, tensor(data as Float32Array, dims)])),
        )
        for (const [name, { dims, data }] of Object.entries(want)) {
          expect(out[name]!.shape).toEqual(dims)
          const got = out[name]!.read() as Float32Array
          // NaN stays NaN, which is not less
          expect(data.reduce((most, v, i) => Math.max(most, Math.abs(v - got[i]!)), 0)).toBeLessThan(1e-4)
        }
      })
      net.dispose()
      expect(memory().tensors).toBe(before)
    })
})
