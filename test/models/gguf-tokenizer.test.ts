/** Tokenizers through GGUF: SentencePiece's pieces with scores for merges, and the ways in which Llama 3 and Qwen2 cut text; checked against node-llama-cpp 3.22 by hand. */
import path from 'node:path'
import { expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import type { JsonObject } from '../../ts/base/json-types.js'
import { openGguf } from '../../ts/formats/index.js'
import { HubTokenizer, loadGguf, loadHuggingFace, saveGguf, tokenizerOf, transformerSpec, withTokenizer } from '../../ts/models/index.js'
import { build, freshValues, Model } from '../../ts/nn/index.js'
import { errorOf, tempDir } from '../formats/lib.js'
import { folderOf } from './huggingface-lib.js'

const sizes = { model_type: 'llama', vocab_size: 330, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 8 }
const model = new Model(build(transformerSpec(sizes), freshValues(Rng.of(1))), { name: 'x', task: 'language', history: [] })
const file = path.join(tempDir(), 'x.gguf')
const texts = ['the on', 'the quick', ' two  spaces', 'Caf\u00e9 \u4e2d \ud83d\ude00', '']

/** Through a file, and what the file says. */
function through(tokenizer: HubTokenizer): { readonly back: HubTokenizer; readonly keys: Readonly<Record<string, unknown>> } {
  saveGguf(withTokenizer(model, tokenizer), file)
  const open = openGguf(file)
  const keys = Object.fromEntries(
    ['model', 'pre', 'bos_token_id', 'unknown_token_id', 'add_bos_token'].map((k) => [k, open.metadata.get(`tokenizer.ggml.${k}`)?.value]),
  )
  open.close()
  return { back: tokenizerOf(loadGguf(file)), keys }
}
const special = (content: string, id: number): JsonObject => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }) // prettier-ignore
const begin = (token: string, id: number): JsonObject => ({
  type: 'TemplateProcessing',
  single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
  pair: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }, { Sequence: { id: 'B', type_id: 1 } }],
  special_tokens: { [token]: { id: token, ids: [id], tokens: [token] } },
})

it("SentencePiece's pieces: the same ids and texts, bytes for what has no token", () => {
  const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, '0')}>`)
  const merges = ['t h', 'th e', '\u2581 the', 'o n', 'q u', '\u2581 t', 'o w']
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...'\u2581abcdefghijklmnopqrstuvwxyzC', ...merges.map((m) => m.replace(' ', ''))]
  const space = { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' }
  const tokenizer = new HubTokenizer({
    tokenizer: 'huggingface',
    config: { bos_token: '<s>', eos_token: '</s>' },
    json: {
      version: '1.0',
      added_tokens: [special('<unk>', 0), special('<s>', 1), special('</s>', 2)],
      normalizer: { type: 'Sequence', normalizers: [{ type: 'Prepend', prepend: '\u2581' }, space] },
      pre_tokenizer: null,
      post_processor: begin('<s>', 1),
      decoder: {
        type: 'Sequence',
        decoders: [
          { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
          { type: 'ByteFallback' },
          { type: 'Fuse' },
          { type: 'Strip', content: ' ', start: 1, stop: 0 },
        ],
      },
      model: {
        type: 'BPE',
        unk_token: '<unk>',
        fuse_unk: true,
        byte_fallback: true,
        vocab: Object.fromEntries(tokens.map((t, i) => [t, i])),
        merges,
      },
    },
  })
  const { back, keys } = through(tokenizer)
  expect(keys).toEqual({ model: 'llama', pre: 'default', bos_token_id: 1, unknown_token_id: 0, add_bos_token: true })
  expect(tokenizer.encode('the on')).toEqual([1, tokens.indexOf('\u2581the'), tokens.indexOf('\u2581'), tokens.indexOf('on')])
  for (const text of texts) {
    const ids = tokenizer.encode(text)
    expect(back.encode(text), text).toEqual(ids)
    expect(back.decode(ids)).toBe(tokenizer.decode(ids))
  }
})

it("byte-level BPE with Llama 3's cut and a first token; cuts that GGUF has no name for are refused", () => {
  const { files } = tokenizerOf(loadHuggingFace(folderOf('gpt2'), { head: 'language' }))
  const words = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
  const expression = `${words}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`
  const cut = (regex: string): HubTokenizer =>
    new HubTokenizer({
      tokenizer: 'huggingface',
      config: { bos_token: '<|endoftext|>' },
      json: {
        ...files.json,
        post_processor: begin('<|endoftext|>', 290),
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            { type: 'Split', pattern: { Regex: regex }, behavior: 'Isolated', invert: false },
            { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
          ],
        },
      },
    })
  const { back, keys } = through(cut(expression))
  expect(keys).toMatchObject({ model: 'gpt2', pre: 'llama-bpe', add_bos_token: true })
  for (const text of [...texts, '1234567', "it's 12"]) expect(back.encode(text), text).toEqual(cut(expression).encode(text))
  expect(errorOf(() => through(cut('\\s+'))).code).toBe('ERR_UNSUPPORTED')
})
