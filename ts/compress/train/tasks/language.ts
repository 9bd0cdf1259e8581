/**
 * Recurrent language models on one long text: truncated back-propagation through time. The text is cut into `batchSize` columns of equal length that
 * are read side by side, `window` tokens at a time; the state goes on from window to window and begins at zero with each epoch (Zaremba, Sutskever,
 * Vinyals 2014). An epoch's mean loss is the natural logarithm of the perplexity of the text while it was trained on.
 */
import { Perplexity } from '../../../analyze/metrics/index.js'
import { DataError, OptionError } from '../../../base/errors.js'
import { pacer } from '../../../base/pace.js'
import { arrayHash } from '../../run/fingerprint.js'
import { CarriedState, continueText } from '../../../models/language.js'
import type { Model } from '../../../nn/index.js'
import { argmax, crossEntropy } from '../../../ops/index.js'
import { scope, tensor, type Tensor } from '../../../tensor/index.js'
import type { TrainTask } from '../task.js'
import { refuseLoading } from './samples.js'

/** Some rows of the columns of a text, both [columns, length] row-major: y is x one token later. */
export interface TextWindow {
  readonly x: Int32Array
  readonly y: Int32Array
  readonly columns: number
  readonly length: number
  /** The beginning of the text. */
  readonly first: boolean
}

/** Columns of the text; what does not fill one more row of columns is left out at the end, the last token is a target only. */
class Windows {
  readonly #rows: number
  readonly count: number

