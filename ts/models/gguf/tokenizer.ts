/** Byte-level BPE tokenizers between tokenizer.json and GGUF's keys tokenizer.ggml.* ("gpt2": tokens, their types, merges). */
import { ModelFormatError, UnsupportedError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import type { GgufFile, GgufValue } from '../../formats/index.js'
import { HubTokenizer, type HubTokenizerFiles } from '../tokenizer/hub.js'
import { byteLevel } from '../tokenizer/vocabulary-files.js'

const NORMAL = 1
const CONTROL = 3
const UNUSED = 5

const isObject = (v: Json | undefined): v is JsonObject => typeof v === 'object' && v !== null && !Array.isArray(v)
const KEY = 'tokenizer.ggml.'

/** Keys of the tokenizer for a table of `rows` tokens. Without a tokenizer: llama.cpp's "none". */
export function tokenizerMetadata(where: string, files: HubTokenizerFiles | undefined, rows: number): Record<string, GgufValue> {
  if (!files) return { [`${KEY}model`]: { type: 'string', value: 'none' } }
  const model = files.json.model
  if (!isObject(model) || model.type !== 'BPE' || !isObject(model.vocab) || !Array.isArray(model.merges))
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: only byte-level BPE tokenizers can be written`, {
      details: { what: 'tokenizer' },
    })
  const tokens = Array.from({ length: rows }, (_, i) => `[PAD${i}]`)
  const types = new Int32Array(rows).fill(UNUSED)
  const put = (token: string, id: Json | undefined, type: number): void => {
    if (typeof id !== 'number' || id < 0 || id >= rows) return
    tokens[id] = token
    types[id] = type
  }
  for (const [token, id] of Object.entries(model.vocab)) put(token, id, NORMAL)
  const added = Array.isArray(files.json.added_tokens) ? (files.json.added_tokens as readonly Json[]).filter(isObject) : []
  for (const t of added) if (typeof t.content === 'string') put(t.content, t.id, t.special === true ? CONTROL : NORMAL)
  const merges = (model.merges as readonly Json[]).map((m) => (Array.isArray(m) ? m.join(' ') : (m as string)))
  const end = tokens.indexOf('<|endoftext|>')
  const ends = ['bos_token_id', 'eos_token_id'].map((name) => [`${KEY}${name}`, { type: 'u32', value: end }] as const)
  return {
    [`${KEY}model`]: { type: 'string', value: 'gpt2' },
    [`${KEY}pre`]: { type: 'string', value: 'gpt-2' },
    [`${KEY}tokens`]: { type: 'array', of: 'string', value: tokens },
    [`${KEY}token_type`]: { type: 'array', of: 'i32', value: types },
    [`${KEY}merges`]: { type: 'array', of: 'string', value: merges },
    ...(end < 0 ? {} : Object.fromEntries(ends)),
    [`${KEY}add_bos_token`]: { type: 'bool', value: false },
  }
}

/** The tokenizer of a file; undefined where it has none of this kind (a model can also be given ids). */
export function readTokenizer(where: string, file: GgufFile): HubTokenizerFiles | undefined {
  if (file.text(`${KEY}model`) !== 'gpt2') return undefined
  const tokens = strings(where, file, `${KEY}tokens`)
  const merges = strings(where, file, `${KEY}merges`)
  const types = file.metadata.get(`${KEY}token_type`)
  const unused = types?.type === 'array' && types.of === 'i32' ? types.value : undefined
  const vocabulary = Object.fromEntries(tokens.map((token, id) => [token, id] as const).filter(([, id]) => unused?.[id] !== UNUSED))
  return new HubTokenizer({ tokenizer: 'huggingface', json: byteLevel(vocabulary, merges.join('\n'), false, {}), config: {} }).files
}

function strings(where: string, file: GgufFile, key: string): readonly string[] {
  const found = file.metadata.get(key)
  if (found?.type === 'array' && found.of === 'string') return found.value
  throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: metadata "${key}" must be an array of strings`, {
    details: { format: 'gguf', reason: 'tokenizer', key },
  })
}
