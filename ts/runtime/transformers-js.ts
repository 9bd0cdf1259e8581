/**
 * Folders as transformers.js reads them: config.json, the tokenizer's files and onnx/<file>.onnx.
 *
 * It names its inputs input_ids, attention_mask and token_type_ids, reads `logits` or `last_hidden_state`, pools embeddings itself, and lets language models
 * write with keys and values of earlier tokens that go through the program (`id-cache.ts` says what stands in for them here).
 */
import { copyFileSync, existsSync } from 'node:fs'
import path from 'node:path'
import { ModelFormatError, OptionError } from '../base/errors.js'
import type { JsonObject } from '../base/json-types.js'
import { makeFolder, readRegularFile, writeFileAtomic, type WriteOptions } from '../formats/index.js'
import type { OnnxModel } from '../formats/onnx/index.js'
import { graphOf } from '../graph/index.js'
import { saveHuggingFace } from '../models/index.js'
import { readTokenizerFiles } from '../models/huggingface/tokenizer-files.js'
import { Model, QuantizedWeight } from '../nn/index.js'
import { withIdCache } from './id-cache.js'
import { saveExported, type SavedOnnx, type SaveOnnxOptions } from './save-onnx.js'

/** Names of files in `onnx/` by the dtypes that transformers.js knows them by. */
export const transformersJsFiles = {
  fp32: 'model',
  fp16: 'model_fp16',
  q8: 'model_quantized',
  int8: 'model_int8',
  uint8: 'model_uint8',
  q4: 'model_q4',
  q4f16: 'model_q4f16',
  bnb4: 'model_bnb4',
} as const
type FileName = (typeof transformersJsFiles)[keyof typeof transformersJsFiles]

export interface TransformersJsOptions extends Pick<
  SaveOnnxOptions,
  'check' | 'tolerance' | 'onnxruntime' | 'io' | 'profile' | 'floats' | 'dynamicQuantization' | 'external' | 'sizes'
> {
  /**
   * Name of the file in `onnx/`. Default: 'model_quantized' (its q8) where weights are codes, 'model_q4' where they are all of at most 4 bits, 'model_fp16' with
   * f16 floats, else 'model' (its fp32).
   */
  readonly file?: FileName
  /** Folder with the config.json and tokenizer of a model that does not carry them (imported ONNX files); for other models: with their tokenizer. */
  readonly assets?: string
}

/** Results by the names that transformers.js reads. */
const results: Readonly<Record<string, string>> = {
  textEmbedding: 'last_hidden_state',
  textClassifier: 'logits',
  tokenClassifier: 'logits',
  maskedLanguage: 'logits',
  causalLanguage: 'logits',
}
const inputNames = ['input_ids', 'pixel_values', 'input_values', 'input_features', 'inputs_embeds']
const outputNames = ['logits', 'last_hidden_state', 'token_embeddings', 'sentence_embedding', 'text_embeds', 'image_embeds']
/** What its tokenizers and processors read, besides config.json. */
const assetNames = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'generation_config.json',
  'preprocessor_config.json',
  'processor_config.json',
  'chat_template.jinja',
]

/**
 * Writes a folder as transformers.js reads it. Takes transformers with a head of Tersor (embeddings, classifiers of texts and of tokens, masked and causal language
 * models; means and first tokens of embeddings are written as tokens, which transformers.js pools), and imported graphs whose inputs and outputs have the names that
 * transformers.js knows, with `assets`.
 *
 * - other models, an imported graph without `assets`: ERR_OPTION; an assets folder without a config.json that names a model_type: ERR_MODEL_FORMAT
 * - errors of `saveOnnx`; a folder that cannot be made: ERR_IO
 *
 * @example
 * await saveTransformersJs(model, 'my-classifier')     // then: pipeline('text-classification', 'my-classifier', { dtype: 'q8' })
 */
export async function saveTransformersJs(model: Model, folder: string, options: TransformersJsOptions = {}): Promise<SavedOnnx> {
  const { file = fileFor(model, options), assets, ...rest } = options
  const write = options.io ? { io: options.io } : {}
  const at = path.join(folder, 'onnx', `${file}.onnx`)
  const imported = graphOf(model.root) !== undefined
  const shown = imported ? model : withTokens(model)
  const config = imported ? checkImported(model, assets) : undefined
  makeFolder(path.join(folder, 'onnx'))
  let saved: SavedOnnx
  if (imported) saved = await saveExported(shown, at, rest, checkNames)
  else {
    const how = {
      ...rest,
      names: { ids: 'input_ids', mask: 'attention_mask', types: 'token_type_ids' },
      asIntegers: ['mask'],
      output: results[model.root.kind]!,
    }
    saved = await saveExported(shown, at, how, model.root.kind === 'causalLanguage' ? withIdCache : (onnx) => onnx)
    saveHuggingFace(shown, folder, { weights: false, ...write })
  }
  if (assets !== undefined) copyAssets(assets, folder, config, write)
  nameSpecialTokens(folder, write)
  if (saved.files.length > 1) sayExternal(folder, write)
  return saved
}

/** Throws what `saveTransformersJs` refuses by the kind of the model and its assets; for callers with work to do before they write. */
export function checkTransformersJs(model: Model, { assets }: Pick<TransformersJsOptions, 'assets'>): void {
  if (graphOf(model.root)) checkImported(model, assets)
  else withTokens(model)
}

