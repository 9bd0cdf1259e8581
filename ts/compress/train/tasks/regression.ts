/** Regression: numbers to numbers, by squared error or Huber's. */
import { Regression, spearman } from '../../../analyze/metrics/index.js'
import { DataError, OptionError, ShapeError } from '../../../base/errors.js'
import type { JsonObject } from '../../../base/json-types.js'
import type { Portable } from '../../../base/portable.js'
import { sizeOf } from '../../../base/shape.js'
import { targetsHash } from '../../run/fingerprint.js'
import { normalizeInPlace } from '../../../models/inputs.js'
import type { Model } from '../../../nn/index.js'
import { huberLoss, mse, mul } from '../../../ops/index.js'
import { scope, tensor, type Tensor } from '../../../tensor/index.js'
import type { Metrics, TrainTask } from '../task.js'
import { badSample } from './classification.js'
import { indexBatches, refuseLoading, sampleBatches, splitIndices } from './samples.js'

/** Samples with `outputs` numbers to predict each. */
export interface RegressionData {
  readonly name: string
  readonly size: number
  readonly inputShape: readonly number[]
  readonly outputs: number
  /** Row-major x [B, ...inputShape] and y [B, outputs]. */
  batch(indices: ArrayLike<number>): { readonly x: Float32Array; readonly y: Float32Array }
  /** How another thread makes the same data. */
  readonly portable?: Portable
}

export interface RegressionParts {
  readonly name: string
  /** Row-major [size, ...inputShape]. */
  readonly features: Float32Array
  readonly inputShape: readonly number[]
  /** Row-major [size, outputs]. */
  readonly targets: Float32Array
  /** Default 1. */
  readonly outputs?: number
}

/**
 * A data set of numbers with numbers to predict, from arrays (not copied).
 *
 * - sizes that do not fit: ERR_DATA; an index outside: ERR_OPTION
 *
 * @example
 * const data = regressionData({ name: 'line', features: Float32Array.of(0, 1, 2), inputShape: [1], targets: Float32Array.of(1, 3, 5) })
 */
export function regressionData({ name, features, inputShape, targets, outputs = 1 }: RegressionParts): RegressionData {
  const row = sizeOf(inputShape)
  const size = targets.length / outputs
  if (!Number.isInteger(size) || features.length !== size * row)
    throw new DataError(
      'ERR_DATA',
      `${name}: ${targets.length} targets of ${outputs} need rows of [${inputShape.join(', ')}] for each, got ${features.length} numbers`,
    )
  return {
    name,
    size,
    inputShape,
    outputs,
    portable: { make: 'regressionData', args: [{ name, features, inputShape, targets, outputs }] },
    batch: (indices) => {
      const [x, y] = [new Float32Array(indices.length * row), new Float32Array(indices.length * outputs)]
      for (let i = 0; i < indices.length; i++) {
        const at = indices[i]!
        if (!(at >= 0 && at < size)) throw new OptionError('ERR_OPTION', `${name}: index must be in [0, ${size}), got ${at}`)
        x.set(features.subarray(at * row, (at + 1) * row), i * row)
        y.set(targets.subarray(at * outputs, (at + 1) * outputs), i * outputs)
      }
      return { x, y }
    },
  }
}

export interface RegressionOptions {
  /** 'mse' (default) or Huber's with `delta` (default 1). */
  readonly loss?: 'mse' | { readonly huber: number }
  /** Errors are taken in these units, one number for each output: the standard deviations of the targets, say. Figures stay in the units of the targets. Default 1. */
  readonly scale?: readonly number[]
  readonly validation?: RegressionData | undefined
}

/** A batch as tensors; the model gives [B, outputs] or, for one output, [B]. */
function inputs(model: Model, data: RegressionData, indices: ArrayLike<number>): { x: Tensor; y: Float32Array } {
  const { x, y } = data.batch(indices)
  const { inputShape: shape = data.inputShape } = model.info
  normalizeInPlace(model, x, indices.length)
  return { x: tensor(x, [indices.length, ...shape]), y }
}

/**
 * The task of models that predict numbers. Errors are taken in units of `scale`, the model gives targets as they are: end it with `affine`, so that its last
 * layer works near 1. Figures on held-out data: mse (it decides), mae,
 * r2 (share of the variance that is explained), pearson and spearman (correlations); of several outputs the means. A correlation with a constant is not
 * defined and left out.
 *
 * - a model whose info says another task: ERR_OPTION; its output of another size than the targets: ERR_SHAPE
 *
 * @example
 * const { model } = await trainTask(untrained, regression(data, { loss: { huber: 1 }, validation }), { epochs: 20 })
 */
