/** Models to files, in the format that the name asks for: .onnx, else safetensors. */
import { saveModel } from '../models/file.js'
import type { Model } from '../nn/index.js'
import { saveOnnx } from '../runtime/save-onnx.js'
import type { Ui } from './ui.js'

/** Writes the model, says how onnxruntime found an .onnx file, and gives the bytes. */
export async function writeModel(model: Model, file: string, ui: Ui): Promise<number> {
  if (!/\.onnx$/i.test(file)) return saveModel(model, file)
  const { bytes, check } = await saveOnnx(model, file)
  ui.say(
    check
      ? `onnxruntime ${check.version} agrees: within ${check.difference.toExponential(1)} of the largest value, ${check.differenceOptimized.toExponential(1)} as it runs by default`
      : 'onnxruntime-node is not installed: the file was not compared with the model',
  )
  return bytes
}
