/**
 * Training of recurrent language models on one long text: truncated back-propagation through time. The text is cut into `batch` columns of equal
 * length that are read side by side, `window` tokens at a time; the state goes on from window to window and begins at zero with each epoch (Zaremba,
 * Sutskever, Vinyals 2014). Gradients are scaled down where their common norm exceeds `clip` (Pascanu, Mikolov, Bengio 2013, algorithm 1).
 *
 * The model given is not changed. Same model, tokens and options: same bits, for any number of threads. A step is all or nothing: a loss or gradient
 * that is not finite is ERR_NUMERIC before a weight moves.
 */
import { valueAndGrad } from '../../../autograd/index.js'
import { DataError, NumericError, OptionError } from '../../../base/errors.js'
import { pacer } from '../../../base/pace.js'
import { CarriedState, continueText } from '../../../models/language.js'
import type { Model } from '../../../nn/index.js'
import { crossEntropy } from '../../../ops/index.js'
import { clipByNorm, Optimizer, type OptimizerInput } from '../../../optim/index.js'
import { scope, tensor, type Tensor } from '../../../tensor/index.js'
import { WorkingCopy } from '../working-copy.js'

export interface LanguageOptions {
  /** Columns that are read side by side. Default 20. */
  readonly batch?: number
  /** Tokens of a window: how far gradients go back. Default 35. */
  readonly window?: number
}

export interface LanguageTraining extends LanguageOptions {
  readonly epochs: number
  /** Rate of step `step` of `steps`, or one rate. */
  readonly lr: number | ((step: number, steps: number) => number)
  /** Default SGD without momentum. */
  readonly optimizer?: OptimizerInput
  /** Largest norm of all gradients together; default: no limit. */
  readonly clip?: number
  /** For dropout. Default 0. */
  readonly seed?: number
  readonly onStep?: (event: { readonly step: number; readonly steps: number; readonly loss: number; readonly lr: number }) => void
  readonly signal?: AbortSignal
}

export interface LanguageResult {
  readonly model: Model
  /** Perplexity of the training text while it was trained on, one per epoch. */
  readonly perplexities: readonly number[]
}

interface Window {
  readonly x: Tensor
  readonly y: Tensor
  readonly tokens: number
}

/** Columns of the text; what does not fill one more row of columns is left out at the end, the last token is a target only. */
class Windows {
  readonly #rows: number
  readonly count: number

