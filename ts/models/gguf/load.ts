/** Loads a language model (GPT-2, Llama, Qwen2) from a GGUF file; blocks are decoded natively, weights are f32 in memory. */
import { ModelFormatError, UnsupportedError } from '../../base/errors.js'
import { sameShape } from '../../base/shape.js'
import { isBlockType, openGguf, type GgufFile, type ReadOptions } from '../../formats/index.js'
import { build, DenseWeight, Model, type ValueSource } from '../../nn/index.js'
import { blockDecode, cast, copy, slice } from '../../ops/index.js'
import { fromRaw, scope, type Tensor } from '../../tensor/index.js'
import { packJson } from '../header.js'
import { TOKENIZER } from '../inputs.js'
import { transformerConfig } from '../transformer/body.js'
import { causalLanguage } from '../transformer/heads.js'
import { architectureNamed, ggufArchitectures } from './architectures.js'
import { fromNeighbours } from './llama.js'
import { readTokenizer } from './tokenizer.js'

/** A tensor of the file as f32, decoded natively. */
export function readGgufTensor(file: GgufFile, name: string): Tensor {
  return scope(() => {
    const { type, shape, data } = file.readStored(name)
    if (!isBlockType(type)) {
      const t = fromRaw(file.readTensor(name))
      return t.dtype === 'f32' ? copy(t) : cast(t, 'f32')
    }
    const rows = shape.slice(0, -1)
    const stored = fromRaw({ dtype: 'u8', shape: [...rows, data.byteLength / rows.reduce((a, b) => a * b, 1)], data })
    return blockDecode(stored, type)
  })
}

/**
 * Loads a file of a GPT-2, Llama (also Mistral) or Qwen2 model, with its tokenizer where that is BPE of bytes or of SentencePiece.
 *
 * - another architecture: ERR_UNSUPPORTED; keys or tensors that are missing, left over or of other shapes: ERR_MODEL_FORMAT, nothing stays allocated
 *
 * @example
 * const model = loadGguf('gpt2.q8_0.gguf')
 * generate(model, tokenizerOf(model).encode('Once upon a time'))
 */
export function loadGguf(path: string, options: ReadOptions = {}): Model {
  const file = openGguf(path, options)
  try {
    return scope(() => restore(`load '${path}'`, path, file))
  } finally {
    file.close()
  }
}

function restore(where: string, path: string, file: GgufFile): Model {
  const named = file.text('general.architecture')
  const architecture = architectureNamed(named)
  if (!architecture)
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      `${where}: architecture ${JSON.stringify(named)} is not supported as a model, only ${ggufArchitectures.join(', ')}; openGguf reads its tensors`,
      { details: { what: String(named) } },
    )
  const invalid = (reason: string, message: string, tensor?: string): ModelFormatError =>
    new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${message}`, { details: { format: 'gguf', reason, ...(tensor ? { tensor } : {}) } })
  const table = file.tensors.get('token_embd.weight')
  if (table?.shape.length !== 2) throw invalid('tensors', 'token_embd.weight must be a matrix', 'token_embd.weight')
  const left = new Set(file.tensors.keys())
  const key = (name: string): string => `${architecture.name}.${name}`
  const parsed = transformerConfig.safeParse(
    architecture.bodyOf({
      number: (name) => {
        const value = file.number(key(name))
        if (value === undefined) throw invalid('metadata', `metadata "${key(name)}" is missing or no number`)
        return value
      },
      optional: (name) => file.number(key(name)),
      text: (name) => file.text(key(name)),
      has: (tensor) => file.tensors.has(tensor),
      floats: (tensor) => {
        left.delete(tensor)
        return scope(() => readGgufTensor(file, tensor).read() as Float32Array)
      },
      vocabulary: table.shape[0]!,
      refuse: (what) => {
        throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: ${what} is not supported`, { details: { what } })
      },
    }),
  )
  if (!parsed.success) throw invalid('metadata', `${parsed.error.issues[0]!.path.join('.')}: ${parsed.error.issues[0]!.message}`)
  const body = parsed.data
  const joined = new Map<string, Tensor>()
  const values: ValueSource = {
    weight: (weight, shape) => {
      const found = architecture.nameOf(weight, body)
      const entry = found && file.tensors.get(found.name)
      if (!entry) throw invalid('tensors', `tensor ${JSON.stringify(found?.name ?? weight)} is missing`, found?.name)
      const { name, third, pairedHeads } = found
      const wanted = third === undefined ? shape : [3 * shape[0]!, ...shape.slice(1)]
      if (!sameShape(entry.shape, wanted))
        throw invalid('shape', `tensor ${JSON.stringify(name)} must be [${wanted.join(', ')}], got [${entry.shape.join(', ')}]`, name)
      left.delete(name)
      if (pairedHeads !== undefined) return new DenseWeight(scope(() => fromNeighbours(readGgufTensor(file, name), pairedHeads)))
      if (third === undefined) return new DenseWeight(readGgufTensor(file, name))
      const whole = joined.get(name) ?? readGgufTensor(file, name)
      joined.set(name, whole)
      return new DenseWeight(copy(slice(whole, [third * shape[0]!, ...shape.slice(1).map(() => 0)], shape)))
    },
    state: (at) => {
      throw invalid('tensors', `no state expected at ${at}`)
    },
  }
  const tied = !file.tensors.has('output.weight')
  const module = build(causalLanguage({ body, tied }), values)
  if (left.size) throw invalid('unknown', `tensors that ${architecture.label} does not have: ${[...left].slice(0, 5).join(', ')}`)
  const files = readTokenizer(where, file)
  const name = file.text('general.name') ?? path
  const info = { name, task: 'language' as const, history: [{ source: `GGUF ${architecture.name}` }] }
  return new Model(module, info, files ? { [TOKENIZER]: packJson('tokenizer', files) } : {})
}
