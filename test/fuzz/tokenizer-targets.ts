/** Tokenizers: SentencePiece's pieces and scores as GGUF holds them, tokenizer.json of the other kinds of models, unigram vocabularies, vocab.txt and merges.txt. */
import type { Json, JsonObject } from '../../ts/base/json-types.js'
import { encodeGguf, parseGguf, type GgufValue } from '../../ts/formats/gguf/index.js'
import { readTokenizer } from '../../ts/models/gguf/tokenizer.js'
import { HubTokenizer } from '../../ts/models/tokenizer/hub.js'
import { UnigramTokenizer, vocabularyFromJson, vocabularyFromPairs } from '../../ts/models/tokenizer/unigram.js'
import { byteLevel, tokensOfText, wordPiece } from '../../ts/models/tokenizer/vocabulary-files.js'
import { mutateBytes, mutateJson, mutateTree } from './mutate.js'
import { numbered, type Target } from './target.js'

const TEXT = 'the quick \u00e9\ud83d\ude00 on  it'
const SPACE = '\u2581'
const parsed = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    return undefined
  }
}
const useFiles = (json: unknown, config: Json = {}): void => {
  const tokenizer = new HubTokenizer({ tokenizer: 'huggingface', json: json as JsonObject, config })
  tokenizer.decode(tokenizer.encode(TEXT))
}

const pieces = ['<unk>', '<s>', '</s>', '<0x41>', SPACE, ...'abcdefhiknotqu', 'th', 'the', `${SPACE}the`, 'on', 'qu']

/** A file without tensors whose metadata are those of a tokenizer; values of another type where the change made them so. */
function ggufOf(tree: { tokens: unknown; types: unknown; scores: unknown; keys: unknown }): Uint8Array {
  const list = (v: unknown, of: 'string' | 'i32' | 'f32'): GgufValue => {
    const items = Array.isArray(v) ? (v as unknown[]) : []
    return of === 'string'
      ? { type: 'array', of, value: items.map((v) => Buffer.from(String(v)).toString()) }
      : { type: 'array', of, value: (of === 'i32' ? Int32Array : Float32Array).from(items.map(Number)) as never }
  }
  const keys = Object.entries((tree.keys ?? {}) as Record<string, unknown>).map(([key, v]): [string, GgufValue] => [
    `tokenizer.ggml.${key}`,
    typeof v === 'number' && Number.isInteger(v) && v >= 0 && v < 2 ** 32
      ? { type: 'u32', value: v }
      : typeof v === 'boolean'
        ? { type: 'bool', value: v }
        : { type: 'string', value: String(v) },
  ])
  const metadata = {
    'tokenizer.ggml.tokens': list(tree.tokens, 'string'),
    'tokenizer.ggml.token_type': list(tree.types, 'i32'),
    'tokenizer.ggml.scores': list(tree.scores, 'f32'),
    ...Object.fromEntries(keys),
  }
  return encodeGguf(new Map(), { metadata })
}
const ggufTree = {
  tokens: pieces,
  types: pieces.map((p) => (p === '<unk>' ? 2 : /^<\//.test(p) || p === '<s>' ? 3 : /^<0x/.test(p) ? 6 : 1)),
  scores: pieces.map((_, i) => -i),
  keys: { model: 'llama', pre: 'default', bos_token_id: 1, eos_token_id: 2, unknown_token_id: 0, add_bos_token: true },
}

const sentencePiece: Target = {
  name: 'sentence-piece',
  make: (r) => {
    const tree = structuredClone(ggufTree)
    mutateTree(r, tree, false)
    let bytes: Uint8Array
    try {
      bytes = ggufOf(tree)
    } catch {
      bytes = ggufOf(ggufTree) // the writer refuses what the reader is to see: its bytes are changed instead
      return mutateBytes(r, bytes)
    }
    return r.next() < 0.3 ? mutateBytes(r, bytes) : bytes
  },
  read: (bytes) => {
    const file = parseGguf(bytes)
    try {
      const files = readTokenizer('gguf', file)
      if (files) useFiles(files.json, files.config)
    } finally {
      file.close()
    }
  },
}

const vocab = Object.fromEntries(pieces.map((p, i) => [p, i]))
const base = {
  version: '1.0',
  added_tokens: [{ id: 0, content: '<unk>', single_word: false, lstrip: false, rstrip: true, normalized: false, special: true }],
  normalizer: { type: 'Sequence', normalizers: [{ type: 'NFKC' }, { type: 'Lowercase' }, { type: 'Replace', pattern: { String: ' ' }, content: SPACE }] },
  pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Metaspace', replacement: SPACE, prepend_scheme: 'always' }, { type: 'Digits', individual_digits: true }] },
  post_processor: {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: '<s>', type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [{ Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
    special_tokens: { '<s>': { id: '<s>', ids: [1], tokens: ['<s>'] } },
  },
  decoder: { type: 'Metaspace', replacement: SPACE, prepend_scheme: 'always' },
} // prettier-ignore
const files = [
  { ...base, model: { type: 'Unigram', unk_id: 0, vocab: pieces.map((p, i) => [p, -i]), byte_fallback: false } },
  { ...base, model: { type: 'BPE', unk_token: '<unk>', byte_fallback: true, vocab, merges: ['t h', 'th e', `${SPACE} the`, 'o n'] } },
  { ...base, model: { type: 'WordPiece', unk_token: '<unk>', continuing_subword_prefix: '##', max_input_chars_per_word: 100, vocab } },
].map((v) => JSON.stringify(v))

const unigram = JSON.stringify({ tokenizer: 'unigram', reserved: 2, pieces, scores: pieces.map((_, i) => -i) })
const pairs = JSON.stringify(pieces.map((p, i) => [p, i === 4 ? null : -i]))
const words = new TextEncoder().encode('[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nqu\n##ick\non\nit\n')
const merges = new TextEncoder().encode('#version: 0.2\nt h\nth e\no n\n')

export const tokenizerTargets = (): Target[] => [
  sentencePiece,
  {
    name: 'tokenizer-json',
    make: (r) => mutateJson(r, r.pick(files)),
    read: (bytes) => useFiles(parsed(bytes) ?? null),
  },
  {
    name: 'unigram',
    make: (r) => {
      const k = r.below(2)
      return numbered(k, mutateJson(r, [unigram, pairs][k]!))
    },
    read: (bytes) => {
      const json = parsed(bytes.subarray(1))
      new UnigramTokenizer((bytes[0] ?? 0) % 2 === 0 ? vocabularyFromJson(json) : vocabularyFromPairs(json, 2)).encode(TEXT)
    },
  },
  {
    name: 'vocabulary-files',
    make: (r) => {
      const k = r.below(3)
      return numbered(k, k === 2 ? mutateJson(r, JSON.stringify(vocab)) : mutateBytes(r, k === 0 ? words : merges))
    },
    read: (bytes) => {
      const body = bytes.subarray(1)
      const text = new TextDecoder().decode(body)
      const kind = (bytes[0] ?? 0) % 3
      if (kind === 0) useFiles(wordPiece(tokensOfText(text), {}))
      else if (kind === 1) useFiles(byteLevel(vocab, text, false, {}))
      else useFiles(byteLevel((parsed(body) ?? null) as Json, 't h\nth e\n', true, {}))
    },
  },
]
