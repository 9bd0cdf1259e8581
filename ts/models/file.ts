/**
 * A model as ONE safetensors file: weights, state, extras (tokenizer, probe), architecture and history. Any safetensors reader can list its tensors.
 *
 *   <path>          a dense weight, or a state tensor
 *   <path>:<part>   a part of any other weight kind; a weight that several layers share stands under the first of them, the header says for the others which
 *   extra:<name>    a named blob of the model
 *
 * Contract: what is loaded equals what was saved exactly. Written atomically, every section under a checksum. A tensor that is missing, left over
 * or of another shape than the architecture says is ERR_MODEL_FORMAT, and nothing stays allocated; NaN in weights loads (`inspect` counts it).
 */
import { emptyTable } from '../base/own.js'
import type { DType, RawTensor } from '../base/dtype.js'
import { isTersorError, ModelFormatError, OptionError, UnsupportedError } from '../base/errors.js'
import { sameShape } from '../base/shape.js'
import {
  detectFormat,
  encodeSafetensors,
  nodeIo,
  openSafetensors,
  readTfjs,
  writeFileAtomic,
  type SafetensorsFile,
  type SafetensorsReadOptions,
  type WriteOptions,
} from '../formats/index.js'
import { loadOnnx, modelFromTfjs, type OnnxModelOptions } from '../graph/index.js'
import { onDevice } from '../native/device.js'
import { build, Model, placesOf, weightKind, type ValueSource, type Weight } from '../nn/index.js'
import { fromRaw, scope, toRaw } from '../tensor/index.js'
import { fromCheckpoint, type CheckpointOptions } from './checkpoint.js'
import { decodeHeader, encodeHeader, EXTRA, HISTORY, METADATA_KEY, SHARED, type ModelHeader } from './header.js'
import { loadGguf } from './gguf/load.js'
import { isHuggingFace, loadHuggingFace } from './huggingface/load.js'
import { useLiteFromTfjs } from './use-lite-tfjs.js'

function encode(model: Model): Uint8Array[] {
  const tensors = new Map<string, RawTensor>()
  const weights = emptyTable<ModelHeader['weights'][string]>()
  const put = (name: string, raw: RawTensor): void => {
    if (tensors.has(name)) throw new OptionError('ERR_OPTION', `save: two things of the model are named ${JSON.stringify(name)}`)
    tensors.set(name, raw)
  }
  const places = placesOf(model)
  for (const { path, weight } of model.weights()) {
    if (path.includes(':')) throw new OptionError('ERR_OPTION', `save: names of modules must not contain ":", got ${JSON.stringify(path)}`)
    const [first] = places.get(weight)!
    if (first !== path) {
      weights[path] = { kind: SHARED, config: { of: first! }, shape: weight.shape }
      continue
    }
    const parts = Object.entries(onDevice(model.device, () => weight.parts()))
    if (weight.kind === 'dense') {
      put(path, parts[0]![1])
      continue
    }
    weights[path] = { kind: weight.kind, config: weight.config(), shape: weight.shape }
    for (const [part, raw] of parts) put(`${path}:${part}`, raw)
  }
  for (const [path, t] of model.state()) put(path, toRaw(t))
  for (const [name, raw] of Object.entries(model.extras)) put(EXTRA + name, raw)
  const { text, history } = encodeHeader({ architecture: model.spec(), info: model.info, weights, extras: Object.keys(model.extras) })
  if (history) put(HISTORY, history)
  return encodeSafetensors(tensors, { metadata: { [METADATA_KEY]: text } })
}

/** Bytes of the file that `saveModel` would write. */
export function modelFileBytes(model: Model): number {
  return encode(model).reduce((n, piece) => n + piece.byteLength, 0)
}

/** Writes the model to a file, crash-safe. Gives the bytes of the file. */
export function saveModel(model: Model, file: string, options: WriteOptions = {}): number {
  const other = /\.(onnx|gguf)$/i.exec(file)?.[1]
  if (other)
    throw new OptionError(
      'ERR_OPTION',
      `save: '${file}': this function writes safetensors; ${other === 'onnx' ? 'saveOnnx writes ONNX files' : 'tersor convert writes GGUF files'}`,
    )
  const pieces = encode(model)
  writeFileAtomic(file, pieces, options)
  return pieces.reduce((n, piece) => n + piece.byteLength, 0)
}

