/** What a model is worth beside the one that it was made from: by its accuracy where there are labels, else by its outputs. */
import { OptionError } from '../../base/errors.js'
import type { Shape } from '../../base/shape.js'
import { outputs } from '../../analyze/evaluate.js'
import { argmaxRows, shareEqual } from '../../analyze/metrics/index.js'
import { probeOf, probeScores } from '../../analyze/probe.js'
import type { Dataset } from '../../data/dataset.js'
import { interruptible } from '../../native/worker-job.js'
import type { Model } from '../../nn/index.js'
import { scope } from '../../tensor/index.js'
import type { CalibrationSource } from '../run/calibrate.js'
import { valuesOf } from '../values.js'

/** Texts are long and their batches cost much: small ones keep the event loop alive. */
const BATCH = { numbers: 32, text: 8 }

/** Evenly over all. */
function spread(size: number, count: number): Uint32Array | undefined {
  return size <= count ? undefined : Uint32Array.from({ length: count }, (_, i) => Math.floor((i * size) / count))
}

/**
 * Errors of a model's outputs on some examples, as a share of the energy of the outputs that it should give. Of numbers that are predicted: of each about its mean,
 * and the mean of the shares. They have units and offsets of their own, which say nothing of how well they are predicted.
 */
export class OutputError {
  readonly #reference: Float32Array[] = []
  #energy = new Float64Array(1)

  /** On at most `count` examples, spread over all. */
  constructor(
    private readonly source: CalibrationSource,
    private readonly count: number,
    readonly breathe: () => Promise<void>,
  ) {}

  /** Calls `see` with the outputs of each batch, whatever their shape. */
  async #run(model: Model, see: (values: Float32Array, batch: number, shape: Shape) => void): Promise<void> {
    for (const [i, batch] of this.source.batches(model, spread(this.source.size, this.count)).entries()) {
      interruptible(() =>
        scope(() => {
          const y = model.forward(batch.input())
          see(valuesOf(y), i, y.shape)
        }),
      )
      await this.breathe()
    }
  }

  async #refer(reference: Model): Promise<void> {
    const predicts = reference.info.task === 'regression'
    await this.#run(reference, (values, batch, shape) => {
      if (batch === 0 && predicts && shape.length > 1) this.#energy = new Float64Array(shape.at(-1)!)
      this.#reference.push(values)
    })
    const columns = this.#energy.length
    const means = new Float64Array(columns)
    const rows = this.#reference.reduce((n, values) => n + values.length / columns, 0)
    if (predicts) for (const values of this.#reference) values.forEach((y, i) => (means[i % columns]! += y / rows))
    for (const values of this.#reference) values.forEach((y, i) => (this.#energy[i % columns]! += (y - means[i % columns]!) ** 2))
  }

  /** ||y' - y||^2 / ||y||^2; at most 1e30, so that it can be written down. */
  async measure(model: Model, reference: Model): Promise<number> {
    if (this.#reference.length === 0) await this.#refer(reference)
    const sums = new Float64Array(this.#energy.length)
    await this.#run(model, (values, batch) => {
      const meant = this.#reference[batch]!
      for (let i = 0; i < values.length; i++) sums[i % sums.length]! += (values[i]! - meant[i]!) ** 2
    })
    const share = sums.reduce((all, sum, c) => all + (sum === 0 ? 0 : sum / this.#energy[c]!), 0) / sums.length
    return share < 1e30 ? share : 1e30
  }
}

/** Signal to noise of an error as above, in decibels; 300 for none. */
export const decibels = (error: number): number => (error <= 1e-30 ? 300 : -10 * Math.log10(error))

/** Share of right labels; undefined where the model gives no scores of classes, or the data have but one label. */
export async function accuracyOf(model: Model, data: Dataset, signal: AbortSignal | undefined): Promise<number | undefined> {
  if (!hasLabels(model, data)) return undefined
  const probe = model.info.task === 'embedding' ? probeOf(model) : undefined
  const out = await outputs(model, data, { batch: BATCH[data.input], ...(signal ? { signal } : {}) })
  const scores = probe ? probeScores(probe, out) : out.values
  const classes = probe ? probe.classes.length : out.width
  if (classes < data.classes.length)
    throw new OptionError('ERR_OPTION', `${model.info.name}: gives scores of ${classes} classes, ${data.name} has ${data.classes.length}`)
  return shareEqual(argmaxRows(scores, classes), data.labels)
}

/** Whether accuracy can be counted: a classifier or an encoder with a probe, and labels that tell examples apart. */
export function hasLabels(model: Model, data: Dataset): boolean {
  const { task } = model.info
  const scores = task === 'classification' || (task === 'embedding' && probeOf(model) !== undefined)
  return scores && data.classes.length > 1 && data.labels.some((label) => label !== data.labels[0])
}
