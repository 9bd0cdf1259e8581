/** `tersor convert`: tensors and whole models from one file format to another. */
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, extname, join } from 'node:path'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { OptionError } from '../../base/errors.js'
import type { JsonObject } from '../../base/json-types.js'
import { makeFolder } from '../../formats/index.js'
import { convertTensors, openTensorSet, type ConvertOptions, type HalfOrSingle, type TensorFormat } from '../../models/convert.js'
import { isHuggingFace } from '../../models/huggingface/index.js'
import { writableTypes, type WritableType } from '../../models/gguf/index.js'
import { formatBytes } from '../../report/format.js'
import { openSize } from '../options.js'
import { checkOptions, convertModel, goesWhole, inputKind, integerTypes, type IntegerType, type OutputKind } from '../convert-model.js'
import { runCommand, type Ui } from '../ui.js'
import { assetsOption, checkLayout, layoutOption, type Layout } from '../write-model.js'

interface Options {
  readonly dtype?: HalfOrSingle
  readonly quantize?: WritableType | IntegerType
  readonly shard?: number
  readonly size?: Readonly<Record<string, number>>
  readonly layout?: Layout
  readonly assets?: string
  readonly check: boolean
  readonly json?: boolean
}

const units: Readonly<Record<string, number>> = { '': 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 }
function size(text: string): number {
  const found = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(text.trim())
  const unit = found && units[found[2]!.toUpperCase()]
  const bytes = found && unit ? Math.floor(Number(found[1]) * unit) : 0
  if (bytes < 1) throw new InvalidArgumentError('must be a size like 500MB, 2GB or 1.5GiB.')
  return bytes
}

const formats: Readonly<Record<string, Exclude<OutputKind, 'folder' | Layout>>> = {
  '.safetensors': 'safetensors',
  '.gguf': 'gguf',
  '.npz': 'npz',
  '.onnx': 'onnx',
}
const isFolder = (file: string): boolean => statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false

/** What comes out, by its name: a format, or a folder. */
function outputKind(out: string, layout: Layout | undefined): OutputKind {
  if (layout !== undefined) {
    checkLayout('convert', out)
    return layout
  }
  if (/[\\/]$/.test(out) || isFolder(out)) return 'folder'
  const found = formats[extname(out).toLowerCase()]
  if (found) return found
  if (extname(out) === '') return 'folder'
  throw new OptionError(
    'ERR_OPTION',
    `convert: ${JSON.stringify(extname(out))} is no format to write; known: ${Object.keys(formats).join(', ')}, or a folder`,
  )
}

interface Converted {
  readonly what: string
  readonly files: readonly string[]
  readonly facts?: JsonObject
}

async function run(given: string, out: string, o: Options, ui: Ui): Promise<Converted> {
  // The folder of a tfjs model stands for its model.json.
  const tfjs = isFolder(given) && !isHuggingFace(given) && existsSync(join(given, 'model.json'))
  const [input, folder] = tfjs ? [join(given, 'model.json'), false] : [given, isFolder(given)]
  const to = outputKind(out, o.layout)
  const whole = goesWhole(input, inputKind(input, folder), to, o.quantize)
  const { dtype, quantize, shard, size: sizes, assets } = o
  const options = {
    ...(dtype ? { dtype } : {}),
    ...(quantize ? { quantize } : {}),
    ...(shard ? { shard } : {}),
    ...(sizes ? { sizes } : {}),
    ...(assets === undefined ? {} : { assets }),
  }
  checkOptions(to, whole, options)
  if (to === 'folder' || to === 'transformers.js') makeFolder(out)
  else if (!isFolder(dirname(out) || '.'))
    throw new OptionError('ERR_OPTION', `convert: there is no folder ${JSON.stringify(dirname(out))}`)
  const bar = ui.progress('convert', 1)
  const onTensor = (done: number, total: number, name: string): void => bar.update(done / total, name)
  try {
    if (whole) return { what: 'model', ...(await convertModel(input, out, to, { ...options, check: o.check, onTensor }, ui)) }
    return convertSet(input, folder, out, to as TensorFormat | 'folder', { ...options, onTensor })
  } finally {
    bar.end()
  }
}