/** `architecture` (and what goes with it) is for files that hold tensors under PyTorch's names and do not say their architecture. */
/** `task` and `name` are for ONNX files, which say neither what their outputs mean nor a name. */
export type LoadOptions = SafetensorsReadOptions & Partial<CheckpointOptions> & Pick<OnnxModelOptions, 'task' | 'name' | 'links'>

/**
 * Loads a model: a file of `saveModel`, an ONNX file, a GGUF file of a GPT-2, Llama or Qwen2 model, a Hugging Face folder (config.json and model.safetensors; `loadHuggingFace` has options), the folder (or
 * model.json) of a tfjs graph or layers model, or, with `architecture`, tensors under the names of PyTorch's state dicts. The content
 * decides, not the name.
 *
 * @example
 * const model = loadModel('encoder.safetensors')
 * const imported = loadModel('model.onnx')
 * const net = loadModel('resnet18.safetensors', { architecture: 'resnet18' })   // torchvision's checkpoint as safetensors
 */
export function loadModel(file: string, options: LoadOptions = {}): Model {
  const io = options.io ?? nodeIo
  if (typeof file === 'string' && isFolder(io, file))
    return isHuggingFace(file, options) ? loadHuggingFace(file, options) : loadTfjs(`${file.replace(/[\\/]+$/, '')}/model.json`, options)
  const format = detectFormat(file, options)
  if (format === 'tfjs') return loadTfjs(file, options)
  if (format === 'onnx') return loadOnnx(file, options)
  if (format === 'gguf') return loadGguf(file, options)
  if (format !== 'safetensors')
    throw new UnsupportedError('ERR_UNSUPPORTED', `load '${file}': ${format} files hold tensors, not models`, { details: { what: format } })
  const source = openSafetensors(file, options)
  try {
    source.requireKnown()
    return scope(() => restore(`load '${file}'`, source, options))
  } finally {
    source.close()
  }
}

function isFolder(io: typeof nodeIo, file: string): boolean {
  try {
    return io.stat(file).isDirectory()
  } catch {
    return false // opening it says why
  }
}

/** Architectures that are rebuilt from tfjs graphs, others are imported node by node; each says undefined when the graph is not its own. */
const tfjsArchitectures = { 'use-lite': useLiteFromTfjs }

function loadTfjs(file: string, options: SafetensorsReadOptions & Pick<OnnxModelOptions, 'task' | 'name'>): Model {
  const graph = readTfjs(file, options)
  const folder = /[\\/]/.test(file) ? file.replace(/[\\/][^\\/]*$/, '') || '/' : '.'
  for (const make of Object.values(tfjsArchitectures)) {
    const model = make(graph, folder, options)
    if (model) return model
  }
  return modelFromTfjs(graph, { name: folder.split(/[\\/]/).at(-1) || 'tfjs', ...options }, `load '${file}'`)
}

