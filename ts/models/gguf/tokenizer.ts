/**
 * BPE tokenizers between tokenizer.json and GGUF's keys tokenizer.ggml.*: byte-level ones ("gpt2": tokens, their types, merges, the name of how text is cut
 * first) and SentencePiece's ("llama": tokens, types, scores; sentence-piece.ts).
 */
import { ModelFormatError, UnsupportedError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import type { GgufFile, GgufValue } from '../../formats/index.js'
import { HubTokenizer, type HubTokenizerFiles } from '../tokenizer/hub.js'
import { byteLevel } from '../tokenizer/vocabulary-files.js'
import { isSentencePiece, scoresOf, sentencePiece } from './sentence-piece.js'

/** Values of tokenizer.ggml.token_type. */
const types = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const

const isObject = (v: Json | undefined): v is JsonObject => typeof v === 'object' && v !== null && !Array.isArray(v)
const KEY = 'tokenizer.ggml.'

const words = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
const rest = ' ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'
/** How text is cut before the merges, by tokenizer.ggml.pre: an expression, or null for GPT-2's own. */
const cuts: Readonly<Record<string, string | null>> = {
  'gpt-2': null,
  'llama-bpe': `${words}|\\p{N}{1,3}|${rest}`,
  qwen2: `${words}|\\p{N}|${rest}`,
}

/** What llama.cpp takes for the same. */
const aliases: Readonly<Record<string, string>> = { default: 'gpt-2', llama3: 'llama-bpe', 'llama-v3': 'llama-bpe' }

const bool = (value: boolean): GgufValue => ({ type: 'bool', value })
const contentOf = (token: Json | undefined): Json | undefined => (isObject(token) ? token.content : token)

/** The name of the way in which a tokenizer.json cuts text; undefined for one that GGUF has no name for. */
function cutOf(json: JsonObject): string | undefined {
  const cut = json.pre_tokenizer
  if (!isObject(cut)) return undefined
  if (cut.type === 'ByteLevel') return cut.use_regex === false ? undefined : 'gpt-2'
  const steps = Array.isArray(cut.pretokenizers) ? (cut.pretokenizers as readonly Json[]).filter(isObject) : []
  const [split] = steps
  if (split?.type === 'ByteLevel' && split.use_regex !== false) return 'gpt-2'
  const expression = isObject(split?.pattern) ? split.pattern.Regex : undefined
  return Object.keys(cuts).find((name) => cuts[name] !== null && cuts[name] === expression)
}

/** Special tokens at the beginning of a text, as the post-processor puts them. */
function beginsWith(json: JsonObject, config: JsonObject, token: Json | undefined): boolean {
  const post = json.post_processor
  const steps = isObject(post) && Array.isArray(post.processors) ? (post.processors as readonly Json[]) : [post]
  const template = steps.filter(isObject).find((p) => p.type === 'TemplateProcessing')
  const first = Array.isArray(template?.single) ? (template.single as readonly Json[])[0] : undefined
  const special = isObject(first) && isObject(first.SpecialToken) ? first.SpecialToken.id : undefined
  return template ? special !== undefined && special === token : config.add_bos_token === true
}

/** Keys of the tokenizer for a table of `rows` tokens. Without a tokenizer: llama.cpp's "none". */
export function tokenizerMetadata(where: string, files: HubTokenizerFiles | undefined, rows: number): Record<string, GgufValue> {
  if (!files) return { [`${KEY}model`]: { type: 'string', value: 'none' } }
  const refuse = (message: string): never => {
    throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: ${message}`, { details: { what: 'tokenizer' } })
  }
  const { json, config } = files
  const model = json.model
  if (!isObject(model) || model.type !== 'BPE' || !isObject(model.vocab) || !Array.isArray(model.merges))
    return refuse('only BPE tokenizers can be written')
  const pieces = isSentencePiece(model)
  const cut = pieces ? undefined : cutOf(json)
  if (!pieces && cut === undefined)
    return refuse(`a tokenizer that cuts text in its own way cannot be written; known: ${Object.keys(cuts).join(', ')}`)
  const tokens = Array.from({ length: rows }, (_, i) => `[PAD${i}]`)
  const kinds = new Int32Array(rows).fill(types.unused)
  const put = (token: string, id: Json | undefined, kind: number): void => {
    if (typeof id !== 'number' || id < 0 || id >= rows) return
    tokens[id] = token
    kinds[id] = kind
  }
  const kindOf = (token: string): number => {
    if (pieces && /^<0x[0-9A-F]{2}>$/.test(token)) return types.byte
    return pieces && token === model.unk_token ? types.unknown : types.normal
  }
  for (const [token, id] of Object.entries(model.vocab)) put(token, id, kindOf(token))
  const added = Array.isArray(json.added_tokens) ? (json.added_tokens as readonly Json[]).filter(isObject) : []
  for (const t of added)
    if (typeof t.content === 'string' && t.content !== model.unk_token)
      put(t.content, t.id, t.special === true ? types.control : pieces ? types.userDefined : types.normal)
  const merges = (model.merges as readonly Json[]).map((m) => (Array.isArray(m) ? m.join(' ') : (m as string)))
  const special = ([role, token]: readonly [string, Json | undefined]): [string, GgufValue][] => {
    const id = typeof token === 'string' ? tokens.indexOf(token) : -1
    return id < 0 ? [] : [[`${KEY}${role}_token_id`, { type: 'u32', value: id }]]
  }
  const bos = contentOf(config.bos_token) ?? (pieces ? '<s>' : '<|endoftext|>')
  const eos = contentOf(config.eos_token) ?? (pieces ? '</s>' : '<|endoftext|>')
  const ids = [['bos', bos] as const, ['eos', eos] as const, ...(pieces ? [['unknown', model.unk_token] as const] : [])]
  return {
    [`${KEY}model`]: { type: 'string', value: pieces ? 'llama' : 'gpt2' },
    [`${KEY}pre`]: { type: 'string', value: cut ?? 'default' },
    [`${KEY}tokens`]: { type: 'array', of: 'string', value: tokens },
    [`${KEY}token_type`]: { type: 'array', of: 'i32', value: kinds },
    ...(pieces
      ? { [`${KEY}scores`]: { type: 'array', of: 'f32', value: scoresOf(tokens, merges) }, [`${KEY}add_space_prefix`]: bool(true) }
      : { [`${KEY}merges`]: { type: 'array', of: 'string', value: merges } }),
    ...Object.fromEntries(ids.flatMap(special)),
    [`${KEY}add_bos_token`]: bool(beginsWith(json, config, bos)),
    ...(pieces ? { [`${KEY}add_eos_token`]: bool(false) } : {}),
  }
}

/** The tokenizer of a file; undefined where it has none of these kinds (a model can also be given ids). */
export function readTokenizer(where: string, file: GgufFile): HubTokenizerFiles | undefined {
  const model = file.text(`${KEY}model`)
  const pre = file.text(`${KEY}pre`) ?? 'gpt-2'
  const cut = Object.hasOwn(aliases, pre) ? cuts[aliases[pre]!] : Object.hasOwn(cuts, pre) ? cuts[pre] : undefined
  if (model !== 'llama' && (model !== 'gpt2' || cut === undefined)) return undefined
  const tokens = strings(where, file, `${KEY}tokens`)
  const found = file.metadata.get(`${KEY}token_type`)
  const kinds = found?.type === 'array' && found.of === 'i32' ? found.value : undefined
  const kindOf = (id: number): number => Number(kinds?.[id] ?? types.normal)
  const vocabulary = Object.fromEntries(tokens.map((token, id) => [token, id] as const).filter(([, id]) => kindOf(id) !== types.unused))
  const role = (name: string): string | undefined => {
    const id = file.number(`${KEY}${name}_token_id`)
    return id === undefined ? undefined : tokens[id]
  }
  const [bos, eos] = [role('bos'), role('eos')]
  const begins = file.metadata.get(`${KEY}add_bos_token`)?.value ?? model === 'llama'
  let json: JsonObject
  if (model === 'llama') json = sentencePiece(tokens, vocabulary, numbers(where, file, `${KEY}scores`), role('unknown') ?? '<unk>')
  else json = byteLevel(vocabulary, strings(where, file, `${KEY}merges`).join('\n'), false, {})
  if (cut) json = { ...json, pre_tokenizer: cutting(cut) }
  const known = new Set((json.added_tokens as readonly JsonObject[]).map((t) => t.content))
  const controls = tokens.flatMap((token, id) => (kindOf(id) === types.control && !known.has(token) ? [addedToken(token, id)] : []))
  json = { ...json, added_tokens: [...(json.added_tokens as readonly Json[]), ...controls] }
  if (begins === true && bos !== undefined) json = { ...json, post_processor: behind(bos, tokens.indexOf(bos)) }
  const config = { ...(bos === undefined ? {} : { bos_token: bos }), ...(eos === undefined ? {} : { eos_token: eos }) }
  return new HubTokenizer({ tokenizer: 'huggingface', json, config }).files
}

const addedToken = (content: string, id: number): JsonObject => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
})

const cutting = (expression: string): JsonObject => ({
  type: 'Sequence',
  pretokenizers: [
    { type: 'Split', pattern: { Regex: expression }, behavior: 'Isolated', invert: false },
    { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
  ],
})

/** Every text begins with a token. */
function behind(token: string, id: number): JsonObject {
  const first = (type: number): Json => ({ SpecialToken: { id: token, type_id: type } })
  const text = (name: string, type: number): Json => ({ Sequence: { id: name, type_id: type } })
  return {
    type: 'TemplateProcessing',
    single: [first(0), text('A', 0)],
    pair: [first(0), text('A', 0), first(1), text('B', 1)],
    special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
  }
}

const wrong = (where: string, key: string, what: string): ModelFormatError =>
  new ModelFormatError('ERR_MODEL_FORMAT', `${where}: metadata "${key}" must be an array of ${what}`, {
    details: { format: 'gguf', reason: 'tokenizer', key },
  })

function strings(where: string, file: GgufFile, key: string): readonly string[] {
  const found = file.metadata.get(key)
  if (found?.type === 'array' && found.of === 'string') return found.value
  throw wrong(where, key, 'strings')
}

function numbers(where: string, file: GgufFile, key: string): ArrayLike<number> {
  const found = file.metadata.get(key)
  if (found?.type === 'array' && found.of === 'f32') return found.value
  throw wrong(where, key, 'f32')
}