export function regression(data: RegressionData, { loss = 'mse', scale, validation }: RegressionOptions = {}): TrainTask<Uint32Array> {
  let options: JsonObject | undefined
  const delta = loss === 'mse' ? undefined : loss.huber
  if (delta !== undefined && !(delta > 0 && delta < Infinity))
    throw new OptionError('ERR_OPTION', `regression: huber must be a positive number, got ${delta}`)
  if (scale && (scale.length !== data.outputs || !scale.every((s) => s > 0 && s < Infinity)))
    throw new OptionError('ERR_OPTION', `regression: scale must be ${data.outputs} positive numbers, got ${JSON.stringify(scale)}`)
  /** [outputs], as a factor. */
  const factors = scale && Float32Array.from(scale, (s) => 1 / s)
  return {
    kind: 'regression',
    portable: { make: 'regression', args: [data, { loss, ...(scale ? { scale } : {}), validation }] },
    get options() {
      return (options ??= { loss, ...(scale ? { scale: [...scale] } : {}), digest: targetsHash(data) })
    },
    name: data.name,
    examples: data.size,
    check: ({ info: { name, task } }, settings) => {
      refuseLoading('regression', settings)
      if (settings.labelSmoothing > 0)
        throw new OptionError('ERR_OPTION', 'train: /labelSmoothing: is for classes, regression has none', {
          details: { pointer: '/labelSmoothing' },
        })
      if (task !== 'regression') throw new OptionError('ERR_OPTION', `train: ${name} is made for ${task}; ${data.name} is for regression`)
    },
    batches: (_model, settings, from) => sampleBatches(data.size, settings, from),
    count: (indices) => indices.length,
    split: splitIndices,
    bySample: {
      indices: (indices) => indices,
      input: (model, indices) => inputs(model, data, indices).x,
      sweep: () => indexBatches(data.size, 256),
    },
    loss: ({ forward, model }, indices) => {
      const { x, y } = inputs(model, data, indices)
      const raw = forward(x)
      const target = tensor(
        factors ? y.map((v, i) => v * factors[i % data.outputs]!) : y,
        raw.size === y.length ? raw.shape : [indices.length, data.outputs],
      )
      const got = factors ? mul(raw, factors.length === 1 ? tensor(factors, []) : tensor(factors)) : raw
      return delta === undefined ? mse(got, target) : huberLoss(got, target, { delta })
    },
    findBad: (indices, step) => {
      const { x, y } = data.batch(indices)
      badSample(data.name, x, indices, step)
      badSample(`the targets of ${data.name}`, y, indices, step)
    },
    ...(validation
      ? {
          goal: { name: 'mse', mode: 'min' },
          figures: { mse: 'min', mae: 'min', r2: 'max', pearson: 'max', spearman: 'max' },
          evaluate: (model, breathe) => evaluateRegression(model, validation, breathe),
        }
      : {}),
  }
}

/**
 * Figures of each output, averaged over the outputs; one that is not defined (NaN) is left out. Keeps all predictions, for the ranks.
 *
 * - no samples: ERR_DATA; a prediction or target that is not finite: ERR_NUMERIC; a model with another number of outputs: ERR_SHAPE
 */
export async function evaluateRegression(model: Model, data: RegressionData, breathe: () => Promise<void>): Promise<Metrics> {
  const { name, size, outputs } = data
  if (size === 0) throw new DataError('ERR_DATA', `${name}: has no examples`)
  const columns = Array.from({ length: outputs }, () => ({
    figures: new Regression(),
    got: new Float32Array(size),
    want: new Float32Array(size),
  }))
  for (const indices of indexBatches(size, 256)) {
    const begin = indices[0]!
    const end = begin + indices.length
    scope(() => {
      const { x, y } = inputs(model, data, indices)
      const found = model.forward(x).read()
      if (found.length !== y.length)
        throw new ShapeError('ERR_SHAPE', `${model.info.name}: gives ${found.length} numbers for ${y.length} targets of ${name}`)
      columns.forEach(({ figures, got, want }, c) => {
        for (let i = begin; i < end; i++) {
          got[i] = Number(found[(i - begin) * outputs + c])
          want[i] = y[(i - begin) * outputs + c]!
        }
        figures.update(got.subarray(begin, end), want.subarray(begin, end))
      })
    })
    await breathe()
  }
  const all = columns.map(({ figures, got, want }) => {
    const { mse, mae, r2, pearson } = figures.result()
    return { mse, mae, r2, pearson, spearman: spearman(got, want) }
  })
  const mean = (figure: keyof (typeof all)[number]): [string, number] => [figure, all.reduce((sum, f) => sum + f[figure], 0) / outputs]
  const means = (['mse', 'mae', 'r2', 'pearson', 'spearman'] as const).map(mean)
  return Object.fromEntries(means.filter(([, value]) => !Number.isNaN(value)))
}
