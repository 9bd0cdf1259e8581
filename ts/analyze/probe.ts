/**
 * Logistic probe: a linear classifier on the embeddings of an encoder. Fitted once on the uncompressed encoder and frozen, it measures what
 * compression does to the embeddings. Travels in the model file.
 */
import { DataError, ModelFormatError, OptionError } from '../base/errors.js'
import { shuffle } from '../base/rng.js'
import type { Model } from '../nn/index.js'
import { lbfgs } from './lbfgs.js'
import { argmaxRows, shareEqual } from './metrics/index.js'

export interface Probe {
  readonly classes: readonly string[]
  readonly width: number
  /** [classes, width + 1]: weights and bias. */
  readonly values: Float32Array
  /** Penalty on the weights, chosen by cross-validation. */
  readonly l2: number
}

export interface Embeddings {
  /** Row-major [n, width]. */
  readonly values: Float32Array
  readonly width: number
}

/** Class scores [n, classes]. */
export function probeScores(probe: Probe, { values, width }: Embeddings): Float32Array {
  if (width !== probe.width) throw new OptionError('ERR_OPTION', `probe: was fitted on embeddings of width ${probe.width}, got ${width}`)
  const n = values.length / width
  const k = probe.classes.length
  const out = new Float32Array(n * k)
  for (let i = 0; i < n; i++)
    for (let c = 0; c < k; c++) {
      const w = c * (width + 1)
      let s = probe.values[w + width]!
      for (let j = 0; j < width; j++) s += probe.values[w + j]! * values[i * width + j]!
      out[i * k + c] = s
    }
  return out
}

/** Softmax regression: mean cross-entropy + l2 / 2 ||weights||^2 (the bias is free), by L-BFGS. */
function fit(x: Float32Array, labels: ArrayLike<number>, rows: ArrayLike<number>, width: number, k: number, l2: number): Float64Array {
  const n = rows.length
  const logits = new Float64Array(k)
  return lbfgs(
    (w, g) => {
      g.fill(0)
      let loss = 0
      for (let r = 0; r < n; r++) {
        const row = rows[r]! * width
        let top = -Infinity
        for (let c = 0; c < k; c++) {
          const at = c * (width + 1)
          let s = w[at + width]!
          for (let j = 0; j < width; j++) s += w[at + j]! * x[row + j]!
          logits[c] = s
          if (s > top) top = s
        }
        let total = 0
        for (let c = 0; c < k; c++) total += Math.exp(logits[c]! - top)
        const label = labels[rows[r]!]!
        loss += top + Math.log(total) - logits[label]!
        for (let c = 0; c < k; c++) {
          const d = Math.exp(logits[c]! - top) / total - (c === label ? 1 : 0)
          const at = c * (width + 1)
          for (let j = 0; j < width; j++) g[at + j] = g[at + j]! + d * x[row + j]!
          g[at + width] = g[at + width]! + d
        }
      }
      let penalty = 0
      for (let i = 0; i < g.length; i++) {
        g[i] = g[i]! / n
        if (i % (width + 1) === width) continue
        penalty += w[i]! * w[i]!
        g[i] = g[i]! + l2 * w[i]!
      }
      return loss / n + (l2 / 2) * penalty
    },
    new Float64Array(k * (width + 1)),
    { tolerance: 1e-5, maxIterations: 300 },
  ).x
}

export interface ProbeOptions {
  /** Penalties to try; the one with the best accuracy in `folds`-fold cross-validation on the training data is used. */
  readonly l2?: readonly number[]
  readonly folds?: number
  readonly seed?: number
}

/** Fits a probe. The held-out data plays no part in it. */
export function fitProbe(x: Embeddings, labels: Int32Array, classes: readonly string[], options: ProbeOptions = {}): Probe {
  const { l2 = [1e-2, 1e-3, 1e-4], folds = 4, seed = 0 } = options
  const n = labels.length
  if (n * x.width !== x.values.length) throw new DataError('ERR_DATA', `probe: ${n} labels for ${x.values.length / x.width} embeddings`)
  if (n < folds * 2) throw new DataError('ERR_DATA', `probe: needs at least ${folds * 2} examples, got ${n}`)
  const bad = x.values.findIndex((v) => !Number.isFinite(v))
  if (bad >= 0) throw new DataError('ERR_DATA', `probe: embeddings must be finite, example ${Math.floor(bad / x.width)} is not`)
  const k = classes.length
  const order = shuffle(n, seed)
  const accuracyOf = (penalty: number): number => {
    let correct = 0
    for (let f = 0; f < folds; f++) {
      const inside = order.filter((_, i) => i % folds !== f)
      const outside = order.filter((_, i) => i % folds === f)
      const values = Float32Array.from(fit(x.values, labels, inside, x.width, k, penalty))
      const held = new Float32Array(outside.length * x.width)
      outside.forEach((row, i) => held.set(x.values.subarray(row * x.width, (row + 1) * x.width), i * x.width))
      const predicted = argmaxRows(probeScores({ classes, width: x.width, values, l2: penalty }, { values: held, width: x.width }), k)
      correct +=
        shareEqual(
          predicted,
          outside.map((row) => labels[row]!),
        ) * outside.length
    }
    return correct / n
  }
  let best = l2[0]!
  if (l2.length > 1) {
    let top = -1
    for (const penalty of l2) {
      const a = accuracyOf(penalty)
      if (a > top) [top, best] = [a, penalty]
    }
  }
  return { classes, width: x.width, l2: best, values: Float32Array.from(fit(x.values, labels, order, x.width, k, best)) }
}

const EXTRA = 'probe'

/** The model with the probe in it: it is saved and compressed along (that is, left alone). */
export function withProbe(model: Model, probe: Probe, about: { readonly data: string; readonly examples: number }): Model {
  const data = new Uint8Array(probe.values.buffer, probe.values.byteOffset, probe.values.byteLength)
  return model
    .withExtras({ [EXTRA]: { dtype: 'f32', shape: [probe.classes.length, probe.width + 1], data } })
    .withInfo({ probe: { classes: probe.classes, l2: probe.l2, ...about } })
}

/** The probe that a model carries, if any. */
export function probeOf(model: Model): Probe | undefined {
  const raw = model.extras[EXTRA]
  const info = model.info.probe as { readonly classes?: unknown; readonly l2?: unknown } | undefined
  if (!raw || !info) return undefined
  const classes = info.classes
  if (!Array.isArray(classes) || raw.dtype !== 'f32' || raw.shape.length !== 2 || raw.shape[0] !== classes.length)
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${model.info.name}: its probe is damaged`)
  const bytes = raw.data.slice()
  return { classes: classes as string[], width: raw.shape[1]! - 1, l2: Number(info.l2), values: new Float32Array(bytes.buffer) }
}
