/** Language models whose recurrent layer has twins: their perplexity and who answered, their bytes, and the noise of table 1. */
import { Rng } from '../../../ts/base/rng.js'
import { continueText, CarriedState } from '../../../ts/models/language.js'
import { DualWeight, watchDual, type Model } from '../../../ts/nn/index.js'
import { crossEntropy, linear } from '../../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../../ts/tensor/index.js'

/** The tokens of `columns` equal parts of a text, [steps, columns] as they are read. */
function columnsOf(tokens: Int32Array, columns: number): { readonly steps: number; readonly at: (column: number, step: number) => number } {
  const steps = Math.floor((tokens.length - 1) / columns)
  return { steps, at: (column, step) => tokens[column * steps + step]! }
}

export interface Reading {
  readonly perplexity: number
  /** By step: the share of the gates that the twin answered, over all columns; 0 without a twin. */
  readonly shares: readonly number[]
}

/** Reads a text from beginning to end. */
export function readText(model: Model, tokens: Int32Array, columns = 8, window = 128): Reading {
  const { steps, at } = columnsOf(tokens, columns)
  const state = new CarriedState()
  const shares: number[] = new Array<number>(steps).fill(0)
  let sum = 0
  try {
    for (let from = 0; from < steps; from += window) {
      const length = Math.min(window, steps - from)
      const cut = (shift: number): Tensor =>
        tensor(
          Int32Array.from({ length: columns * length }, (_, i) => at(Math.floor(i / length), from + (i % length) + shift)),
          [columns, length],
        )
      const see = (_: DualWeight, count: Tensor, outputs: number): void =>
        (count.read() as Int32Array).forEach((n, i) => (shares[from + Math.floor(i / columns)]! += n / outputs / columns))
      sum += scope(() => watchDual(see, () => crossEntropy(continueText(model, cut(0), state), cut(1)).item() * columns * length))
    }
  } finally {
    state.dispose()
  }
  return { perplexity: Math.exp(sum / (columns * steps)), shares }
}

/** The same twins with another share of the outputs. The model given stays. */
export function withRatio(model: Model, ratio: number): Model {
  const changed = model
    .weights()
    .flatMap(({ path, weight }) => (weight instanceof DualWeight ? [[path, weight.withChoice({ rule: 'top-k', ratio })] as const] : []))
  return model.withWeights(new Map(changed))
}

export const freeTwins = (model: Model): void =>
  model.weights().forEach(({ weight }) => {
    if (weight instanceof DualWeight) weight.dispose()
  })

/** Bytes of recurrent weights that one step reads where a twin answers a share of the outputs. */
export function bytesRead(model: Model, share: number): number {
  return model
    .weights()
    .filter(({ path }) => path.startsWith('rnn.weight'))
    .reduce(
      (sum, { weight }) => sum + (weight instanceof DualWeight ? weight.little.bytes() + (1 - share) * weight.big.bytes() : weight.bytes()),
      0,
    )
}

export type Region = 'none' | 'sensitive' | 'insensitive'
export interface Noisy {
  readonly perplexity: number
  /** Cosines of the gates i, f, g, o with and without noise, in front of their sigmoid or tanh and behind it. */
  readonly before: readonly number[]
  readonly after: readonly number[]
}

/**
 * An LSTM language model of one layer whose gates get normal noise in front of their functions, in every step on one half of the units of each gate: those of
 * the largest |y| (insensitive) or of the smallest (sensitive). The noise of a gate is `size` times as long as the gate's vector: either half gets the same energy.
 */
export function readWithNoise(model: Model, tokens: Int32Array, region: Region, size: number, seed: number, columns = 8): Noisy {
  const { steps, at } = columnsOf(tokens, columns)
  const { encoder, rnn, decoder } = model.root.children
  const values = (t: Tensor): Float32Array => t.read() as Float32Array
  const of = (name: string): Tensor => rnn!.weights[`${name}_l0`]!.dense()
  const [table, width] = scope(() => [values(encoder!.weights.weight!.dense()), encoder!.weights.weight!.shape[1]!] as const)
  const units = rnn!.weights.weight_hh_l0!.shape[1]!
  const [ih, hh] = scope(() => [values(of('bias_ih')), values(of('bias_hh'))] as const)
  const bias = ih.map((v, i) => v + hh[i]!)
  const rng = Rng.of(seed, 'noise', region)
  const f = [0, 1, 2, 3].map((gate) => (gate === 2 ? Math.tanh : (x: number): number => 1 / (1 + Math.exp(-x))))
  const cosines = { before: [0, 0, 0, 0], after: [0, 0, 0, 0] }
  const h = new Float32Array(columns * units)
  const c = new Float32Array(columns * units)
  let loss = 0
  for (let t = 0; t < steps; t++) {
    const x = new Float32Array(columns * width)
    for (let b = 0; b < columns; b++) x.set(table.subarray(at(b, t) * width, (at(b, t) + 1) * width), b * width)
    const y = scope(() => {
      const input = linear(tensor(x, [columns, width]), of('weight_ih'), tensor(bias))
      const state = values(linear(tensor(h, [columns, units]), of('weight_hh'), null))
      return values(input).map((v, i) => v + state[i]!)
    })
    for (let b = 0; b < columns; b++) {
      const gates = [0, 1, 2, 3].map((gate) => {
        const clean = y.subarray((4 * b + gate) * units, (4 * b + gate + 1) * units)
        const moved = region === 'none' ? clean : withNoise(clean, region === 'insensitive', size, rng)
        const out = moved.map(f[gate]!)
        cosines.before[gate]! += cosine(clean, moved)
        cosines.after[gate]! += cosine(clean.map(f[gate]!), out)
        return out
      })
      for (let u = 0; u < units; u++) {
        const k = b * units + u
        c[k] = gates[1]![u]! * c[k]! + gates[0]![u]! * gates[2]![u]!
        h[k] = gates[3]![u]! * Math.tanh(c[k])
      }
    }
    loss += scope(() => {
      const scores = linear(tensor(h, [columns, units]), decoder!.weights.weight!.dense(), decoder!.weights.bias!.dense())
      return crossEntropy(scores, tensor(Int32Array.from({ length: columns }, (_, b) => at(b, t + 1)))).item()
    })
  }
  const mean = (sums: readonly number[]): number[] => sums.map((v) => v / steps / columns)
  return { perplexity: Math.exp(loss / steps), before: mean(cosines.before), after: mean(cosines.after) }
}

function withNoise(y: Float32Array, largest: boolean, size: number, rng: Rng): Float32Array {
  const order = [...y.keys()].sort((i, j) => Math.abs(y[i]!) - Math.abs(y[j]!))
  const half = order.length >> 1
  const noise = new Float32Array(y.length)
  for (const i of largest ? order.slice(order.length - half) : order.slice(0, half)) noise[i] = rng.normal()
  const by = (size * length(y)) / length(noise)
  return y.map((v, i) => v + by * noise[i]!)
}

const length = (v: Float32Array): number => Math.sqrt(v.reduce((s, x) => s + x * x, 0))
const cosine = (a: Float32Array, b: Float32Array): number => a.reduce((s, x, i) => s + x * b[i]!, 0) / (length(a) * length(b) || 1)