function restore(where: string, source: SafetensorsFile, options: LoadOptions): Model {
  const text = source.metadata.get(METADATA_KEY)
  if (text === undefined && options.architecture !== undefined)
    return fromCheckpoint(source, { ...options, architecture: options.architecture }, where)
  if (text === undefined)
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      `${where}: the file holds tensors but no architecture (metadata "${METADATA_KEY}"): it was not written by Tersor; say \`architecture\``,
      {
        details: { what: 'safetensors without architecture' },
      },
    )
  const left = new Set(source.tensors.keys())
  const take = (name: string): RawTensor => {
    if (!left.delete(name)) throw formatError(where, 'missing', `tensor ${JSON.stringify(name)} is missing`, name)
    return source.readTensor(name)
  }
  const { architecture, info, weights, extras } = decodeHeader(where, text, left.has(HISTORY) ? take(HISTORY) : undefined, options)
  const described = new Map(Object.entries(weights))
  const partsOf = groupParts(left)
  const made = new Map<string, Weight>()
  const values: ValueSource = {
    weight: (path, shape) => {
      const w = described.get(path)?.kind === SHARED ? sharedWeight(path, shape) : ownWeight(path, shape)
      made.set(path, w)
      return w
    },
    state: (path, shape, _value, dtype) => fromRaw(checked(where, path, take(path), shape, dtype)),
  }
  const sharedWeight = (path: string, shape: readonly number[]): Weight => {
    const { config } = described.get(path)!
    described.delete(path)
    const of = typeof config === 'object' && config !== null && 'of' in config ? config.of : null
    const w = typeof of === 'string' ? made.get(of) : undefined
    if (!w)
      throw formatError(
        where,
        'weights',
        `weight ${JSON.stringify(path)} is said to be ${JSON.stringify(of)}, which no layer before it has`,
        path,
      )
    if (!sameShape(w.shape, shape)) throw wrongShape(where, path, w.shape, shape)
    return w
  }
  const ownWeight = (path: string, shape: readonly number[]): Weight => {
    const entry = described.get(path)
    described.delete(path)
    if (!entry) return weightKind('dense').restore({ value: checked(where, path, take(path), shape) }, {}, shape)
    const parts = Object.fromEntries((partsOf.get(path) ?? []).map((part) => [part, take(`${path}:${part}`)]))
    if (!sameShape(entry.shape, shape)) throw wrongShape(where, path, entry.shape, shape)
    return located(where, path, () => weightKind(entry.kind).restore(parts, entry.config, shape))
  }
  const root = fromFile(where, () => build(architecture, values))
  const blobs = Object.fromEntries(extras.map((name) => [name, take(EXTRA + name)]))
  if (described.size)
    throw formatError(where, 'weights', `the header describes weights that the architecture does not have: ${some(described.keys())}`)
  if (left.size) throw formatError(where, 'extra', `tensors that belong to nothing in the architecture: ${some(left)}`)
  return new Model(root, info, blobs)
}

/** Part names by weight path. */
function groupParts(names: Iterable<string>): Map<string, string[]> {
  const parts = new Map<string, string[]>()
  for (const name of names) {
    const colon = name.lastIndexOf(':')
    if (colon <= 0 || name.startsWith(EXTRA)) continue
    const path = name.slice(0, colon)
    parts.set(path, [...(parts.get(path) ?? []), name.slice(colon + 1)])
  }
  return parts
}

const floating: readonly DType[] = ['f32', 'f64', 'f16', 'bf16']

function checked(where: string, name: string, raw: RawTensor, shape: readonly number[], dtype?: DType): RawTensor {
  if (!sameShape(raw.shape, shape) || !(dtype ? [dtype] : floating).includes(raw.dtype))
    throw formatError(
      where,
      'shape',
      `tensor ${JSON.stringify(name)} must be ${dtype ?? 'floating'} [${shape.join(', ')}], got ${raw.dtype}[${raw.shape.join(', ')}]`,
      name,
    )
  return raw
}

function wrongShape(where: string, path: string, has: readonly number[], asked: readonly number[]): ModelFormatError {
  const rule = `weight ${JSON.stringify(path)} is [${has.join(', ')}], the architecture asks for [${asked.join(', ')}]`
  return formatError(where, 'shape', rule, path)
}

/** What a weight kind says of content that does not fit; memory and input errors pass through. */
const contentCodes: ReadonlySet<string> = new Set(['ERR_MODEL_FORMAT', 'ERR_SHAPE', 'ERR_DTYPE', 'ERR_OPTION', 'ERR_NUMERIC'])

/** A configuration that a module refuses is the file's fault here, not the caller's. */
function fromFile<T>(where: string, fn: () => T): T {
  try {
    return fn()
  } catch (error) {
    if (isTersorError(error) && error.code === 'ERR_OPTION') throw formatError(where, 'architecture', error.message, undefined, error)
    throw error
  }
}

/** Adds the weight's path to what its kind rejects. */
function located(where: string, path: string, restoreWeight: () => Weight): Weight {
  try {
    return restoreWeight()
  } catch (error) {
    if (!isTersorError(error) || !contentCodes.has(error.code)) throw error
    throw formatError(where, 'weight', `weight ${JSON.stringify(path)}: ${error.message}`, path, error)
  }
}

function formatError(where: string, reason: string, message: string, tensor?: string, cause?: unknown): ModelFormatError {
  return new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${message}`, {
    cause,
    details: { format: 'safetensors', reason, ...(tensor === undefined ? {} : { tensor }) },
  })
}

function some(names: Iterable<string>): string {
  const list = [...names]
  return (
    list
      .slice(0, 5)
      .map((name) => JSON.stringify(name))
      .join(', ') + (list.length > 5 ? ` and ${list.length - 5} more` : '')
  )
}
