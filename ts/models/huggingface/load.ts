/**
 * Loads Hugging Face folders: config.json with model.safetensors (or its shards) and the tokenizer's files.
 *
 * Contract: every tensor of the file is a weight of the model, a buffer, a copy of a tied weight (compared), or belongs to a head of the family that
 * the model does not have (listed in `info.unused`); any other is ERR_MODEL_FORMAT, and nothing stays allocated. Weights are f32 in memory,
 * whatever the file's floating type.
 */
import { ModelFormatError, OptionError, UnsupportedError } from '../../base/errors.js'
import type { Json } from '../../base/json-types.js'
import { Rng } from '../../base/rng.js'
import { sameShape } from '../../base/shape.js'
import { build, DenseWeight, freshValues, Model, type ModelTask, type ValueSource } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import { packJson } from '../header.js'
import { TOKENIZER } from '../inputs.js'
import { readConfig, specWithHead, type HubConfig } from './config.js'
import { families } from './families.js'
import { isTied, type HeadName } from './family.js'
import { fromFile, shapeInFile } from './layout.js'
import { KnownNames, nameOf } from './names.js'
import { HubTensors, hasFile, readJson, type HubReadOptions } from './tensors.js'
import { readTokenizerFiles } from './tokenizer-files.js'

export interface HuggingFaceOptions extends HubReadOptions {
  /**
   * What the model is for, instead of what `architectures` in config.json says: 'embedding', 'classifier', 'tokens' or 'language'. Tensors of
   * this head that the files lack begin fresh, by `seed`: that is how a pre-trained body gets a new classifier.
   */
  readonly head?: HeadName
  /** Names of the classes, for a new classifier; default: those of config.json. */
  readonly classes?: readonly string[]
  /**
   * Of an embedding: 'tokens' [B, T, C], 'mean' over tokens, 'first' token, BERT's 'pooled'. Default 'mean', or what 1_Pooling/config.json of a
   * Sentence Transformers folder says.
   */
  readonly output?: 'tokens' | 'mean' | 'first' | 'pooled'
  /** Of a head that begins fresh. Default 0. */
  readonly seed?: number
}

const tasks: Readonly<Record<HeadName, ModelTask>> = {
  embedding: 'embedding',
  classifier: 'classification',
  tokens: 'tokens',
  language: 'language',
}

/** Whether a folder holds a Hugging Face model. */
export function isHuggingFace(folder: string, options: HubReadOptions = {}): boolean {
  return hasFile(folder, 'config.json', options)
}

/** Whether its model_type is one that `loadHuggingFace` knows. */
export function isKnownFolder(folder: string, options: HubReadOptions = {}): boolean {
  if (!isHuggingFace(folder, options)) return false
  const json = readJson(folder.replace(/[\\/]+$/, '') || '/', 'config.json', options)
  const type = typeof json === 'object' && json !== null && 'model_type' in json ? json.model_type : undefined
  return typeof type === 'string' && families.some((f) => Object.hasOwn(f.types, type))
}

/**
 * Loads a folder of a BERT, RoBERTa (also XLM-RoBERTa, CamemBERT), ALBERT, DistilBERT, GPT-2, Llama, Mistral or Qwen2 model.
 *
 * - another model_type, architecture, variant or way of pooling, no safetensors: ERR_UNSUPPORTED; tensors missing, unknown or of other shapes: ERR_MODEL_FORMAT
 *
 * @example
 * const model = loadHuggingFace('bert-base-uncased', { head: 'classifier', classes: ['ham', 'spam'] })
 */
export function loadHuggingFace(folder: string, options: HuggingFaceOptions = {}): Model {
  const root = folder.replace(/[\\/]+$/, '') || '/'
  const where = `load '${root}'`
  const config = readConfig(`${where}: config.json`, readJson(root, 'config.json', options), options.head)
  const prefix = config.family.types[config.type]!
  const known = new KnownNames(config.family, prefix)
  const tensors = new HubTensors(root, known, options)
  try {
    return scope(() => restore(where, root, config, tensors, known, options))
  } finally {
    tensors.close()
  }
}

