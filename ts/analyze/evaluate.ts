/** What a model is worth on held-out data, and what it costs to run. */
import { AbortError, DataError, NumericError, OptionError } from '../base/errors.js'
import type { Dataset } from '../data/index.js'
import { batchInputs, evaluationBatches } from '../models/inputs.js'
import type { Model } from '../nn/index.js'
import { scope } from '../tensor/index.js'
import { argmaxRows, ConfusionMatrix, Loyalty, percentile, wilsonInterval, type LoyaltyFigures } from './metrics/index.js'
import { probeOf, probeScores, type Embeddings, type Probe } from './probe.js'

export interface RunOptions {
  readonly batch?: number
  readonly signal?: AbortSignal
  readonly onProgress?: (done: number, total: number) => void
}

/** Outputs for every example in the order of the data set, row-major [n, width]. Texts run in batches of similar length. */
export async function outputs(model: Model, data: Dataset, options: RunOptions = {}): Promise<Embeddings> {
  const { batch = data.input === 'text' ? 16 : 256, signal, onProgress } = options
  if (data.size === 0) throw new DataError('ERR_DATA', `${data.name}: has no examples`)
  let values = new Float32Array(0)
  let width = 0
  let done = 0
  for (const indices of evaluationBatches(model, data, batch)) {
    // One turn of the event loop per batch: progress is drawn and Ctrl-C is seen.
    await new Promise(setImmediate)
    if (signal?.aborted) throw new AbortError('ERR_ABORTED', 'evaluate: cancelled')
    scope(() => {
      const y = model.forward(batchInputs(model, data, indices).x)
      if (width === 0) {
        width = y.size / indices.length
        values = new Float32Array(width * data.size)
      }
      const rows = y.read() as Float32Array
      indices.forEach((index, i) => values.set(rows.subarray(i * width, (i + 1) * width), index * width))
    })
    onProgress?.((done += indices.length), data.size)
  }
  return { values, width }
}

export interface Latency {
  readonly p50: number
  readonly p95: number
  readonly batch: number
  readonly runs: number
}

/** Milliseconds of a forward pass from raw input (tokenizing included) to output, one example at a time, after a warm-up. */
export async function latency(
  model: Model,
  data: Dataset,
  { runs = 100, warmUp = 10, signal }: { runs?: number; warmUp?: number; signal?: AbortSignal | undefined } = {},
): Promise<Latency> {
  const times: number[] = []
  // Evenly over the data, so that long and short texts count as they come.
  for (let i = -warmUp; i < runs; i++) {
    const index = Math.floor((((i % runs) + runs) % runs) * (data.size / runs)) % data.size
    await new Promise(setImmediate)
    if (signal?.aborted) throw new AbortError('ERR_ABORTED', 'evaluate: cancelled')
    const start = performance.now()
    scope(() => void model.forward(batchInputs(model, data, [index]).x).read())
    if (i >= 0) times.push(performance.now() - start)
  }
  return { p50: percentile(times, 0.5), p95: percentile(times, 0.95), batch: 1, runs }
}

export interface Evaluation {
  readonly n: number
  readonly accuracy: number
  /** Mean of the classes' F1. */
  readonly macroF1: number
  /** Matthews correlation; for more than two classes Gorodkin's R_K. */
  readonly matthews: number
  /** 95 % Wilson interval. */
  readonly interval: readonly [number, number]
  readonly predictions: Int32Array
  /** [n, classes]. */
  readonly scores: Float32Array
  readonly latency: Latency
}

/** Scores [n, classes] of a classifier, or of an encoder through its probe. ERR_OPTION for an encoder without one, ERR_NUMERIC for what is not finite. */
export async function classScores(
  model: Model,
  data: Dataset,
  options: RunOptions & { readonly probe?: Probe } = {},
): Promise<{ readonly scores: Float32Array; readonly classes: number }> {
  // Known before anything is computed.
  const probe = model.info.task === 'embedding' ? (options.probe ?? probeOf(model)) : undefined
  if (model.info.task === 'embedding' && !probe)
    throw new OptionError('ERR_OPTION', `${model.info.name}: an encoder is evaluated through a probe; fit one with --probe SPEC`)
  const out = await outputs(model, data, options)
  const bad = out.values.findIndex((v) => !Number.isFinite(v))
  if (bad >= 0)
    throw new NumericError(
      'ERR_NUMERIC',
      `${model.info.name}: output of example ${Math.floor(bad / out.width)} is ${String(out.values[bad])}`,
      { details: { index: Math.floor(bad / out.width) } },
    )
  return probe ? { scores: probeScores(probe, out), classes: probe.classes.length } : { scores: out.values, classes: out.width }
}

/**
 * Label and probability loyalty of a model to its teacher on some data (Xu et al. 2021): how often both say the same, and how near their distributions are,
 * as shares of 1. Encoders answer through the probes that they carry.
 *
 * - models with other numbers of classes: ERR_OPTION
 *
 * @example
 * const { label, probability } = await loyalty(small, model, heldOut)
 */
export async function loyalty(model: Model, teacher: Model, data: Dataset, options: RunOptions = {}): Promise<LoyaltyFigures> {
  const [own, theirs] = [await classScores(model, data, options), await classScores(teacher, data, options)]
  return loyaltyOf(own, theirs, model, teacher)
}

/** The same of scores that are there already. */
export function loyaltyOf(
  own: { readonly scores: Float32Array; readonly classes: number },
  theirs: { readonly scores: Float32Array; readonly classes: number },
  model: Model,
  teacher: Model,
): LoyaltyFigures {
  if (own.classes !== theirs.classes)
    throw new OptionError(
      'ERR_OPTION',
      `loyalty: ${teacher.info.name} has ${theirs.classes} classes, ${model.info.name} has ${own.classes}`,
      {
        details: { pointer: '/teacher' },
      },
    )
  const found = new Loyalty(own.classes)
  found.update(own.scores, theirs.scores)
  return found.result()
}

/**
 * Accuracy, macro F1, Matthews correlation and latency of a classifier, or of an encoder through the probe that it carries (or the one given).
 */
export async function evaluateModel(
  model: Model,
  data: Dataset,
  options: RunOptions & { readonly probe?: Probe; readonly latencyRuns?: number } = {},
): Promise<Evaluation> {
  const { scores, classes } = await classScores(model, data, options)
  const predictions = argmaxRows(scores, classes)
  const confusion = new ConfusionMatrix(Math.max(classes, data.classes.length))
  confusion.update(predictions, data.labels)
  const { accuracy, macro, matthews } = confusion.result()
  return {
    n: data.size,
    accuracy,
    macroF1: macro.f1,
    matthews,
    interval: wilsonInterval(accuracy, data.size),
    predictions,
    scores,
    latency: await latency(model, data, { runs: options.latencyRuns ?? 100, signal: options.signal }),
  }
}