function fileFor(model: Model, { floats }: TransformersJsOptions): FileName {
  const codes = model.weights().flatMap(({ weight }) => (weight instanceof QuantizedWeight ? [weight] : []))
  if (codes.length > 0) return codes.every(({ bits }) => bits <= 4) ? 'model_q4' : 'model_quantized'
  return floats === 'f16' ? 'model_fp16' : 'model'
}

/** The model with vectors of tokens where it pools them: transformers.js does that itself. The weights are those of the model. */
function withTokens(model: Model): Model {
  const { root, info, extras } = model
  if (!results[root.kind])
    throw new OptionError(
      'ERR_OPTION',
      `export: transformers.js folders hold ${Object.keys(results).join(', ')} and imported graphs, got ${root.kind}`,
    )
  const { output } = root.config as { readonly output?: string }
  if (root.kind !== 'textEmbedding' || output === 'tokens') return model
  if (output === 'pooled')
    throw new OptionError(
      'ERR_OPTION',
      "export: transformers.js has no pooler's output; load the model with output: 'tokens', 'mean' or 'first'",
    )
  return new Model({ ...root, config: { ...(root.config as object), output: 'tokens', normalize: false } }, info, extras)
}

/** config.json of an imported model. */
function checkImported(model: Model, assets: string | undefined): JsonObject {
  if (assets === undefined)
    throw new OptionError(
      'ERR_OPTION',
      `export: ${model.info.name} is an imported graph: transformers.js needs its config.json and tokenizer; give the folder that has them (assets)`,
    )
  const file = path.join(assets, 'config.json')
  if (!existsSync(file))
    throw new OptionError('ERR_OPTION', `export: '${assets}' has no config.json, by which transformers.js knows what the model is`)
  const config = readJson(file)
  if (typeof config.model_type !== 'string')
    throw new ModelFormatError('ERR_MODEL_FORMAT', `'${file}': must be an object with a model_type`, {
      details: { format: 'huggingface', reason: 'config', path: file },
    })
  return config
}

/** Inputs and outputs must have the names that transformers.js looks for. */
function checkNames(onnx: OnnxModel): OnnxModel {
  const [inputs, outputs] = [onnx.graph.inputs, onnx.graph.outputs].map((list) => list.map(({ name }) => name)) as [string[], string[]]
  const missing = (what: string, have: string[], known: string[]): never => {
    throw new OptionError(
      'ERR_OPTION',
      `export: transformers.js reads ${what} named ${known.join(', ')}; this model has ${have.join(', ')}`,
    )
  }
  if (!inputs.some((name) => inputNames.includes(name))) missing('inputs', inputs, inputNames)
  if (!outputs.some((name) => outputNames.includes(name))) missing('outputs', outputs, outputNames)
  return onnx
}

/** The tokenizer's files, and those of an imported model that say what it is. Older vocabularies become a tokenizer.json. */
function copyAssets(assets: string, folder: string, config: JsonObject | undefined, write: WriteOptions): void {
  const put = (name: string, value: unknown): void =>
    writeFileAtomic(path.join(folder, name), new TextEncoder().encode(`${JSON.stringify(value)}\n`), write)
  if (config) put('config.json', config)
  if (path.resolve(assets) === path.resolve(folder)) return
  for (const name of assetNames) if (existsSync(path.join(assets, name))) copyFileSync(path.join(assets, name), path.join(folder, name))
  if (existsSync(path.join(folder, 'tokenizer.json'))) return
  const { model_type } = config ?? readJson(path.join(folder, 'config.json'))
  const files = readTokenizerFiles(`export: '${assets}'`, assets, { type: typeof model_type === 'string' ? model_type : '' }, {})
  if (!files) return
  put('tokenizer.json', files.json)
  put('tokenizer_config.json', files.config)
}

/** transformers knows the special tokens of a tokenizer's class by heart; transformers.js reads them from tokenizer_config.json only. */
function nameSpecialTokens(folder: string, write: WriteOptions): void {
  const [tokenizer, configFile] = [path.join(folder, 'tokenizer.json'), path.join(folder, 'tokenizer_config.json')]
  if (!existsSync(tokenizer)) return
  const added = readJson(tokenizer).added_tokens as readonly { readonly content: string }[] | undefined
  const known = new Set(added?.map((t) => t.content))
  const config = existsSync(configFile) ? readJson(configFile) : {}
  for (const role of ['pad', 'unk', 'cls', 'sep', 'mask'])
    for (const token of [`[${role.toUpperCase()}]`, `<${role}>`]) if (known.has(token)) config[`${role}_token`] ??= token
  writeFileAtomic(configFile, new TextEncoder().encode(`${JSON.stringify(config)}\n`), write)
}

/** Constants in a file beside the model are fetched only where config.json says so. */
function sayExternal(folder: string, write: WriteOptions): void {
  const file = path.join(folder, 'config.json')
  const config = readJson(file)
  const own = { ...(config['transformers.js_config'] as object | undefined), use_external_data_format: true }
  writeFileAtomic(file, new TextEncoder().encode(`${JSON.stringify({ ...config, 'transformers.js_config': own })}\n`), write)
}

function readJson(file: string): Record<string, JsonObject[string]> {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(readRegularFile(file, { maxBytes: 2 ** 28 })))
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject
  throw new ModelFormatError('ERR_MODEL_FORMAT', `'${file}': must be a JSON object`, {
    details: { format: 'huggingface', reason: 'json', path: file },
  })
}
