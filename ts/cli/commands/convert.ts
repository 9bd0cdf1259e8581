/** `tersor convert`: tensors and whole models from one file format to another. */
import { mkdirSync, statSync } from 'node:fs'
import { dirname, extname } from 'node:path'
import { InvalidArgumentError, Option, type Command } from 'commander'
import { OptionError } from '../../base/errors.js'
import { openGguf, detectFormat } from '../../formats/index.js'
import { convertTensors, openTensorSet, type HalfOrSingle, type TensorFormat } from '../../models/convert.js'
import { loadModel } from '../../models/file.js'
import { saveGguf, writableTypes, type WritableType } from '../../models/gguf/index.js'
import { isHuggingFace, saveHuggingFace } from '../../models/huggingface/index.js'
import { formatBytes } from '../../report/format.js'
import { runCommand, type Ui } from '../ui.js'

interface Options {
  readonly dtype?: HalfOrSingle
  readonly quantize?: WritableType
  readonly shard?: number
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

const formats: Readonly<Record<string, TensorFormat>> = { '.safetensors': 'safetensors', '.gguf': 'gguf', '.npz': 'npz' }
const isFolder = (file: string): boolean => statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false

/** What comes out, by its name: a format, or a folder. */
function outputFormat(out: string): TensorFormat | 'folder' {
  if (/[\\/]$/.test(out) || isFolder(out)) return 'folder'
  const found = formats[extname(out).toLowerCase()]
  if (found) return found
  if (extname(out) === '') return 'folder'
  throw new OptionError(
    'ERR_OPTION',
    `convert: ${JSON.stringify(extname(out))} is no format to write; known: .safetensors, .gguf, .npz, or a folder`,
  )
}

/** A model whose architecture GGUF and Hugging Face folders both know. */
function isModel(input: string, folder: boolean): boolean {
  if (folder) return isHuggingFace(input)
  if (detectFormat(input) !== 'gguf') return false
  const file = openGguf(input)
  file.close()
  return file.text('general.architecture') === 'gpt2'
}

function run(input: string, out: string, o: Options, ui: Ui): { what: string; files: string[] } {
  const folder = isFolder(input)
  const to = outputFormat(out)
  const model = isModel(input, folder)
  if (to === 'folder') mkdirSync(out, { recursive: true })
  else if (!isFolder(dirname(out) || '.'))
    throw new OptionError('ERR_OPTION', `convert: there is no folder ${JSON.stringify(dirname(out))}`)
  const bar = ui.progress('convert', 1)
  const onTensor = (done: number, total: number, name: string): void => bar.update(done / total, name)
  try {
    if (model && ((folder && to === 'gguf') || (!folder && to === 'folder' && o.shard === undefined))) {
      const loaded = loadModel(input)
      if (to === 'folder') {
        if (o.quantize) throw new OptionError('ERR_OPTION', 'convert: --quantize is for GGUF, the output is a folder')
        saveHuggingFace(loaded, out, o.dtype ? { dtype: o.dtype } : {})
      } else saveGguf(loaded, out, { type: o.quantize ?? o.dtype ?? 'f32', onTensor: (name, done, total) => onTensor(done, total, name) })
      return { what: 'model', files: [out] }
    }
    const set = openTensorSet(input, folder)
    try {
      const options = {
        ...(o.dtype ? { dtype: o.dtype } : {}),
        ...(o.quantize ? { quantize: o.quantize } : {}),
        ...(o.shard ? { maxShardBytes: o.shard } : {}),
      }
      const files = convertTensors(set, out, to === 'folder' ? 'safetensors' : to, to === 'folder', { ...options, onTensor })
      return {
        what: `${set.tensors.size} tensors`,
        files: to === 'folder' ? files.map((f) => `${out.replace(/[\\/]+$/, '')}/${f}`) : files,
      }
    } finally {
      set.close()
    }
  } finally {
    bar.end()
  }
}

export function registerConvert(program: Command): void {
  program
    .command('convert')
    .description('convert tensors and models between safetensors (one file or shards), GGUF and npz')
    .argument('<in>', 'file (safetensors, gguf, npz, npy, tfjs model.json) or folder (Hugging Face, shards); its content says the format')
    .argument('<out>', 'file.safetensors, file.gguf, file.npz, or a folder')
    .addOption(new Option('--dtype <type>', 'floating tensors become this type').choices(['f32', 'f16', 'bf16']))
    .addOption(new Option('--quantize <type>', 'to GGUF: type of the matrices').choices(writableTypes))
    .option('--shard <size>', 'to a folder: at most this much in one safetensors file (2GB, 500MB)', size)
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nA folder of a GPT-2 model becomes a GGUF file that llama.cpp runs, tokenizer included, and back; of all else the tensors are converted and names stay.' +
        '\n\nExamples:\n  $ tersor convert gpt2/ gpt2.gguf --quantize q8_0\n  $ tersor convert model.gguf model.safetensors --dtype f16\n  $ tersor convert big.safetensors big/ --shard 2GB',
    )
    .action((input: string, out: string, o: Options) =>
      runCommand(o.json ?? false, async (ui) => {
        const { what, files } = run(input, out, o, ui)
        const bytes = files.reduce((n, f) => n + (isFolder(f) ? 0 : statSync(f).size), 0)
        ui.say(`${what} -> ${files.join(', ')}${bytes ? ` (${formatBytes(bytes)})` : ''}`)
        ui.result({ input, output: out, what, files, bytes })
        await Promise.resolve()
      }),
    )
}
