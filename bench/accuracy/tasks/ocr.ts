/** PP-OCRv4 recognition on rendered lines: exact lines and character error rate, greedy CTC decoding, prepared as PaddleOCR prepares lines. */
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { metrics } from '../../../ts/analyze/index.js'
import { compress, quantize, recipe, type PassSpec } from '../../../ts/compress/index.js'
import { knownPackages, numberDataset, type NumberDataset } from '../../../ts/data/index.js'
import { loadModel, modelFileBytes } from '../../../ts/models/index.js'
import type { Model } from '../../../ts/nn/index.js'
import { saveOnnx, type OnnxRuntime } from '../../../ts/runtime/save-onnx.js'
import { scope, tensor } from '../../../ts/tensor/index.js'
import { bar, lostAgainst, shareOf, type Measured } from '../lib/figures.js'
import { lineRenderer, paddleInput, type LineRenderer, type TextLine } from '../lib/lines.js'
import { onnxruntime, openOrt, type OrtSession } from '../lib/onnx.js'
import { bytesOf, fetchWhole, inFolder, type Task } from '../lib/task.js'

const NARROW = 320
const SEEDS = { test: 1, calibration: 2 }

/** [T, classes] -> text. */
export function greedy(scores: Float32Array, classes: number, characters: readonly string[]): string {
  let text = ''
  let last = 0
  metrics.argmaxRows(scores, classes).forEach((c) => {
    if (c !== 0 && c !== last) text += characters[c]
    last = c
  })
  return text
}

interface Prepared {
  readonly line: TextLine
  readonly width: number
  readonly x: Float32Array
}

/** PaddleOCR pads the lines of a batch to the widest; here to the next multiple of 160, so that few sizes occur. */
function prepare(line: TextLine): Prepared {
  const width = Math.max(NARROW, 160 * Math.ceil((48 * line.width) / line.height / 160))
  return { line, width, x: paddleInput(line, width) }
}

/** Lines to calibrate on: another stream than those that are counted. */
function calibrationLines(renderer: LineRenderer, count: number): NumberDataset {
  const features = new Float32Array(count * 3 * 48 * NARROW)
  for (let i = 0; i < count; i++) features.set(paddleInput(renderer.line(SEEDS.calibration, i), NARROW), i * 3 * 48 * NARROW)
  return numberDataset({ name: 'lines', features, inputShape: [3, 48, NARROW], labels: new Int32Array(count), classes: ['line'] })
}

type Read = (p: Prepared) => Promise<{ readonly scores: Float32Array; readonly classes: number }>

const withTersor =
  (model: Model): Read =>
  async ({ x, width }) =>
    scope(() => {
      const y = model.forward(tensor(x, [1, 3, 48, width]))
      return { scores: y.read() as Float32Array, classes: y.shape.at(-1)! }
    })

export interface Variant {
  readonly name: string
  readonly stages: readonly (readonly PassSpec[])[]
  /** Exact lines of the first 60 that are asked for. */
  readonly bar?: number
  /** Also written as ONNX and read by onnxruntime. */
  readonly onnx?: true
}

const int8 = (calibration: 'minmax' | 'ema' | 'percentile' | 'entropy' | 'mse'): PassSpec => quantize.static({ calibration })

export const variants: readonly Variant[] = [
  { name: 'int8 weights, one scale per tensor', stages: [[quantize.rtn({ bits: 8, layout: 'tensor' })]] },
  { name: 'int8 static, minmax', stages: [[int8('minmax')]], bar: 54, onnx: true },
  { name: 'int8 static, percentile', stages: [[int8('percentile')]], bar: 54 },
  { name: 'int8 static, mse', stages: [[int8('mse')]], bar: 54 },
  { name: 'int8 static, ema', stages: [[int8('ema')]], bar: 54 },
  { name: 'int8 static, entropy', stages: [[int8('entropy')]], bar: 54 },
  { name: 'int8 static, smooth, minmax', stages: [[quantize.smooth()], [int8('minmax')]], bar: 54 },
  { name: 'int8 static, equalized, minmax', stages: [[quantize.equalize()], [int8('minmax')]], bar: 54 },
  { name: 'int8 weights, equalized, one scale per tensor', stages: [[quantize.equalize()], [quantize.rtn({ bits: 8, layout: 'tensor' })]] },
  { name: 'int8 auto, 20 dB', stages: [[quantize.auto({ sqnr: 20 })]], bar: 54 },
  {
    name: 'int4 weights in 32s, nearest',
    stages: [[quantize.rtn({ bits: 4, mode: 'affine', layout: 'group', range: 'mse', scales: 'f16' })]],
    bar: 45,
  },
  { name: 'int4 weights in 32s, GPTQ', stages: [[quantize.gptq({ bits: 4 })]], bar: 45 },
  { name: 'int4 weights in 32s, GPTQ, bias correction', stages: [[quantize.gptq({ bits: 4 })], [quantize.biasCorrection()]], bar: 45 },
]

