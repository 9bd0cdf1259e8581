/** Perplexity of a corpus: exp(sum of negative log-likelihoods / number of tokens), not a mean of the perplexities or losses of its batches. */
import { DataError, NumericError, OptionError } from '../../base/errors.js'

export interface PerplexityFigures {
  readonly tokens: number
  /** Mean negative log-likelihood per token, natural logarithm. */
  readonly loss: number
  /** exp(loss); Infinity beyond a loss of 709. */
  readonly perplexity: number
  /** loss / ln 2. For characters: bits per character. */
  readonly bits: number
}

/**
 * @example
 * import { metrics } from 'tersor'
 * const p = new metrics.Perplexity()
 * p.update(2, 30)               // a batch of 30 tokens with a mean loss of 2
 * p.update(4, 10)
 * p.result().loss               // 2.5
 */
export class Perplexity {
  #sum = 0
  #lost = 0
  #tokens = 0

  /** Mean loss of a batch and its tokens (those that count: padding left out). NaN or infinity: ERR_NUMERIC. */
  update(meanLoss: number, tokens: number): void {
    if (!Number.isSafeInteger(tokens) || tokens < 0)
      throw new OptionError('ERR_OPTION', `Perplexity: tokens must be an integer >= 0, got ${tokens}`)
    if (tokens === 0) return // the mean over nothing is NaN
    if (!Number.isFinite(meanLoss)) throw new NumericError('ERR_NUMERIC', `Perplexity: the loss must be finite, got ${meanLoss}`)
    // Neumaier's sum: a corpus has millions of terms.
    const term = meanLoss * tokens
    const sum = this.#sum + term
    this.#lost += Math.abs(this.#sum) >= Math.abs(term) ? this.#sum - sum + term : term - sum + this.#sum
    this.#sum = sum
    this.#tokens += tokens
  }

  get count(): number {
    return this.#tokens
  }

  /** No tokens: ERR_DATA. */
  result(): PerplexityFigures {
    if (this.#tokens === 0) throw new DataError('ERR_DATA', 'Perplexity: there are no tokens')
    const loss = (this.#sum + this.#lost) / this.#tokens
    return { tokens: this.#tokens, loss, perplexity: Math.exp(loss), bits: loss / Math.LN2 }
  }
}
