/** Inputs of a model from the command line: .npy files, texts, or random numbers of a shape. */
import { OptionError } from '../base/errors.js'
import { dtypeInfo } from '../base/dtype.js'
import { Rng } from '../base/rng.js'
import { readNpy } from '../formats/index.js'
import { exampleInput, graphOf } from '../graph/index.js'
import { otherSizes } from '../graph/export/index.js'
import { textEncoder } from '../models/index.js'
import type { Model } from '../nn/index.js'
import type { SessionInput, SessionInputs } from '../runtime/index.js'
import { scope } from '../tensor/index.js'

export interface InputOptions {
  readonly input?: readonly string[]
  readonly text?: string
  readonly batch?: number
  /** Sizes that the model leaves open, by name. */
  readonly size?: Readonly<Record<string, number>>
}

/** commander's collector of repeated options. */
export const collect = (value: string, before: readonly string[] = []): string[] => [...before, value]

function fromFile(file: string): SessionInput {
  const { dtype, shape, data } = readNpy(file)
  const info = dtypeInfo[dtype]
  const own = data.slice() // aligned for the wider class
  return { dtype, shape, data: new info.array(own.buffer, 0, own.byteLength / info.bytes) }
}

/** Inputs of the kinds and sizes that the model's description names: token ids, masks, what an imported graph declares. */
function described(model: Model, batch: number, sizes: Readonly<Record<string, number>>): SessionInputs {
  return scope(() => {
    const { input, dynamic } = exampleInput(model)
    const symbols = [...new Set(Object.values(dynamic).flatMap((open) => Object.values(open)))]
    const first = new Set(Object.values(dynamic).map((open) => open[0]))
    const unknown = Object.keys(sizes).find((name) => !symbols.includes(name))
    if (unknown !== undefined)
      throw new OptionError(
        'ERR_OPTION',
        `--size: ${model.info.name} leaves no size open that is named ${JSON.stringify(unknown)}; there are: ${symbols.join(', ') || 'none'}`,
      )
    const sized = otherSizes(input, dynamic, (n, symbol) => sizes[symbol] ?? (first.has(symbol) ? batch : n)) ?? input
    const values = Object.fromEntries(Object.entries(sized).map(([name, t]) => [name, { dtype: t.dtype, shape: t.shape, data: t.read() }]))
    return Object.keys(values).length === 1 && values.x ? values.x : values
  })
}

/** What the options say; without any, numbers in the shapes that the model names: normal random ones where that is all that it names. */
export function inputsOf(model: Model, { input = [], text, batch = 1, size = {} }: InputOptions): SessionInputs {
  if (text !== undefined) return textEncoder(model).encode([text])
  if (input.length === 1 && !/^\w+=/.test(input[0]!)) return fromFile(input[0]!)
  if (input.length > 0)
    return Object.fromEntries(
      input.map((entry) => {
        const [, name, file] = /^([^=]+)=(.+)$/.exec(entry) ?? []
        if (!name || !file)
          throw new OptionError('ERR_OPTION', `--input: several inputs are given as name=file, got ${JSON.stringify(entry)}`)
        return [name, fromFile(file)]
      }),
    )
  const { inputShape } = model.info
  const graph = graphOf(model.root)
  if (!inputShape || (graph && graph.inputs.length > 1) || Object.keys(size).length > 0) return described(model, batch, size)
  const shape = [batch, ...inputShape]
  const rng = Rng.of(1, 'input')
  return { shape, data: Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => rng.normal()) }
}
