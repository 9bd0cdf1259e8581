/** Inputs of a model from the command line: .npy files, texts, or random numbers of a shape. */
import { OptionError } from '../base/errors.js'
import { dtypeInfo } from '../base/dtype.js'
import { Rng } from '../base/rng.js'
import { readNpy } from '../formats/index.js'
import { textEncoder } from '../models/index.js'
import type { Model } from '../nn/index.js'
import type { SessionInput, SessionInputs } from '../runtime/index.js'

export interface InputOptions {
  readonly input?: readonly string[]
  readonly text?: string
  readonly batch?: number
}

/** commander's collector of repeated options. */
export const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

function fromFile(file: string): SessionInput {
  const { dtype, shape, data } = readNpy(file)
  const info = dtypeInfo[dtype]
  const own = data.slice() // aligned for the wider class
  return { dtype, shape, data: new info.array(own.buffer, 0, own.byteLength / info.bytes) }
}

/** What the options say; without any, normal random numbers in the shape that the model names. */
export function inputsOf(model: Model, { input = [], text, batch = 1 }: InputOptions): SessionInputs {
  if (text !== undefined) return textEncoder(model).encode([text])
  if (input.length === 1 && !/^\w+=/.test(input[0]!)) return fromFile(input[0]!)
  if (input.length > 0)
    return Object.fromEntries(
      input.map((entry) => {
        const [, name, file] = /^(\w+)=(.+)$/.exec(entry) ?? []
        if (!name || !file)
          throw new OptionError('ERR_OPTION', `--input: several inputs are given as name=file, got ${JSON.stringify(entry)}`)
        return [name, fromFile(file)]
      }),
    )
  const { inputShape, name } = model.info
  if (!inputShape) throw new OptionError('ERR_OPTION', `${name} does not name the shape of its input; give --input FILE.npy or --text TEXT`)
  const shape = [batch, ...inputShape]
  const rng = Rng.of(1, 'input')
  return { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()) }
}