  constructor(
    where: string,
    private readonly tokens: Int32Array,
    private readonly batch: number,
    private readonly window: number,
  ) {
    for (const [name, v] of [
      ['batch', batch],
      ['window', window],
    ] as const)
      if (!Number.isInteger(v) || v < 1) throw new OptionError('ERR_OPTION', `${where}: ${name} must be an integer >= 1, got ${v}`)
    this.#rows = Math.floor((tokens.length - 1) / batch)
    if (this.#rows < 1)
      throw new DataError(
        'ERR_DATA',
        `${where}: a text of ${tokens.length} tokens is too short for ${batch} columns; it needs ${batch + 1}`,
      )
    this.count = Math.ceil(this.#rows / window)
  }

  at(index: number): Window {
    const first = index * this.window
    const length = Math.min(this.window, this.#rows - first)
    const cut = (shift: number): Tensor => {
      const out = new Int32Array(this.batch * length)
      for (let b = 0; b < this.batch; b++) {
        const from = b * this.#rows + first + shift
        out.set(this.tokens.subarray(from, from + length), b * length)
      }
      return tensor(out, [this.batch, length])
    }
    return { x: cut(0), y: cut(1), tokens: this.batch * length }
  }
}

/**
 * Perplexity of a text: exp of the mean negative log-likelihood per token over the whole text, the state carried through it. Tokens that do not fill
 * `batch` columns are left out, so batch 1 (the default) counts every token behind the first.
 *
 * - a text too short: ERR_DATA; a token outside the vocabulary: ERR_SHAPE
 */
export async function languagePerplexity(
  model: Model,
  tokens: Int32Array,
  { batch = 1, window = 256 }: LanguageOptions = {},
  signal?: AbortSignal,
): Promise<number> {
  const windows = new Windows('languagePerplexity', tokens, batch, window)
  const breathe = pacer('languagePerplexity', signal)
  const state = new CarriedState()
  let [total, count] = [0, 0]
  try {
    for (let i = 0; i < windows.count; i++) {
      await breathe()
      total += scope(() => {
        const { x, y, tokens: n } = windows.at(i)
        count += n
        return crossEntropy(continueText(model, x, state), y).item() * n
      })
    }
  } finally {
    state.dispose()
  }
  return Math.exp(total / count)
}

/**
 * Trains a recurrent language model on the tokens of a text.
 *
 * - options out of range: ERR_OPTION; a text too short: ERR_DATA; a token outside the vocabulary: ERR_SHAPE
 * - a loss or gradient that is not finite: ERR_NUMERIC with the step; the model given is as it was
 *
 * @example
 * const { model } = await trainLanguageModel(untrained, tokens, { epochs: 6, lr: 1, clip: 5 })
 * await languagePerplexity(model, heldOut)
 */
export async function trainLanguageModel(source: Model, tokens: Int32Array, options: LanguageTraining): Promise<LanguageResult> {
  const { epochs, lr, optimizer: spec = { kind: 'sgd' }, clip = Infinity, seed = 0, batch = 20, window = 35, onStep, signal } = options
  if (!Number.isInteger(epochs) || epochs < 1)
    throw new OptionError('ERR_OPTION', `trainLanguageModel: epochs must be an integer >= 1, got ${epochs}`)
  if (!(clip > 0)) throw new OptionError('ERR_OPTION', `trainLanguageModel: clip must be > 0, got ${clip}`)
  const windows = new Windows('trainLanguageModel', tokens, batch, window)
  const steps = epochs * windows.count
  const breathe = pacer('trainLanguageModel', signal)
  const copy = new WorkingCopy(source)
  const optimizer = new Optimizer(spec, copy.leaves)
  const state = new CarriedState()
  const paths = [...copy.leaves.keys()]
  const values = [...copy.leaves.values()].map((leaf) => leaf.value)

  const one = (step: number): { readonly loss: number; readonly tokens: number } =>
    scope(() => {
      const rate = typeof lr === 'function' ? lr(step, steps) : lr
      const { x, y, tokens: n } = windows.at(step % windows.count)
      const { value, grads } = valueAndGrad(() => {
        const scores = copy.model.forward(x, { training: true, seed, step, carried: state.map })
        return { value: crossEntropy(scores, y), aux: [...state.map.values()] }
      }, values)
      state.detach()
      const loss = value.item()
      const { grads: clipped, norm } = clipByNorm(new Map(paths.map((path, i) => [path, grads[i]!])), clip)
      if (!Number.isFinite(loss) || !Number.isFinite(norm))
        throw new NumericError(
          'ERR_NUMERIC',
          `trainLanguageModel: the ${Number.isFinite(loss) ? 'norm of the gradient' : 'loss'} is ${Number.isFinite(loss) ? norm : loss} at step ${step}: lower the learning rate or clip`,
          { details: { stage: 'train', tensor: 'loss', index: 0, step } },
        )
      optimizer.step(clipped, rate)
      onStep?.({ step, steps, loss, lr: rate })
      return { loss, tokens: n }
    })

  const perplexities: number[] = []
  try {
    for (let epoch = 0; epoch < epochs; epoch++) {
      state.reset()
      let [total, count] = [0, 0]
      for (let i = 0; i < windows.count; i++) {
        await breathe()
        const { loss, tokens: n } = one(epoch * windows.count + i)
        total += loss * n
        count += n
      }
      perplexities.push(Math.exp(total / count))
    }
  } catch (error) {
    copy.dispose()
    throw error
  } finally {
    state.dispose()
    optimizer.dispose()
  }
  return { model: copy.release(), perplexities }
}