export const ocr: Task = {
  name: 'ocr',
  summary: 'PP-OCRv4 recognition, exact lines',
  run: async ({ count = 300, only, log }) => {
    const folder = path.join(await fetchWhole(knownPackages.ocr), 'assets')
    const keys = readFileSync(path.join(folder, 'ppocr_keys_v1.txt'), 'utf8').replace(/\r/g, '').replace(/\n$/, '').split('\n')
    const characters = ['', ...keys, ' ']
    const renderer = await lineRenderer()
    const lines = Array.from({ length: Math.max(60, count) }, (_, i) => prepare(renderer.line(SEEDS.test, i)))
    const source = path.join(folder, 'ch_PP-OCRv4_rec_infer.onnx')
    const rows: Measured[] = []

    const measure = async (
      name: string,
      runtime: Measured['runtime'],
      read: Read,
      more: Partial<Measured>,
      reference?: readonly boolean[],
      least?: number,
      counted = lines,
    ): Promise<boolean[]> => {
      const began = performance.now()
      const right: boolean[] = []
      const cer = new metrics.ErrorRate('character')
      for (const p of counted) {
        const { scores, classes } = await read(p)
        // Margins can be read as spaces; they are not part of the text.
        const text = greedy(scores, classes, characters).trim()
        right.push(text === p.line.text)
        cer.update(text, p.line.text)
      }
      const sixty = right.slice(0, 60).filter(Boolean).length
      rows.push({
        task: 'PP-OCRv4 recognition',
        model: name,
        runtime,
        metric: 'exact lines',
        ...shareOf(right),
        ...(reference ? { lost: lostAgainst(reference.slice(0, right.length), right) } : {}),
        others: { 'of the first 60': sixty, CER: Number(cer.result().rate.toFixed(5)) },
        seconds: (performance.now() - began) / 1000,
        ...(least === undefined ? {} : bar(`>= ${least} of 60`, sixty >= least)),
        ...more,
      })
      log(rows.at(-1)!)
      return right
    }

    const model = loadModel(source)
    const reference = await measure('fp32', 'tersor', withTersor(model), { bytes: bytesOf(source) })
    const data = calibrationLines(renderer, 128)
    for (const v of variants.filter(({ name }) => !only || only.test(name))) {
      const { model: small } = await compress(model, recipe(v.stages), { data })
      await measure(v.name, 'tersor', withTersor(small), { bytes: modelFileBytes(small) }, reference, v.bar)
      const ort = onnxruntime()
      if (ort && v.onnx) {
        // One file for each width: a mean over the width is a factor that follows it, which an ONNX file cannot say.
        await inFolder(async (place) => {
          const sessions = new Map<number, OrtSession>()
          let size = 0
          for (const { width, x } of lines.slice(0, 60))
            if (!sessions.has(width)) {
              const file = path.join(place, `${width}.onnx`)
              const { bytes } = await saveOnnx(small, file, {
                example: tensor(x, [1, 3, 48, width]),
                dynamic: {},
                onnxruntime: ort as unknown as OnnxRuntime,
                tolerance: 1, // lines are counted here, and a last bit decides which code a value gets
              })
              size ||= bytes
              sessions.set(width, await openOrt(ort, file))
            }
          const read: Read = async ({ x, width }) => {
            const session = sessions.get(width)!
            const feeds = { [session.inputNames[0]!]: new ort.Tensor('float32', x, [1, 3, 48, width]) }
            const y = (await session.run(feeds))[session.outputNames[0]!]!
            return { scores: y.data, classes: y.dims.at(-1)! }
          }
          await measure(`${v.name}, the first 60 lines`, 'onnxruntime', read, { bytes: size }, reference, undefined, lines.slice(0, 60))
        })
      }
    }
    return rows
  },
}
