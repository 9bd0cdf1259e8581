/** `tersor generate`: text from a language model, written as it comes. */
import type { Command } from 'commander'
import { DataError, OptionError } from '../../base/errors.js'
import { loadModel } from '../../models/file.js'
import { generateTokens, tokenizerOf, translateTexts, vocabularyOf } from '../../models/index.js'
import type { Model } from '../../nn/index.js'
import { io } from '../io.js'
import { integer, real } from '../options.js'
import { runCommand, type Ui } from '../ui.js'

interface GenerateCliOptions {
  readonly prompt: string
  readonly tokens?: number
  readonly temperature?: number
  readonly topK?: number
  readonly topP?: number
  readonly seed: number
  readonly beam?: number
  readonly unknown?: boolean
  readonly json?: boolean
}

/** What turns the prompt into ids and ids into text. */
interface TextCoder {
  readonly encode: (text: string) => readonly number[]
  readonly decode: (ids: readonly number[]) => string
  /** Ids that stand for no text. */
  readonly unknown: readonly number[]
}

function coderOf(model: Model): TextCoder {
  if (model.root.kind !== 'languageModel') {
    const tokenizer = tokenizerOf(model)
    return { encode: (text) => tokenizer.encode(text), decode: (ids) => tokenizer.decode(ids), unknown: [] }
  }
  const vocabulary = vocabularyOf(model)
  const { unknown } = vocabulary.toJSON()
  return {
    encode: (text) => Array.from(vocabulary.encode(text)),
    decode: (ids) => vocabulary.decode(ids),
    unknown: unknown === null ? [] : [vocabulary.id(unknown)!],
  }
}

/** The target of one source: there is nothing to draw, the likeliest is written. */
function translateCommand(model: Model, o: GenerateCliOptions, ui: Ui): void {
  const drawn = (['temperature', 'topK', 'topP'] as const).find((name) => o[name] !== undefined)
  if (drawn !== undefined)
    throw new OptionError('ERR_OPTION', `generate: ${model.info.name} writes the likeliest target: there are no draws`)
  if (o.unknown)
    throw new OptionError('ERR_OPTION', `generate: --unknown is for language models; ${model.info.name} writes the likeliest target`)
  const { beam: width = 1, tokens: maxLength } = o
  const [text] = translateTexts(model, [o.prompt], { width, ...(maxLength === undefined ? {} : { maxLength }) })
  if (text === '')
    throw new DataError('ERR_DATA', `generate: ${model.info.name} has nothing to write for ${JSON.stringify(o.prompt.slice(0, 100))}`)
  ui.say(text!)
  ui.result({ model: model.info.name, text: text!, beam: width })
}

async function generateCommand(file: string, o: GenerateCliOptions, ui: Ui): Promise<void> {
  const model = loadModel(file)
  if (model.root.kind === 'seq2seq') return translateCommand(model, o, ui)
  if (o.beam !== undefined)
    throw new OptionError('ERR_OPTION', `generate: --beam is for translators; ${model.info.name} is made for ${model.info.task}`)
  if (model.info.task !== 'language')
    throw new OptionError('ERR_OPTION', `generate: takes language models, ${model.info.name} is made for ${model.info.task}`)
  const { encode, decode, unknown } = coderOf(model)
  const prompt = encode(o.prompt)
  if (prompt.length === 0) throw new DataError('ERR_DATA', 'generate: --prompt has no token that the model knows')
  const { tokens = 100, temperature, topK, topP, seed } = o
  const options = Object.fromEntries(Object.entries({ temperature, topK, topP }).filter(([, value]) => value !== undefined))
  const ids = [...prompt]
  const began = performance.now()
  let written = 0
  /** What is new; the end of a text may be half a character, which the next token completes. */
  const write = (last: boolean): void => {
    const text = decode(ids)
    if (!last && text.endsWith('\uFFFD')) return
    if (!ui.json) io().stdout.write(text.slice(written))
    written = text.length
  }
  write(false)
  for (const id of generateTokens(model, prompt, { tokens, seed, ...options, ...(o.unknown ? {} : { avoid: unknown }) })) {
    ids.push(id)
    write(false)
    await new Promise((resolve) => setImmediate(resolve))
    if (ui.signal.aborted) break
  }
  write(true)
  const seconds = (performance.now() - began) / 1000
  ui.say('')
  ui.result({
    model: model.info.name,
    text: decode(ids),
    prompt: prompt.length,
    tokens: ids.length - prompt.length,
    ids,
    seed,
    tokensPerSecond: (ids.length - prompt.length) / seconds,
  })
}

export function registerGenerate(program: Command): void {
  program
    .command('generate')
    .description('write text with a language model, or the translation of a text')
    .argument(
      '<model>',
      'model file of `tersor train lstm` or `seq2seq`, or a GPT-2, Llama, Mistral or Qwen2 as Hugging Face folder or .gguf',
    )
    .requiredOption('--prompt <text>', 'how the text begins; translators: the text to translate')
    .option('--tokens <n>', 'tokens to write at most (default 100; translators: by the length of the source)', integer(1, 1e6))
    .option('--temperature <x>', 'draws at this temperature: below 1 keeps to what is likely, above 1 is bolder', real(1e-6, 1e6))
    .option('--top-k <n>', 'draws from the n most likely tokens', integer(1))
    .option('--top-p <share>', 'draws from the fewest tokens that together have this probability', real(1e-9, 1))
    .option('--seed <n>', 'of the draws: the same seed writes the same text', integer(0), 0)
    .option('--beam <n>', 'translators: hypotheses kept (default 1: greedy)', integer(1, 1000))
    .option('--unknown', 'may write the token of unknown words')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nWithout --temperature, --top-k or --top-p the most likely token is taken each time.\n' +
        '\nExamples:\n  $ tersor generate whale.safetensors --prompt "call me" --temperature 0.8 --top-k 40\n' +
        '  $ tersor generate gpt2 --prompt "Once upon a time" --tokens 60 --top-p 0.9 --seed 7 --json\n  $ tersor generate en-de.safetensors --prompt "good morning" --beam 4',
    )
    .action((file: string, o: GenerateCliOptions) => runCommand(o.json ?? false, (ui) => generateCommand(file, o, ui)))
}
