/**
 * Tasks with a label for each token of a sequence: translation (teacher forcing), masked language models, tagging. The model gives scores [B, T, V];
 * labels i32 [B, T] say which token is right, IGNORE where none is asked for.
 */
import { Bleu, ErrorRate, Perplexity } from '../../../analyze/metrics/index.js'
import { DataError, OptionError } from '../../../base/errors.js'
import type { JsonObject } from '../../../base/json-types.js'
import type { Portable } from '../../../base/portable.js'
import { Rng } from '../../../base/rng.js'
import { arrayHash } from '../../run/fingerprint.js'
import { translate } from '../../../models/translate.js'
import type { Model, ModuleInput } from '../../../nn/index.js'
import { argmax, crossEntropy } from '../../../ops/index.js'
import { scope, tensor, type Tensor } from '../../../tensor/index.js'
import type { Metrics, TrainTask } from '../task.js'
import { bucketedBatches, refuseLoading, sampleBatches, splitIndices } from './samples.js'

/** Label of a position that costs nothing and does not count. */
export const IGNORE = -100

export interface TokenBatch {
  readonly x: ModuleInput
  /** Row-major [B, T]. */
  readonly labels: Int32Array
  readonly length: number
}

export interface TokenData {
  readonly name: string
  readonly size: number
  /** Makes the model's input and the labels of some samples; draws (masking) come from `rng` alone. Called inside a scope. */
  batch(indices: ArrayLike<number>, rng: Rng): TokenBatch
  /** What the model writes by itself for some samples, and what it should. */
  decode?(model: Model, indices: ArrayLike<number>): readonly DecodedTokens[]
  /** Tokens of each sample, for batches of similar length. */
  readonly lengths?: ArrayLike<number>
  /** Differs where the data differs: a checkpoint belongs to it. */
  digest?(): string
  /** How another thread makes the same data. */
  readonly portable?: Portable
}

export interface DecodedTokens {
  readonly hypothesis: ArrayLike<number>
  readonly reference: ArrayLike<number>
}

export interface TokenOptions {
  readonly validation?: TokenData | undefined
  /**
   * Decodes the held-out data after each epoch, without teacher forcing, and compares: 'bleu' (0 to 100), or edits / tokens as 'cer' where tokens are
   * characters, 'wer' where they are words.
   */
  readonly decode?: 'bleu' | 'cer' | 'wer'
  /** 'bucketed': batches of samples of similar length, which pad less; needs the `lengths` of the data. Default 'shuffled'. */
  readonly order?: 'shuffled' | 'bucketed'
}

/**
 * The task of models that score every token. Every labelled token weighs the same, in a batch, in its parts (`accumulate`) and in the mean loss of an epoch. Figures on held-out data:
 * perplexity (of the labelled tokens; it decides), accuracy (share of them that is the top score) and what `decode` names.
 *
 * - a label outside the vocabulary: ERR_SHAPE; `decode` of data or models that cannot: ERR_OPTION
 *
 * @example
 * const { model } = await trainTask(untrained, tokens(sequencePairs({ name: 'reverse', pairs, begin: 1, end: 2, pad: 0 })), { epochs: 5 })
 */
