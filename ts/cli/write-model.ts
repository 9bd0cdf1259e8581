/** Models to files, in the format that the name asks for: .onnx, else safetensors; and to folders that are laid out for another program. */
import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import { Option } from 'commander'
import { OptionError } from '../base/errors.js'
import { saveModel } from '../models/file.js'
import type { Model } from '../nn/index.js'
import { saveOnnx } from '../runtime/save-onnx.js'
import { saveTransformersJs } from '../runtime/transformers-js.js'
import type { Ui } from './ui.js'

/** Folders that are laid out for another program. */
const layouts = ['transformers.js'] as const
export type Layout = (typeof layouts)[number]

export const layoutOption = (): Option =>
  new Option('--layout <layout>', 'the folder is laid out for this program: onnx/model_quantized.onnx, config.json, tokenizer').choices(
    layouts,
  )
export const assetsOption = (): Option =>
  new Option('--assets <folder>', 'with --layout: config.json and tokenizer of a model that has none (default: beside the file)')

/** What --layout writes is a folder: a file in its place is ERR_OPTION. */
export function checkLayout(command: string, out: string): void {
  if (statSync(out, { throwIfNoEntry: false })?.isDirectory() === false)
    throw new OptionError('ERR_OPTION', `${command}: --layout is for a folder, '${out}' is a file`)
}

/** Where the config.json and tokenizer of a model lie: in the folder that was named, or beside the file, above a folder that is called onnx. */
export function assetsOf(input: string, given: string | undefined): { assets?: string } {
  if (given !== undefined) return { assets: given }
  if (!statSync(input, { throwIfNoEntry: false })?.isFile()) return {}
  const beside = path.dirname(path.resolve(input))
  const found = path.basename(beside) === 'onnx' ? path.dirname(beside) : beside
  return existsSync(path.join(found, 'config.json')) ? { assets: found } : {}
}

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

/** Writes the model, says how onnxruntime found an .onnx file, and gives the bytes. `laidOut`: to a folder for transformers.js, with these assets. */
export async function writeModel(model: Model, file: string, ui: Ui, laidOut?: { readonly assets?: string }): Promise<number> {
  if (!laidOut && !/\.onnx$/i.test(file)) return saveModel(model, file)
  const { bytes, check } = await (laidOut ? saveTransformersJs(model, file, laidOut) : saveOnnx(model, file))
  ui.say(
    check
      ? `onnxruntime ${check.version} agrees: within ${check.difference.toExponential(1)} of the largest value, ${check.differenceOptimized.toExponential(1)} as it runs by default`
      : 'onnxruntime-node is not installed: the file was not compared with the model',
  )
  tellScaling(model, ui)
  return bytes
}
