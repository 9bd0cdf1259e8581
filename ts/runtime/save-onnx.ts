/** Models as ONNX files, checked by onnxruntime where it is installed. Folders for transformers.js: transformers-js.ts. */
import { ownValue } from '../base/own.js'
import { statSync } from 'node:fs'
import { ShapeError } from '../base/errors.js'
import { encodeOnnx, wantsExternal, writeOnnx, type OnnxModel } from '../formats/onnx/index.js'
import { writeFileAtomic, type WriteOptions } from '../formats/index.js'
import { batchOf, exampleInput, exportOnnx, IMAGE_STEP, imageSizes, otherSizes, type ExportOptions } from '../graph/export/index.js'
import { QuantizedWeight, type Model } from '../nn/index.js'
import { Tensor } from '../tensor/index.js'
import { checkOnnx, type OnnxCheck, type OnnxRuntime } from './onnx-check.js'

export type { OnnxRuntime } from './onnx-check.js'

export interface SaveOnnxOptions extends ExportOptions, WriteOptions {
  /** Constants in a file beside the model; see `writeOnnx`. */
  readonly external?: boolean
  /** Compare with onnxruntime-node where it is installed, before the file is put in place. Default true. */
  readonly check?: boolean
  /** The module to compare with; default: onnxruntime-node as the program finds it. */
  readonly onnxruntime?: OnnxRuntime
  /**
   * Allowed distance, relative to the largest result. Default 1e-4; with f16 floats 1e-2; with quantized inputs 5e-2, because a last bit decides which code
   * a value gets.
   */
  readonly tolerance?: number
}

export interface SavedOnnx {
  readonly files: readonly string[]
  readonly bytes: number
  /** null: onnxruntime-node is not installed, or was not asked. */
  readonly check: OnnxCheck | null
}

/**
 * Writes a model to an .onnx file.
 *
 * - an op that ONNX cannot say, a size that does not follow from the inputs, a file that onnxruntime does not take: ERR_UNSUPPORTED
 * - onnxruntime's result differs: ERR_NUMERIC, and the file is not there
 *
 * @example
 * const { bytes, check } = await saveOnnx(model, 'model.onnx')
 */
export function saveOnnx(model: Model, file: string, options: SaveOnnxOptions = {}): Promise<SavedOnnx> {
  return saveExported(model, file, options, (onnx) => onnx)
}

/** @internal The same, with the graph that was compared put into another one (`finish`), which keeps its constants. */
export async function saveExported(
  model: Model,
  file: string,
  options: SaveOnnxOptions,
  finish: (onnx: OnnxModel) => OnnxModel,
): Promise<SavedOnnx> {
  const onnx = exportOnnx(model, options)
  const written = finish(onnx)
  if (options.external ?? wantsExternal(onnx)) {
    // onnxruntime finds the constants by the names of files: the check follows the writing.
    const write = (one: OnnxModel): string[] => writeOnnx(file, one, { ...options, external: true })
    let files = write(onnx)
    const check = await compare(model, onnx, file, options)
    if (written !== onnx) files = write(written)
    return { files, bytes: files.reduce((n, name) => n + statSync(name).size, 0), check }
  }
  const compared = encodeOnnx(onnx)
  const check = await compare(model, onnx, compared, options)
  const bytes = written === onnx ? compared : encodeOnnx(written)
  writeFileAtomic(file, bytes, options)
  return { files: [file], bytes: bytes.length, check }
}

async function compare(model: Model, onnx: OnnxModel, file: string | Uint8Array, options: SaveOnnxOptions): Promise<OnnxCheck | null> {
  if (options.check === false) return null
  const rounded = model.weights().some(({ weight }) => weight instanceof QuantizedWeight && weight.input)
  const usual = options.dynamicQuantization || rounded ? 5e-2 : options.floats === 'f16' ? 1e-2 : 1e-4
  const { names = {} } = options
  const described = options.example ? undefined : exampleInput(model, options.sizes)
  const example = options.example ?? described!.input
  const inputs = example instanceof Tensor ? { x: example } : example
  const dynamic = options.dynamic ?? described?.dynamic ?? batchOf(inputs)
  const types = new Map(onnx.graph.inputs.map((v) => [v.name, v.dtype]))
  const places = Object.fromEntries(
    Object.keys(inputs).map((name) => [
      name,
      { name: ownValue(names, name) ?? name, integer: types.get(ownValue(names, name) ?? name) === 'i64' },
    ]),
  )
  const tolerance = options.tolerance ?? usual
  // Sizes that no trace had: a batch of one, and everything else one longer, images by what most nets for images take.
  const images = imageSizes(inputs, dynamic)
  const other = otherSizes(inputs, dynamic, (size, symbol) => (symbol === 'batch' ? 1 : size + (images.has(symbol) ? IMAGE_STEP : 1)))
  try {
    const first = await checkOnnx(model, file, inputs, places, tolerance, options.onnxruntime)
    if (!first || !other || !takes(model, other)) return first
    const second = (await checkOnnx(model, file, other, places, tolerance, options.onnxruntime))!
    return {
      ...first,
      difference: Math.max(first.difference, second.difference),
      differenceOptimized: Math.max(first.differenceOptimized, second.differenceOptimized),
    }
  } finally {
    for (const t of [...(described ? Object.values(inputs) : []), ...Object.values(other ?? {})]) t.dispose()
  }
}

/** Whether the model runs on these sizes: a file may leave sizes open that belong to each other. */
function takes(model: Model, inputs: Readonly<Record<string, Tensor>>): boolean {
  try {
    const list = Object.values(inputs)
    for (const t of Object.values(model.predictAll(list.length === 1 && inputs.x ? inputs.x : inputs))) t.dispose()
    return true
  } catch (error) {
    if (error instanceof ShapeError) return false
    throw error
  }
}