export function tokens(data: TokenData, { validation, decode, order = 'shuffled' }: TokenOptions = {}): TrainTask<Uint32Array> {
  if (decode && !['bleu', 'cer', 'wer'].includes(decode))
    throw new OptionError('ERR_OPTION', `tokens: decode must be bleu, cer or wer, got ${JSON.stringify(decode)}`)
  if (decode && !validation?.decode)
    throw new OptionError('ERR_OPTION', `tokens: decode needs validation data that can be decoded, ${validation?.name ?? 'there is none'}`)
  if (order !== 'shuffled' && order !== 'bucketed')
    throw new OptionError('ERR_OPTION', `tokens: order must be shuffled or bucketed, got ${JSON.stringify(order)}`)
  if (order === 'bucketed' && data.lengths?.length !== data.size)
    throw new OptionError('ERR_OPTION', `tokens: order 'bucketed' needs the lengths of ${data.name}`)
  const bucketed = order === 'bucketed' ? { order } : {}
  let options: JsonObject | undefined
  return {
    kind: 'tokens',
    portable: { make: 'tokens', args: [data, { validation, decode, ...bucketed }] },
    get options() {
      return (options ??= { ...bucketed, ...(data.digest ? { digest: data.digest() } : {}) })
    },
    name: data.name,
    examples: data.size,
    check: (model, settings) => {
      refuseLoading('tokens', settings)
      // A model that cannot decode is told before the first step.
      if (decode && validation!.size > 0) scope(() => void validation!.decode!(model, [0]))
    },
    batches: (_model, settings, from) =>
      order === 'bucketed' ? bucketedBatches(data.lengths!, settings, from) : sampleBatches(data.size, settings, from),
    count: (indices) => indices.length,
    split: splitIndices,
    calibration: { size: data.size, batch: 8, input: (_model, indices) => data.batch(indices, Rng.of(0, 'calibration')).x },
    loss: ({ forward, settings: { seed, labelSmoothing }, step }, indices) => {
      const { x, labels, length } = data.batch(indices, Rng.of(seed, 'tokens', step))
      const count = labels.reduce((n, label) => n + (label === IGNORE ? 0 : 1), 0)
      const want = tensor(labels, [indices.length, length])
      // The mean over no token is not defined; the sum is 0, and so are its gradients.
      const reduction = count > 0 ? 'mean' : 'sum'
      const rows = Float32Array.from(labels, (label) => (label === IGNORE ? 0 : 1))
      return { loss: crossEntropy(forward(x), want, { ignoreIndex: IGNORE, labelSmoothing, reduction }), count, rows }
    },
    ...(validation
      ? {
          goal: { name: 'perplexity', mode: 'min' },
          figures: { perplexity: 'min', accuracy: 'max', ...(decode ? { [decode]: decode === 'bleu' ? 'max' : 'min' } : {}) },
          evaluate: async (model, breathe) => ({
            ...(await evaluateTokens(model, validation, breathe)),
            ...(decode ? { [decode]: await decodedFigure(decode, model, validation, breathe) } : {}),
          }),
        }
      : {}),
  }
}

/** Perplexity and accuracy over all labelled tokens; what is drawn is the same every time. ERR_DATA when no token is labelled. */
export async function evaluateTokens(model: Model, data: TokenData, breathe: () => Promise<void>): Promise<Metrics> {
  const perplexity = new Perplexity()
  let right = 0
  for (let begin = 0; begin < data.size; begin += 32) {
    const indices = Uint32Array.from({ length: Math.min(32, data.size - begin) }, (_, i) => begin + i)
    scope(() => {
      const { x, labels, length } = data.batch(indices, Rng.of(0, 'evaluate', begin))
      const scores = model.forward(x)
      const want = tensor(labels, [indices.length, length])
      const counted = labels.reduce((n, label) => n + (label === IGNORE ? 0 : 1), 0)
      if (counted > 0) perplexity.update(crossEntropy(scores, want, { ignoreIndex: IGNORE, reduction: 'sum' }).item() / counted, counted)
      const top = argmax(scores).read()
      labels.forEach((label, i) => {
        if (label !== IGNORE && Number(top[i]) === label) right++
      })
    })
    await breathe()
  }
  if (perplexity.count === 0) throw new DataError('ERR_DATA', `${data.name}: no token is labelled`)
  return { perplexity: perplexity.result().perplexity, accuracy: right / perplexity.count }
}

/** Over all of the data, decoded in batches. References without a token: ERR_DATA. */
async function decodedFigure(
  figure: NonNullable<TokenOptions['decode']>,
  model: Model,
  data: TokenData,
  breathe: () => Promise<void>,
): Promise<number> {
  const [bleu, errors] = [new Bleu(), new ErrorRate(figure === 'wer' ? 'word' : 'character')]
  for (let begin = 0; begin < data.size; begin += 32) {
    const indices = Uint32Array.from({ length: Math.min(32, data.size - begin) }, (_, i) => begin + i)
    for (const { hypothesis, reference } of data.decode!(model, indices))
      if (figure === 'bleu') bleu.update(hypothesis, [reference])
      else errors.update(hypothesis, reference)
    await breathe()
  }
  return figure === 'bleu' ? bleu.result().score : errors.result().rate
}

/** Rows of different length as one [B, T], filled up with `fill`. */
export function padded(rows: readonly ArrayLike<number>[], fill: number): { readonly ids: Int32Array; readonly length: number } {
  const length = Math.max(1, ...rows.map((row) => row.length))
  const ids = new Int32Array(rows.length * length).fill(fill)
  rows.forEach((row, i) => ids.set(row, i * length))
  return { ids, length }
}

/** Over every id and every length. */
function rowsHash(rows: readonly ArrayLike<number>[]): string {
  const ids = new Int32Array(rows.reduce((n, row) => n + row.length, 0))
  let at = 0
  for (const row of rows) {
    ids.set(row, at)
    at += row.length
  }
  return arrayHash(
    Int32Array.from(rows, (row) => row.length),
    ids,
  )
}