function restore(
  where: string,
  folder: string,
  config: HubConfig,
  tensors: HubTensors,
  known: KnownNames,
  options: HuggingFaceOptions,
): Model {
  const { family } = config
  const prefix = family.types[config.type]!
  const head = config.head ?? 'embedding'
  if (options.classes && head !== 'classifier' && head !== 'tokens')
    throw new OptionError('ERR_OPTION', `${where}: classes are for the heads classifier and tokens, this is ${head}`)
  const labels = options.classes ?? config.labels
  const poolerRow = family.hasPooler ? nameOf(family, 'embedding', 'pooler.weight').name : undefined
  const spec = specWithHead(config, head, {
    classes: labels.length,
    pooler: poolerRow !== undefined && tensors.has(poolerRow),
    ...(head === 'embedding' ? pooling(where, folder, options) : {}),
  })
  const left = new Set(tensors.names())
  const used = new Set<string>()
  const fresh = freshValues(Rng.of(options.seed ?? 0, 'head'))
  const begun: string[] = []
  const values: ValueSource = {
    weight: (path, shape, init) => {
      const { name: own, layout } = nameOf(family, head, path)
      // Of two names of a tied weight a file may hold either.
      const name = tensors.has(own) ? own : (Object.keys(family.copies).find((c) => family.copies[c] === own && tensors.has(c)) ?? own)
      if (!tensors.has(name) && options.head !== undefined && !path.startsWith('body.')) {
        begun.push(path)
        return fresh.weight(path, shape, init)
      }
      const raw = tensors.read(name, prefix)
      left.delete(name)
      used.add(name)
      const wanted = shapeInFile(layout, shape)
      if (!sameShape(raw.shape, wanted) || !['f32', 'f64', 'f16', 'bf16'].includes(raw.dtype))
        throw formatError(
          where,
          'shape',
          `tensor ${JSON.stringify(tensors.original(name))} must be floating [${wanted.join(', ')}], got ${raw.dtype}[${raw.shape.join(', ')}]`,
        )
      return new DenseWeight(fromFile(layout, raw))
    },
    state: (path) => {
      throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: no state expected at ${path}`)
    },
  }
  const module = build(spec, values)
  const unused = settle(where, config, tensors, left, used, known)
  const files = readTokenizerFiles(where, folder, config, options)
  const info = {
    name: baseName(folder),
    task: tasks[head],
    ...(head === 'classifier' || head === 'tokens' ? { classes: labels } : {}),
    history: [{ source: `Hugging Face ${config.type}`, ...(begun.length ? { fresh: begun } : {}) } as Json],
    huggingFace: config.json,
    ...(unused.length ? { unused } : {}),
  }
  return new Model(module, info, files ? { [TOKENIZER]: packJson('tokenizer', files) } : {})
}

/** Checks what is left over in the files; gives the tensors of heads that the model does not have. */
function settle(
  where: string,
  { family, json }: HubConfig,
  tensors: HubTensors,
  left: Set<string>,
  used: Set<string>,
  known: KnownNames,
): string[] {
  const prefix = Object.values(family.types)[0]!
  for (const [copy, of] of Object.entries(family.copies)) {
    if (!isTied(family, json) || !left.has(copy) || !used.has(of)) continue
    left.delete(copy)
    const [a, b] = [tensors.read(copy, prefix), tensors.read(of, prefix)]
    if (
      !sameShape(a.shape, b.shape) ||
      a.dtype !== b.dtype ||
      !Buffer.from(a.data.buffer, a.data.byteOffset, a.data.byteLength).equals(b.data)
    )
      throw formatError(
        where,
        'tied',
        `tensors ${JSON.stringify(tensors.original(copy))} and ${JSON.stringify(tensors.original(of))} are tied and must be equal (config.json: tie_word_embeddings)`,
      )
  }
  const strange = [...left].filter((name) => !known.ofAnyHead(name)).map((name) => tensors.original(name))
  if (strange.length)
    throw formatError(
      where,
      'unknown',
      `tensors that belong to nothing in a model of ${Object.keys(family.types)[0]} and this config.json: ${strange.slice(0, 5).join(', ')}${strange.length > 5 ? ` and ${strange.length - 5} more` : ''}`,
    )
  return [...left].map((name) => tensors.original(name)).sort()
}

const MODULES: ReadonlySet<string> = new Set(['Transformer', 'Pooling', 'Normalize'])
const POOLING: Readonly<Record<string, 'mean' | 'first'>> = { pooling_mode_mean_tokens: 'mean', pooling_mode_cls_token: 'first' }

/** What a Sentence Transformers folder says about the vector of a text. */
function pooling(
  where: string,
  folder: string,
  options: HuggingFaceOptions,
): { output: 'tokens' | 'mean' | 'first' | 'pooled'; normalize: boolean } {
  const types = hasFile(folder, 'modules.json', options) ? moduleTypes(readJson(folder, 'modules.json', options)) : []
  const normalize = types.includes('Normalize')
  if (options.output) return { output: options.output, normalize: normalize && options.output !== 'tokens' }
  const refuse = (what: string, message: string): never => {
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: ${message}; give the option output`, { details: { what } })
  }
  const other = types.find((type) => !MODULES.has(type))
  if (other !== undefined) refuse(other, `modules.json: only ${[...MODULES].join(', ')} are supported, got ${other}`)
  if (!hasFile(folder, '1_Pooling/config.json', options)) return { output: 'mean', normalize }
  const json = readJson(folder, '1_Pooling/config.json', options)
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw formatError(where, 'pooling', '1_Pooling/config.json: must be an object')
  const modes = Object.entries(json).flatMap(([name, on]) => (name.startsWith('pooling_mode_') && on === true ? [name] : []))
  const output = modes.length === 1 ? POOLING[modes[0]!] : undefined
  if (output) return { output, normalize }
  return refuse(
    modes.join(' + ') || 'no pooling',
    `1_Pooling/config.json: either the mean of tokens or the first token alone is supported, got ${modes.join(' and ') || 'none'}`,
  )
}

/** Last parts of their class names: "Transformer", "Pooling", "Normalize", "Dense". */
function moduleTypes(modules: Json): string[] {
  if (!Array.isArray(modules)) return []
  return (modules as readonly Json[]).map((m) => {
    const type = typeof m === 'object' && m !== null && 'type' in m ? m.type : null
    return typeof type === 'string' ? type.slice(type.lastIndexOf('.') + 1) : JSON.stringify(type)
  })
}

function baseName(folder: string): string {
  return folder.split(/[\\/]/).filter(Boolean).pop() ?? 'model'
}

function formatError(where: string, reason: string, message: string): ModelFormatError {
  return new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${message}`, { details: { format: 'huggingface', reason } })
}