  constructor(
    where: string,
    private readonly tokens: Int32Array,
    private readonly columns: number,
    private readonly window: number,
  ) {
    for (const [name, v] of [
      ['columns', columns],
      ['window', window],
    ] as const)
      if (!Number.isInteger(v) || v < 1) throw new OptionError('ERR_OPTION', `${where}: ${name} must be an integer >= 1, got ${v}`)
    this.#rows = Math.floor((tokens.length - 1) / columns)
    if (this.#rows < 1)
      throw new DataError(
        'ERR_DATA',
        `${where}: a text of ${tokens.length} tokens is too short for ${columns} columns; it needs ${columns + 1}`,
      )
    this.count = Math.ceil(this.#rows / window)
  }

  at(index: number): TextWindow {
    const { columns, tokens } = this
    const begin = index * this.window
    const length = Math.min(this.window, this.#rows - begin)
    const cut = (shift: number): Int32Array => {
      const out = new Int32Array(columns * length)
      for (let b = 0; b < columns; b++) {
        const from = b * this.#rows + begin + shift
        out.set(tokens.subarray(from, from + length), b * length)
      }
      return out
    }
    return { x: cut(0), y: cut(1), columns, length, first: index === 0 }
  }
}

const CALIBRATION_BATCH = 8

const asTensor = (ids: Int32Array, { columns, length }: TextWindow): Tensor => tensor(ids, [columns, length])

export interface PerplexityOptions {
  /** Columns that are read side by side. Default 1: every token behind the first counts. */
  readonly columns?: number
  /** Tokens of a window; changes speed and memory, not the value. Default 256. */
  readonly window?: number
  readonly signal?: AbortSignal
  /** Awaited before each window instead of this function's own pace. */
  readonly breathe?: () => Promise<void>
  readonly onProgress?: (done: number, total: number) => void
}

export interface LanguageFigures {
  readonly perplexity: number
  /** Share of the tokens that had the highest score. */
  readonly accuracy: number
  /** log2 of the perplexity. */
  readonly bits: number
  /** Tokens that were predicted. */
  readonly tokens: number
}

/** `languageFigures(...).perplexity`. */
export async function languagePerplexity(model: Model, tokens: Int32Array, options: PerplexityOptions = {}): Promise<number> {
  return (await languageFigures(model, tokens, options)).perplexity
}

/**
 * Figures of a text. Perplexity: exp of the mean negative log-likelihood per token over the whole text, the state carried through it. Tokens that do not fill
 * `columns` columns are left out.
 *
 * - a text too short: ERR_DATA; a token outside the vocabulary: ERR_SHAPE
 */
export async function languageFigures(
  model: Model,
  tokens: Int32Array,
  { columns = 1, window = 256, signal, breathe = pacer('languageFigures', signal), onProgress }: PerplexityOptions = {},
): Promise<LanguageFigures> {
  const windows = new Windows('languageFigures', tokens, columns, window)
  const state = new CarriedState()
  const perplexity = new Perplexity()
  let right = 0
  try {
    for (let i = 0; i < windows.count; i++) {
      await breathe()
      scope(() => {
        const cut = windows.at(i)
        const scores = continueText(model, asTensor(cut.x, cut), state)
        perplexity.update(crossEntropy(scores, asTensor(cut.y, cut)).item(), cut.y.length)
        const top = argmax(scores).read()
        right += cut.y.reduce((n, token, k) => n + (Number(top[k]) === token ? 1 : 0), 0)
      })
      onProgress?.(i + 1, windows.count)
    }
  } finally {
    state.dispose()
  }
  const { perplexity: value, bits, tokens: count } = perplexity.result()
  return { perplexity: value, accuracy: right / count, bits, tokens: count }
}

export interface LanguageOptions {
  /** Tokens of a window: how far gradients go back. Default 35. */
  readonly window?: number
  /** Held-out text: its perplexity (it decides) and accuracy are measured after each epoch. */
  readonly validation?: Int32Array | undefined
  /** Columns for that. Default 8: faster than 1, and the first tokens of 8 columns have no past. */
  readonly validationColumns?: number
  /** For reports. Default "text". */
  readonly name?: string
}

/**
 * The task of recurrent language models: ids [B, T] -> scores of the next token [B, T, V]. `batchSize` of the settings is the number of columns.
 *
 * - a text too short: ERR_DATA; a token outside the vocabulary: ERR_SHAPE; a window out of range: ERR_OPTION
 *
 * @example
 * const { model } = await trainTask(untrained, language(tokens, { window: 35, validation }), { epochs: 6, batchSize: 20, clipNorm: 5 })
 * await languagePerplexity(model, heldOut)
 */
export function language(
  tokens: Int32Array,
  { window = 35, validation, validationColumns = 8, name = 'text' }: LanguageOptions = {},
): TrainTask<TextWindow> {
  let options: { readonly window: number; readonly digest: string } | undefined
  return {
    kind: 'language',
    portable: { make: 'language', args: [tokens, { window, validation, validationColumns, name }] },
    get options() {
      return (options ??= { window, digest: arrayHash(tokens) })
    },
    name,
    examples: tokens.length,
    check: (_model, settings) => {
      refuseLoading('language', settings)
      const { batchSize } = settings
      // What is too short or out of range is told before the first step.
      new Windows('language', tokens, batchSize, window)
      if (validation) new Windows('language: validation', validation, validationColumns, window)
    },
    batches: (_model, { batchSize }, from) => {
      const windows = new Windows('language', tokens, batchSize, window)
      let index = from.batch
      return {
        batchesPerEpoch: windows.count,
        next: () => {
          const cut = windows.at(index)
          index = (index + 1) % windows.count
          return cut
        },
      }
    },
    count: ({ x }) => x.length,
    split: splitColumns,
    // Pieces of the text as long as the window, each from the zero state.
    calibration: {
      size: window >= 1 ? Math.floor(tokens.length / window) : 0,
      batch: CALIBRATION_BATCH,
      input: (_model, indices) => {
        const ids = new Int32Array(indices.length * window)
        indices.forEach((index, i) => ids.set(tokens.subarray(index * window, (index + 1) * window), i * window))
        return tensor(ids, [indices.length, window])
      },
    },
    restarts: ({ first }) => first,
    loss: ({ forward, settings: { labelSmoothing } }, cut) =>
      crossEntropy(forward(asTensor(cut.x, cut)), asTensor(cut.y, cut), { labelSmoothing }),
    ...(validation
      ? {
          goal: { name: 'perplexity', mode: 'min' },
          figures: { perplexity: 'min', accuracy: 'max' },
          evaluate: async (model, breathe) => {
            const { perplexity, accuracy } = await languageFigures(model, validation, { columns: validationColumns, breathe })
            return { perplexity, accuracy }
          },
        }
      : {}),
  }
}

/** Columns stay whole: each part carries its own state. */
function splitColumns(cut: TextWindow, parts: number): TextWindow[] {
  const n = Math.min(parts, cut.columns)
  return Array.from({ length: n }, (_, k) => {
    const [begin, end] = [k, k + 1].map((i) => Math.floor((i * cut.columns) / n)) as [number, number]
    const part = (ids: Int32Array): Int32Array => ids.subarray(begin * cut.length, end * cut.length)
    return { ...cut, x: part(cut.x), y: part(cut.y), columns: end - begin }
  })
}
