/** Regression: numbers to numbers, by squared error or Huber's. */
import { DataError, OptionError } from '../../../base/errors.js'
import type { JsonObject } from '../../../base/json-types.js'
import { sizeOf } from '../../../base/shape.js'
import { targetsHash } from '../../run/fingerprint.js'
import type { Model } from '../../../nn/index.js'
import { huberLoss, mse } from '../../../ops/index.js'
import { scope, tensor, type Tensor } from '../../../tensor/index.js'
import type { Metrics, TrainTask } from '../task.js'
import { badSample } from './classification.js'
import { sampleBatches, splitIndices } from './samples.js'

/** Samples with `outputs` numbers to predict each. */
export interface RegressionData {
  readonly name: string
  readonly size: number
  readonly inputShape: readonly number[]
  readonly outputs: number
  /** Row-major x [B, ...inputShape] and y [B, outputs]. */
  batch(indices: ArrayLike<number>): { readonly x: Float32Array; readonly y: Float32Array }
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
  readonly validation?: RegressionData | undefined
}

/** A batch as tensors; the model gives [B, outputs] or, for one output, [B]. */
function inputs(model: Model, data: RegressionData, indices: ArrayLike<number>): { x: Tensor; y: Float32Array } {
  const { x, y } = data.batch(indices)
  const { inputShape: shape = data.inputShape, normalize } = model.info
  if (normalize) for (let i = 0; i < x.length; i++) x[i] = (x[i]! - normalize.mean) / normalize.std
  return { x: tensor(x, [indices.length, ...shape]), y }
}

/**
 * The task of models that predict numbers. Targets are used as they are: bring them to a scale near 1. Figures on held-out data: mse, mae and r2 (share
 * of the variance that is explained); mse decides.
 *
 * - a model whose info says another task: ERR_OPTION; its output of another size than the targets: ERR_SHAPE
 *
 * @example
 * const { model } = await trainTask(untrained, regression(data, { loss: { huber: 1 }, validation }), { epochs: 20 })
 */
export function regression(data: RegressionData, { loss = 'mse', validation }: RegressionOptions = {}): TrainTask<Uint32Array> {
  let options: JsonObject | undefined
  const delta = loss === 'mse' ? undefined : loss.huber
  if (delta !== undefined && !(delta > 0 && delta < Infinity))
    throw new OptionError('ERR_OPTION', `regression: huber must be a positive number, got ${delta}`)
  return {
    kind: 'regression',
    get options() {
      return (options ??= { loss, digest: targetsHash(data) })
    },
    name: data.name,
    examples: data.size,
    check: ({ info: { name, task } }) => {
      if (task !== 'regression') throw new OptionError('ERR_OPTION', `train: ${name} is made for ${task}; ${data.name} is for regression`)
    },
    batches: (_model, settings, from) => sampleBatches(data.size, settings, from),
    count: (indices) => indices.length,
    split: splitIndices,
    loss: ({ forward, model }, indices) => {
      const { x, y } = inputs(model, data, indices)
      const got = forward(x)
      const target = tensor(y, got.size === y.length ? got.shape : [indices.length, data.outputs])
      return delta === undefined ? mse(got, target) : huberLoss(got, target, { delta })
    },
    findBad: (indices, step) => {
      const { x, y } = data.batch(indices)
      badSample(data.name, x, indices, step)
      badSample(`the targets of ${data.name}`, y, indices, step)
    },
    ...(validation
      ? { goal: { name: 'mse', mode: 'min' }, evaluate: (model, breathe) => evaluateRegression(model, validation, breathe) }
      : {}),
  }
}

/** mse, mae and r2 over all targets of the data. */
export async function evaluateRegression(model: Model, data: RegressionData, breathe: () => Promise<void>): Promise<Metrics> {
  let [squares, absolute, sum, squareSum, n] = [0, 0, 0, 0, 0]
  for (let begin = 0; begin < data.size; begin += 256) {
    const indices = Uint32Array.from({ length: Math.min(256, data.size - begin) }, (_, i) => begin + i)
    scope(() => {
      const { x, y } = inputs(model, data, indices)
      const got = model.forward(x).read() as Float32Array
      y.forEach((want, i) => {
        const e = got[i]! - want
        squares += e * e
        absolute += Math.abs(e)
        sum += want
        squareSum += want * want
      })
      n += y.length
    })
    await breathe()
  }
  const variance = squareSum - (sum * sum) / n
  return { mse: squares / n, mae: absolute / n, r2: variance > 0 ? 1 - squares / variance : 0 }
}
