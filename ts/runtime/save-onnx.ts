/** Models as ONNX files, checked by onnxruntime where it is installed; and as folders for transformers.js. */
import { existsSync, mkdirSync, statSync } from 'node:fs'
import path from 'node:path'
import { OptionError, ShapeError } from '../base/errors.js'
import { encodeOnnx, wantsExternal, writeOnnx, type OnnxModel } from '../formats/onnx/index.js'
import { readRegularFile, writeFileAtomic, type WriteOptions } from '../formats/index.js'
import { batchOf, exampleInput, exportOnnx, IMAGE_STEP, imageSizes, otherSizes, type ExportOptions } from '../graph/export/index.js'
import { saveHuggingFace } from '../models/index.js'
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
export async function saveOnnx(model: Model, file: string, options: SaveOnnxOptions = {}): Promise<SavedOnnx> {
  const onnx = exportOnnx(model, options)
  if (options.external ?? wantsExternal(onnx)) {
    // onnxruntime finds the constants by the names of files: the check follows the writing.
    const files = writeOnnx(file, onnx, { ...options, external: true })
    const bytes = files.reduce((n, name) => n + statSync(name).size, 0)
    return { files, bytes, check: await compare(model, onnx, file, options) }
  }
  const bytes = encodeOnnx(onnx)
  const check = await compare(model, onnx, bytes, options)
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
    Object.keys(inputs).map((name) => [name, { name: names[name] ?? name, integer: types.get(names[name] ?? name) === 'i64' }]),
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

export interface TransformersJsOptions extends Pick<
  SaveOnnxOptions,
  'check' | 'tolerance' | 'onnxruntime' | 'io' | 'profile' | 'floats' | 'dynamicQuantization'
> {
  /** Name of the file in `onnx/`, by the names that transformers.js knows its dtypes by. Default: 'model_quantized' (its q8) where weights are codes, else 'model' (its fp32). */
  readonly file?: 'model' | 'model_quantized' | 'model_fp16' | 'model_int8' | 'model_q4' | 'model_bnb4'
}

/** Results by the names that transformers.js reads. */
const results: Readonly<Record<string, string>> = {
  textEmbedding: 'last_hidden_state',
  textClassifier: 'logits',
  tokenClassifier: 'logits',
  maskedLanguage: 'logits',
}

/**
 * Writes a folder as transformers.js reads it: config.json, the tokenizer's files and onnx/<file>.onnx. Takes BERT-like models: embeddings (of
 * tokens: pool there), classifiers of texts and tokens, masked language models. Other models: ERR_OPTION.
 *
 * @example
 * await saveTransformersJs(model, 'my-classifier')     // then: pipeline('text-classification', 'my-classifier', { dtype: 'q8' })
 */
export async function saveTransformersJs(model: Model, folder: string, options: TransformersJsOptions = {}): Promise<SavedOnnx> {
  const output = results[model.root.kind]
  if (!output)
    throw new OptionError('ERR_OPTION', `export: transformers.js folders hold ${Object.keys(results).join(', ')}, got ${model.root.kind}`)
  if (model.root.kind === 'textEmbedding' && (model.root.config as { readonly output?: string }).output !== 'tokens')
    throw new OptionError('ERR_OPTION', "export: transformers.js pools embeddings itself; load the model with output: 'tokens'")
  const codes = model.weights().some(({ weight }) => weight.kind === 'quantized')
  const { file = codes ? 'model_quantized' : 'model', ...rest } = options
  mkdirSync(path.join(folder, 'onnx'), { recursive: true })
  const saved = await saveOnnx(model, path.join(folder, 'onnx', `${file}.onnx`), {
    ...rest,
    names: { ids: 'input_ids', mask: 'attention_mask', types: 'token_type_ids' },
    asIntegers: ['mask'],
    output,
  })
  const write = options.io ? { io: options.io } : {}
  saveHuggingFace(model, folder, { weights: false, ...write })
  nameSpecialTokens(folder, write)
  return saved
}

/** transformers knows the special tokens of a tokenizer's class by heart; transformers.js reads them from tokenizer_config.json only. */
function nameSpecialTokens(folder: string, write: WriteOptions): void {
  const [tokenizer, configFile] = [path.join(folder, 'tokenizer.json'), path.join(folder, 'tokenizer_config.json')]
  if (!existsSync(tokenizer)) return
  const known = new Set(
    (readJson(tokenizer) as { readonly added_tokens?: readonly { readonly content: string }[] }).added_tokens?.map((t) => t.content),
  )
  const config = readJson(configFile) as Record<string, unknown>
  for (const role of ['pad', 'unk', 'cls', 'sep', 'mask'])
    for (const token of [`[${role.toUpperCase()}]`, `<${role}>`]) if (known.has(token)) config[`${role}_token`] ??= token
  writeFileAtomic(configFile, new TextEncoder().encode(`${JSON.stringify(config)}\n`), write)
}
const readJson = (file: string): unknown => JSON.parse(new TextDecoder().decode(readRegularFile(file)))
