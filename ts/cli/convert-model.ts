/**
 * Whole models of `tersor convert`: what a file or folder holds, and which outputs it can become. Tensors alone: models/convert.ts.
 */
import { OptionError } from '../base/errors.js'
import type { JsonObject } from '../base/json-types.js'
import { compress, quantize, recipe } from '../compress/index.js'
import { detectFormat, openGguf, openSafetensors, type FormatName } from '../formats/index.js'
import { ggufArchitectures, loadModel, saveGguf, saveHuggingFace, saveModel, type WritableType } from '../models/index.js'
import { METADATA_KEY } from '../models/header.js'
import { isKnownFolder } from '../models/huggingface/index.js'
import type { Model } from '../nn/index.js'
import { saveOnnx, type SaveOnnxOptions } from '../runtime/save-onnx.js'
import { saveTransformersJs } from '../runtime/transformers-js.js'
import type { Ui } from './ui.js'
import { assetsOf, tellScaling, type Layout } from './write-model.js'

/** What comes in: a format, and for some whether it is a model with its architecture. */
export type InputKind = 'Hugging Face folder' | 'Tersor model' | 'GGUF model' | 'ONNX model' | 'folder of tensors' | FormatName
export type OutputKind = 'safetensors' | 'gguf' | 'npz' | 'onnx' | 'folder' | Layout

const tensorOutputs: readonly OutputKind[] = ['safetensors', 'gguf', 'npz', 'folder']
/** Outputs that an input can become. `model`: as a whole; else its tensors are converted and names stay. */
const pairs: Readonly<Record<InputKind, { readonly model: readonly OutputKind[]; readonly tensors: readonly OutputKind[] }>> = {
  'Hugging Face folder': { model: ['onnx', 'gguf', 'folder', 'transformers.js'], tensors: ['safetensors', 'npz'] },
  'Tersor model': { model: ['onnx', 'safetensors', 'gguf', 'folder', 'transformers.js'], tensors: ['npz'] },
  'GGUF model': { model: ['onnx', 'folder', 'transformers.js'], tensors: ['safetensors', 'gguf', 'npz'] },
  'ONNX model': { model: ['safetensors', 'onnx', 'transformers.js'], tensors: ['npz', 'folder'] },
  'folder of tensors': { model: [], tensors: tensorOutputs },
  safetensors: { model: [], tensors: tensorOutputs },
  gguf: { model: [], tensors: tensorOutputs },
  npz: { model: [], tensors: tensorOutputs },
  npy: { model: [], tensors: tensorOutputs },
  tfjs: { model: ['onnx'], tensors: tensorOutputs },
  onnx: { model: [], tensors: [] },
  idx: { model: [], tensors: [] },
}

export function inputKind(input: string, folder: boolean): InputKind {
  if (folder) return isKnownFolder(input) ? 'Hugging Face folder' : 'folder of tensors'
  const format = detectFormat(input)
  if (format === 'onnx') return 'ONNX model'
  if (format === 'safetensors') {
    const file = openSafetensors(input)
    file.close()
    return file.metadata.has(METADATA_KEY) ? 'Tersor model' : format
  }
  if (format !== 'gguf') return format
  const file = openGguf(input)
  file.close()
  return ggufArchitectures.includes(file.text('general.architecture') ?? '') ? 'GGUF model' : format
}

const shown: Readonly<Record<OutputKind, string>> = {
  safetensors: '.safetensors',
  gguf: '.gguf',
  npz: '.npz',
  onnx: '.onnx',
  folder: 'a folder',
  'transformers.js': 'a folder for transformers.js',
}

/** Whether the pair goes as a whole model; a pair that does not go is ERR_OPTION and says what does. Integers of Tersor's are those of a Tersor model. */
export function goesWhole(input: string, from: InputKind, to: OutputKind, quantize?: string): boolean {
  const { model, tensors } = pairs[from]
  if (model.includes(to) || (model.length > 0 && to === 'safetensors' && isInteger(quantize))) return true
  if (tensors.includes(to)) return false
  const can = [...new Set([...model, ...tensors])].map((kind) => shown[kind])
  const why = to === 'onnx' ? 'holds tensors and does not say what is computed with them' : `cannot become ${shown[to]}`
  throw new OptionError('ERR_OPTION', `convert: '${input}' (${from}) ${why}; it can become: ${can.join(', ') || 'nothing'}`)
}

export const integerTypes = ['int8', 'int4'] as const
export type IntegerType = (typeof integerTypes)[number]

export interface ModelConversion {
  readonly dtype?: 'f32' | 'f16' | 'bf16'
  /** A type of GGUF, or integers of Tersor's for .onnx and .safetensors. */
  readonly quantize?: WritableType | IntegerType
  readonly shard?: number
  /** Open sizes of an imported graph that are fixed in .onnx. */
  readonly sizes?: Readonly<Record<string, number>>
  /** Of a folder for transformers.js: where config.json and the tokenizer of a model without them lie. */
  readonly assets?: string
  readonly check: boolean
  readonly onTensor: (done: number, total: number, name: string) => void
}

