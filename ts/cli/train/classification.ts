/** Classes of numbers: any architecture for images, `mlp` also for tables. */
import { OptionError } from '../../base/errors.js'
import { Rng } from '../../base/rng.js'
import { classification } from '../../compress/train/tasks/classification.js'
import { isTextSpec, loadData, type Dataset } from '../../data/index.js'
import { architectures, batchInputs, type ArchitectureName } from '../../models/index.js'
import { build, freshValues, Model, type ModelInfo } from '../../nn/index.js'
import { formatCount } from '../../report/format.js'
import { scope } from '../../tensor/index.js'
import { asTrained } from '../as-trained.js'
import type { Ui } from '../ui.js'
import type { Kind, Prepared, TaskCliOptions } from './kind.js'

/** Samples by index, row-major. */
interface Numbers {
  readonly size: number
  readonly inputShape: readonly number[]
  batch(indices: ArrayLike<number>): { readonly x: Float32Array }
}

/** Mean and deviation of `columns` interleaved columns. A column that never changes has the deviation 1. */
export function columnMoments(columns: number, pieces: Iterable<Float32Array>): { mean: number[]; std: number[] } {
  const [sum, squares] = [new Float64Array(columns), new Float64Array(columns)]
  let first: Float32Array | undefined
  let n = 0
  // About the first row: squares of far-away numbers would lose their digits.
  for (const x of pieces) {
    first ??= x.slice(0, columns)
    for (let i = 0, k = 0; i < x.length; i++) {
      const v = x[i]! - first[k]!
      sum[k]! += v
      squares[k]! += v * v
      if (++k === columns) k = 0
    }
    n += x.length / columns
  }
  const mean = Array.from(sum, (s, k) => (n ? s / n + first![k]! : 0))
  const std = Array.from(squares, (s, k) => Math.sqrt(Math.max(0, n ? s / n - (sum[k]! / n) ** 2 : 0)) || 1)
  return { mean, std }
}

/** Scaling of the input: of a table column by column, of images over all numbers. */
export function normalization(data: Numbers): NonNullable<ModelInfo['normalize']> {
  const pieces = function* (): Generator<Float32Array> {
    for (let i = 0; i < data.size; i += 1024) yield data.batch(Array.from({ length: Math.min(1024, data.size - i) }, (_, j) => i + j)).x
  }
  if (data.inputShape.length === 1) return columnMoments(data.inputShape[0]!, pieces())
  const { mean, std } = columnMoments(1, pieces())
  return { mean: mean[0]!, std: std[0]! }
}

/** An untrained classifier that fits the data. */
export function newModel(architecture: string, data: Dataset, seed: number): Model {
  if (data.input !== 'numbers') throw new OptionError('ERR_OPTION', `train: ${architecture} takes numbers, ${data.name} holds text`)
  const made = architectures[architecture as ArchitectureName]({ inputShape: data.inputShape, classes: data.classes.length })
  return new Model(build(made.spec, freshValues(Rng.of(seed, 'init'))), {
    name: architecture,
    task: 'classification',
    classes: data.classes,
    inputShape: made.inputShape,
    ...(data.inputNames ? { inputNames: data.inputNames } : {}),
    normalize: normalization(data),
    history: [],
  })
}

async function prepare(architecture: string, o: TaskCliOptions, ui: Ui): Promise<Prepared> {
  if (isTextSpec(o.data)) throw new OptionError('ERR_OPTION', `train: ${architecture} classifies; ${o.data} is text for lstm, gru`)
  const data = await loadData(o.data, { signal: ui.signal })
  const model = newModel(architecture, data, o.seed)
  const validation = o.validation === undefined ? undefined : await loadData(o.validation, { signal: ui.signal, ...asTrained(model) })
  // What does not fit is found now and not after the first epoch.
  if (validation) scope(() => void batchInputs(model, validation, [0]))
  return {
    model,
    task: classification(data, { validation }),
    facts: `${formatCount(data.size)} examples, ${data.classes.length} classes`,
    held: validation?.size ?? 0,
  }
}

export const classifiers: Kind = {
  architectures: Object.keys(architectures),
  task: 'classification',
  options: [],
  defaults: { epochs: 3, batch: 64, lr: 0.05, optimizer: 'sgd' },
  prepare,
}
