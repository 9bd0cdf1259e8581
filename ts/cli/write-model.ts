/** Models to files, in the format that the name asks for: .onnx, else safetensors. */
import { saveModel } from '../models/file.js'
import type { Model } from '../nn/index.js'
import { saveOnnx } from '../runtime/save-onnx.js'
import type { Ui } from './ui.js'

/** Says what an .onnx file cannot: the scaling of inputs stands in the model's info, not among its ops. */
export function tellScaling({ info: { normalize } }: Model, ui: Ui): void {
  if (!normalize) return
  const { mean, std } = normalize
  const shown = (v: number | readonly number[]): string => {
    if (typeof v === 'number') return String(Number(v.toPrecision(6)))
    return `[${v.slice(0, 8).map(shown).join(', ')}${v.length > 8 ? ', ...' : ''}]`
  }
  ui.say(`the .onnx file takes inputs that are scaled already: (x - mean) / std, mean ${shown(mean)}, std ${shown(std)}`)
}

/** Writes the model, says how onnxruntime found an .onnx file, and gives the bytes. */
export async function writeModel(model: Model, file: string, ui: Ui): Promise<number> {
  if (!/\.onnx$/i.test(file)) return saveModel(model, file)
  const { bytes, check } = await saveOnnx(model, file)
  ui.say(
    check
      ? `onnxruntime ${check.version} agrees: within ${check.difference.toExponential(1)} of the largest value, ${check.differenceOptimized.toExponential(1)} as it runs by default`
      : 'onnxruntime-node is not installed: the file was not compared with the model',
  )
  tellScaling(model, ui)
  return bytes
}