export interface SequencePairs {
  readonly name: string
  /** [source, target] as token numbers. */
  readonly pairs: readonly (readonly [ArrayLike<number>, ArrayLike<number>])[]
  /** Tokens that begin and end a target, and that fill up. */
  readonly begin: number
  readonly end: number
  readonly pad: number
  /** Makes the model's input; default `{ source, target, sourceLengths }`, i32 [B, S], [B, T], [B]. */
  readonly input?: (batch: { readonly source: Tensor; readonly target: Tensor; readonly sourceLengths: Tensor }) => ModuleInput
}

/**
 * Pairs of sequences with teacher forcing: the decoder reads begin t1 ... tn and shall give t1 ... tn end (Sutskever, Vinyals, Le 2014). Decoding is greedy,
 * by `translate`, and takes a `seq2seq` model.
 *
 * @example
 * sequencePairs({ name: 'reverse', pairs: [[[3, 4], [4, 3]]], begin: 1, end: 2, pad: 0 })
 */
export function sequencePairs(given: SequencePairs): TokenData {
  const { name, pairs, begin, end, pad, input = (b) => b } = given
  return {
    name,
    size: pairs.length,
    lengths: Float64Array.from(pairs, ([s, t]) => s.length + t.length),
    digest: () => rowsHash(pairs.flat()),
    portable: { make: 'sequencePairs', args: [given] },
    batch: (indices) => {
      const rows = Array.from(indices, (i) => pairs[i]!)
      const source = padded(
        rows.map(([s]) => s),
        pad,
      )
      const target = padded(
        rows.map(([, t]) => [begin, ...Array.from(t)]),
        pad,
      )
      const labels = padded(
        rows.map(([, t]) => [...Array.from(t), end]),
        IGNORE,
      )
      const x = input({
        source: tensor(source.ids, [rows.length, source.length]),
        target: tensor(target.ids, [rows.length, target.length]),
        sourceLengths: tensor(Int32Array.from(rows, ([s]) => s.length)),
      })
      return { x, labels: labels.ids, length: labels.length }
    },
    decode: (model, indices) => {
      const rows = Array.from(indices, (i) => pairs[i]!)
      const found = translate(
        model,
        rows.map(([s]) => s),
        { begin, end },
      )
      return rows.map(([, reference], i) => ({ hypothesis: found[i]![0]?.tokens ?? [], reference }))
    },
  }
}

export interface MaskedText {
  readonly name: string
  readonly rows: readonly ArrayLike<number>[]
  readonly vocabulary: number
  readonly mask: number
  readonly pad: number
  /** Tokens that are never asked for, for example [CLS] and [SEP]. */
  readonly special?: readonly number[]
  /** Share of tokens that is asked for. Default 0.15. */
  readonly share?: number
  /** Makes the model's input; default `{ ids, mask }`: i32 [B, T], f32 [B, T] with 1 at tokens and 0 at padding. */
  readonly input?: (batch: { readonly ids: Tensor; readonly mask: Tensor }) => ModuleInput
}

/**
 * Masked language modelling (Devlin et al. 2019, section 3.1): of the tokens that are asked for 80 % become [MASK], 10 % any token, 10 % stay. Drawn
 * anew at every step.
 *
 * - a share outside (0, 1]: ERR_OPTION
 *
 * @example
 * maskedText({ name: 'text', rows: [[5, 6, 7, 8]], vocabulary: 9, mask: 1, pad: 0 })
 */
export function maskedText(text: MaskedText): TokenData {
  const { name, rows, vocabulary, mask, pad, special = [], share = 0.15, input = (b) => b } = text
  if (!(share > 0 && share <= 1)) throw new OptionError('ERR_OPTION', `maskedText: share must be in (0, 1], got ${share}`)
  const never = new Set([...special, pad])
  return {
    name,
    size: rows.length,
    lengths: Float64Array.from(rows, (row) => row.length),
    digest: () => rowsHash(rows),
    portable: { make: 'maskedText', args: [text] },
    batch: (indices, rng) => {
      const { ids, length } = padded(
        Array.from(indices, (i) => rows[i]!),
        pad,
      )
      const labels = new Int32Array(ids.length).fill(IGNORE)
      const there = Float32Array.from(ids, (id) => (id === pad ? 0 : 1))
      ids.forEach((id, i) => {
        if (never.has(id) || rng.uniform() >= share) return
        labels[i] = id
        const u = rng.uniform()
        if (u < 0.8) ids[i] = mask
        else if (u < 0.9) ids[i] = rng.int(vocabulary)
      })
      const shape = [indices.length, length]
      return { x: input({ ids: tensor(ids, shape), mask: tensor(there, shape) }), labels, length }
    },
  }
}
