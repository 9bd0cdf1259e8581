/** Inputs without labels: passes calibrate on them, nothing learns from them. */
import { dtypeInfo } from '../../../base/dtype.js'
import { DataError, OptionError } from '../../../base/errors.js'
import type { JsonObject } from '../../../base/json-types.js'
import type { InputArrays, ModelInputs } from '../../../data/inputs.js'
import { graphOf } from '../../../graph/module.js'
import type { Model, ModuleInput } from '../../../nn/index.js'
import { fromRaw, scope } from '../../../tensor/index.js'
import { arrayHash } from '../../run/fingerprint.js'
import type { TrainTask } from '../task.js'

/** Names of the inputs of an imported graph; other models take one tensor without a name. */
const namesOf = (model: Model): readonly string[] => graphOf(model.root)?.inputs.map(({ name }) => name) ?? ['']

/**
 * The input of a model for one call. A single array goes into a single input whatever its name. Call inside a scope.
 *
 * - arrays that the model does not take or that are missing, another dtype than a graph declares: ERR_DATA
 */
export function callInput(model: Model, where: string, arrays: InputArrays): ModuleInput {
  const names = namesOf(model)
  const there = [...arrays.keys()]
  if (names.length === 1 && there.length === 1) return tensorOf(model, where, names[0]!, arrays.get(there[0]!)!)
  const missing = names.filter((name) => !arrays.has(name))
  const unknown = there.filter((name) => !names.includes(name))
  if (missing.length + unknown.length > 0)
    throw new DataError(
      'ERR_DATA',
      `${where}: ${model.info.name} takes ${names.map((n) => JSON.stringify(n)).join(', ')}, the file has ${there.map((n) => JSON.stringify(n)).join(', ')}`,
      { details: { missing, unknown } },
    )
  return Object.fromEntries(names.map((name) => [name, tensorOf(model, where, name, arrays.get(name)!)]))
}

function tensorOf(model: Model, where: string, name: string, raw: NonNullable<ReturnType<InputArrays['get']>>): ReturnType<typeof fromRaw> {
  const declared = graphOf(model.root)?.inputs.find((input) => input.name === name)?.dtype ?? 'f32'
  if (raw.dtype !== declared) throw new DataError('ERR_DATA', `${where}: ${name || 'the input'} is ${declared}, the array is ${raw.dtype}`)
  const info = dtypeInfo[raw.dtype]
  return fromRaw(raw.data.byteOffset % info.bytes === 0 ? raw : { ...raw, data: raw.data.slice() })
}

/**
 * What `compress` calibrates on where there are inputs and no labels: statistics of layer inputs, ranges, Hessians of layers. Passes that retrain or
 * that measure a loss refuse it (ERR_OPTION).
 *
 * @example
 * const { model: small } = await compress(model, recipe, { task: inputsOnly(loadInputs('inputs:calibration.npz,rows=8')) })
 */
export function inputsOnly(data: ModelInputs): TrainTask {
  const refuse = (): never => {
    throw new OptionError(
      'ERR_OPTION',
      `${data.name}: inputs without labels are for calibration; a pass that trains or measures a loss needs labelled data`,
    )
  }
  let options: JsonObject | undefined
  return {
    kind: 'inputs',
    name: data.name,
    examples: data.samples,
    get options() {
      return (options ??= { calls: data.size, samples: data.samples, digest: digest(data) })
    },
    check: refuse,
    batches: refuse,
    count: refuse,
    split: refuse,
    loss: refuse,
    calibration: {
      size: data.size,
      batch: 1,
      input: (model, indices) => callInput(model, data.name, data.call(indices[0]!)),
    },
  }
}

/** Of some calls, spread over all: enough to notice other inputs. */
function digest(data: ModelInputs): string {
  const probes = Array.from({ length: Math.min(16, data.size) }, (_, i) => Math.floor((i * data.size) / 16) % data.size)
  return arrayHash(...[...new Set(probes)].flatMap((i) => [...data.call(i).values()].map((raw) => raw.data)))
}

/** Sums of squares over all calls, by output. */
interface Distance {
  difference: number
  norm: number
}

/** |y - y'| / |y|; NaN stays NaN: a result that is none must not read as "no difference". */
const relative = ({ difference, norm }: Distance): number => (difference === 0 ? 0 : Math.sqrt(difference / norm))

/**
 * How far a model's outputs are from those of another on these inputs: |y - y'| / |y|, Euclidean norms over all numbers of all calls; of several outputs
 * the one that moved most. NaN where a result is not a number.
 *
 * - outputs of different size: ERR_DATA
 */
export async function outputError(reference: Model, model: Model, data: ModelInputs, breathe: () => Promise<void>): Promise<number> {
  const outputs = new Map<string, Distance>()
  for (let i = 0; i < data.size; i++) {
    scope(() => {
      const arrays = data.call(i)
      const [wanted, given] = [reference, model].map((of) => of.forwardAll(callInput(of, data.name, arrays)))
      for (const [name, tensor] of Object.entries(wanted!)) {
        const [want, got] = [tensor.read(), given![name]?.read() ?? []]
        if (want.length !== got.length)
          throw new DataError(
            'ERR_DATA',
            `${data.name}: ${model.info.name} gives ${got.length} numbers as ${JSON.stringify(name)} where ${want.length} are expected`,
          )
        const sums = outputs.get(name) ?? { difference: 0, norm: 0 }
        outputs.set(name, sums)
        for (let k = 0; k < want.length; k++) {
          const [y, x] = [Number(want[k]), Number(got[k])]
          if (x !== y) sums.difference += (x - y) ** 2 // the same infinity twice is no difference
          if (Number.isFinite(y)) sums.norm += y * y
        }
      }
    })
    await breathe()
  }
  return Math.max(...[...outputs.values()].map(relative))
}