function convertSet(
  input: string,
  folder: boolean,
  out: string,
  to: TensorFormat | 'folder',
  {
    shard,
    quantize,
    ...o
  }: { dtype?: HalfOrSingle; quantize?: Options['quantize']; shard?: number; onTensor: ConvertOptions['onTensor'] & object },
): Converted {
  const set = openTensorSet(input, folder)
  try {
    const options = { ...o, ...(quantize ? { quantize: quantize as WritableType } : {}), ...(shard ? { maxShardBytes: shard } : {}) }
    const files = convertTensors(set, out, to === 'folder' ? 'safetensors' : to, to === 'folder', options)
    return { what: `${set.tensors.size} tensors`, files: to === 'folder' ? files.map((f) => `${out.replace(/[\\/]+$/, '')}/${f}`) : files }
  } finally {
    set.close()
  }
}

/** Of files, and of what stands in folders. */
const bytesOf = (file: string): number =>
  isFolder(file) ? readdirSync(file).reduce((n, name) => n + bytesOf(join(file, name)), 0) : statSync(file).size

export function registerConvert(program: Command): void {
  program
    .command('convert')
    .description('convert models and tensors between Hugging Face folders, safetensors (one file or shards), GGUF, ONNX and npz')
    .argument(
      '<in>',
      'file (safetensors, gguf, onnx, npz, npy, tfjs model.json) or folder (Hugging Face, shards); its content says the format',
    )
    .argument('<out>', 'file.safetensors, file.gguf, file.onnx, file.npz, or a folder')
    .addOption(new Option('--dtype <type>', 'floating tensors become this type').choices(['f32', 'f16', 'bf16']))
    .addOption(
      new Option('--quantize <type>', 'to GGUF: type of the matrices; models to .onnx, .safetensors: int8 or int4').choices([
        ...writableTypes,
        ...integerTypes,
      ]),
    )
    .option('--shard <size>', 'to a folder: at most this much in one safetensors file (2GB, 500MB)', size)
    .option('--size <name=n>', 'to .onnx: a size that the inputs of the file leave open becomes this one; may be repeated', openSize)
    .addOption(layoutOption())
    .addOption(assetsOption())
    .option('--no-check', 'to .onnx: do not compare with onnxruntime-node where it is installed')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nWhole models, tokenizer included where the format has room for it:\n' +
        '  Hugging Face folder -> .onnx, .gguf (GPT-2, Llama, Mistral, Qwen2), folder, transformers.js\n' +
        '  .gguf of these -> .onnx, Hugging Face folder, transformers.js\n' +
        '  .onnx -> .safetensors (graph in the header), .onnx, transformers.js\n' +
        '  model.json of tfjs -> .onnx\n' +
        '  .safetensors of a Tersor model -> .onnx, .safetensors, .gguf, folder, transformers.js\n' +
        'Of all else the tensors are converted and names stay.' +
        '\n\nExamples:\n  $ tersor convert llama/ llama.gguf --quantize q4_k\n  $ tersor convert bert/ bert.onnx --quantize int8\n' +
        '  $ tersor convert model.onnx model.safetensors\n  $ tersor convert model.gguf tensors.safetensors --dtype f16\n  $ tersor convert big.safetensors big/ --shard 2GB' +
        '\n  $ tersor convert bert/ web/bert --layout transformers.js --quantize int8      # pipeline(task, "bert", { dtype: "q8" }) with env.localModelPath = "web"' +
        '\n  $ tersor convert bert/onnx/model.onnx web/bert --layout transformers.js --quantize int8' +
        '\n  $ tersor convert small.safetensors web/small --layout transformers.js',
    )
    .action((input: string, out: string, o: Options) =>
      runCommand(o.json ?? false, async (ui) => {
        const { what, files, facts = {} } = await run(input, out, o, ui)
        const bytes = files.reduce((n, f) => n + bytesOf(f), 0)
        ui.say(`${what} -> ${files.join(', ')} (${formatBytes(bytes)})`)
        ui.result({ input, output: out, what, files, bytes, ...facts })
      }),
    )
}