const refuse = (message: string): never => {
  throw new OptionError('ERR_OPTION', `convert: ${message}`)
}
const isInteger = (type: string | undefined): type is IntegerType => (integerTypes as readonly (string | undefined)[]).includes(type)

/** What goes together; called before anything is read. */
export function checkOptions(to: OutputKind, whole: boolean, o: Omit<ModelConversion, 'onTensor' | 'check'>): void {
  if (o.quantize !== undefined && to === 'gguf' && isInteger(o.quantize))
    refuse(`GGUF has no ${o.quantize}; its types are f16, bf16, q8_0, q4_0, ...`)
  if (o.quantize !== undefined && to !== 'gguf') {
    if (!whole || !(['onnx', 'safetensors', 'transformers.js'] as OutputKind[]).includes(to))
      refuse(`quantize is for GGUF, and int8 and int4 for models as .onnx, .safetensors and for transformers.js; the output is ${to}`)
    if (!isInteger(o.quantize))
      refuse(`--quantize ${o.quantize} is for GGUF; models as .onnx, .safetensors and for transformers.js take ${integerTypes.join(', ')}`)
  }
  if (o.shard !== undefined && to !== 'folder') refuse('shards are for a folder of safetensors')
  const asOnnx = whole && (to === 'onnx' || to === 'transformers.js')
  if (o.sizes !== undefined && !asOnnx) refuse('--size is for models that become .onnx')
  if (o.assets !== undefined && to !== 'transformers.js') refuse('--assets is for --layout transformers.js')
  if (whole && o.dtype !== undefined && to === 'safetensors')
    refuse('--dtype would change the weights of a Tersor model; it is for tensors, folders, .gguf and .onnx')
  if (asOnnx && o.dtype === 'bf16') refuse('--dtype for .onnx is f32 or f16')
}

/** Results by the names that transformers gives them in ONNX files. */
const results: Readonly<Record<string, string>> = {
  textEmbedding: 'last_hidden_state',
  textClassifier: 'logits',
  tokenClassifier: 'logits',
  maskedLanguage: 'logits',
  causalLanguage: 'logits',
}

function onnxNames(model: Model): SaveOnnxOptions {
  const output = results[model.root.kind]
  const names = { ids: 'input_ids', mask: 'attention_mask', types: 'token_type_ids' }
  return output ? { names, asIntegers: ['mask'], output } : {}
}

async function quantized(model: Model, type: IntegerType, ui: Ui): Promise<Model> {
  const pass = type === 'int8' ? quantize.rtn({ bits: 8 }) : quantize.rtn({ bits: 4, layout: 'group', groupSize: 32, mode: 'affine' })
  return (await compress(model, recipe([[pass]]), { signal: ui.signal })).model
}

/** Loads, quantizes where asked, writes; gives the files and what onnxruntime found. */
export async function convertModel(
  input: string,
  out: string,
  to: OutputKind,
  o: ModelConversion,
  ui: Ui,
): Promise<{ readonly files: readonly string[]; readonly facts: JsonObject }> {
  const loaded = loadModel(input)
  const model = isInteger(o.quantize) ? await quantized(loaded, o.quantize, ui) : loaded
  if (to === 'folder') {
    saveHuggingFace(model, out, { ...(o.dtype ? { dtype: o.dtype } : {}), ...(o.shard ? { maxShardBytes: o.shard } : {}) })
    return { files: [out], facts: {} }
  }
  if (to === 'gguf') {
    const type = (o.quantize as WritableType | undefined) ?? o.dtype ?? 'f32'
    saveGguf(model, out, { type, onTensor: (name, done, total) => o.onTensor(done, total, name) })
    return { files: [out], facts: {} }
  }
  if (to === 'safetensors') {
    saveModel(model, out)
    return { files: [out], facts: {} }
  }
  const onnx = { check: o.check, ...(o.sizes ? { sizes: o.sizes } : {}), ...(o.dtype === 'f16' ? ({ floats: 'f16' } as const) : {}) }
  const { files, check } =
    to === 'transformers.js'
      ? await saveTransformersJs(model, out, { ...onnx, ...assetsOf(input, o.assets) })
      : await saveOnnx(model, out, { ...onnx, ...onnxNames(model) })
  ui.say(
    check
      ? `onnxruntime ${check.version} agrees: within ${check.difference.toExponential(1)} of the largest value`
      : 'not compared with onnxruntime-node (not installed, or --no-check)',
  )
  tellScaling(model, ui)
  const written = to === 'transformers.js' ? [out] : files
  return { files: written, facts: check ? { onnxruntime: check.version, difference: check.difference } : {} }
}
