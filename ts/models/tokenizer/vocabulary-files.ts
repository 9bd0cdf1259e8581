/**
 * tokenizer.json from the older files of a tokenizer: vocab.txt (WordPiece, Wu et al. 2016) or vocab.json with merges.txt (byte-level BPE, Radford et
 * al. 2019). The parts are those that transformers builds for BertTokenizer, GPT2Tokenizer and RobertaTokenizer.
 */
import { ModelFormatError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'

const fail = (message: string): never => {
  throw new ModelFormatError('ERR_MODEL_FORMAT', `tokenizer: ${message}`, { details: { format: 'tokenizer', reason: 'vocabulary' } })
}

const special = (vocabulary: ReadonlyMap<string, number>, tokens: readonly string[]): Json[] =>
  tokens
    .filter((t) => vocabulary.has(t))
    .map((content) => ({
      id: vocabulary.get(content)!,
      content,
      single_word: false,
      lstrip: content === '<mask>',
      rstrip: false,
      normalized: false,
      special: true,
    }))

/** WordPiece of a list of tokens, one per id. `config` is tokenizer_config.json: do_lower_case (default true), strip_accents, tokenize_chinese_chars. */
export function wordPiece(tokens: readonly string[], config: JsonObject): JsonObject {
  const vocabulary = new Map(tokens.map((token, id) => [token, id]))
  const [cls, sep] = ['[CLS]', '[SEP]'].map((t) => vocabulary.get(t))
  if (cls === undefined || sep === undefined || !vocabulary.has('[UNK]')) return fail('vocab.txt must have [CLS], [SEP] and [UNK]')
  return {
    version: '1.0',
    added_tokens: special(vocabulary, ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']),
    normalizer: {
      type: 'BertNormalizer',
      clean_text: true,
      handle_chinese_chars: config.tokenize_chinese_chars !== false,
      strip_accents: typeof config.strip_accents === 'boolean' ? config.strip_accents : null,
      lowercase: config.do_lower_case !== false,
    },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: {
      type: 'TemplateProcessing',
      single: [sequenceOf('[CLS]', 0), textOf('A', 0), sequenceOf('[SEP]', 0)],
      pair: [sequenceOf('[CLS]', 0), textOf('A', 0), sequenceOf('[SEP]', 0), textOf('B', 1), sequenceOf('[SEP]', 1)],
      special_tokens: { '[CLS]': { id: '[CLS]', ids: [cls], tokens: ['[CLS]'] }, '[SEP]': { id: '[SEP]', ids: [sep], tokens: ['[SEP]'] } },
    },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(vocabulary),
    },
  }
}

const sequenceOf = (id: string, type: number): Json => ({ SpecialToken: { id, type_id: type } })
const textOf = (id: string, type: number): Json => ({ Sequence: { id, type_id: type } })

/** Tokens of a vocab.txt: one a line, the last line may be empty. */
export function tokensOfText(text: string): string[] {
  const lines = text.split(/\r?\n/)
  if (lines[lines.length - 1] === '') lines.pop()
  return lines
}

/** Byte-level BPE of vocab.json and merges.txt; `around` puts <s> and </s> around a text (RoBERTa). */
export function byteLevel(vocabulary: Json, merges: string, around: boolean, config: JsonObject): JsonObject {
  if (typeof vocabulary !== 'object' || vocabulary === null || Array.isArray(vocabulary)) return fail('vocab.json must map tokens to ids')
  const ids = new Map(
    Object.entries(vocabulary as JsonObject).map(([token, id]) => [
      token,
      Number.isInteger(id) ? (id as number) : fail(`vocab.json: ${JSON.stringify(token)} must have an integer`),
    ]),
  )
  const rules = merges.split(/\r?\n/).filter((line, i) => line !== '' && !(i === 0 && line.startsWith('#version')))
  const bad = rules.find((rule) => rule.split(' ').length !== 2)
  if (bad !== undefined) return fail(`merges.txt: ${JSON.stringify(bad.slice(0, 80))} must be two pieces`)
  const [begin, end] = [ids.get('<s>'), ids.get('</s>')]
  if (around && (begin === undefined || end === undefined)) return fail('vocab.json must have <s> and </s>')
  const space = config.add_prefix_space === true
  return {
    version: '1.0',
    added_tokens: special(ids, around ? ['<s>', '<pad>', '</s>', '<unk>', '<mask>'] : ['<|endoftext|>']),
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: space, trim_offsets: true, use_regex: true },
    post_processor: around
      ? { type: 'RobertaProcessing', sep: ['</s>', end!], cls: ['<s>', begin!], trim_offsets: true, add_prefix_space: space }
      : { type: 'ByteLevel', add_prefix_space: true, trim_offsets: false, use_regex: true },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      vocab: Object.fromEntries(ids),
      merges: rules,
    },
  }
}
