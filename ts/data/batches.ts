/**
 * Batches of indices by seed and epoch. The position is plain JSON: an iterator made from a saved position goes on with exactly the batches
 * that the first one would have given.
 */
import { CheckpointError, OptionError } from '../base/errors.js'
import { shuffle } from '../base/rng.js'
import { balancedEpoch } from './sampling.js'

export interface BatchOptions {
  readonly batchSize: number
  readonly seed: number
  /** `'shuffled'` (default), `'sequential'`, or `'balanced'`: every class equally often, needs `labels`. */
  readonly order?: 'shuffled' | 'sequential' | 'balanced'
  readonly labels?: ArrayLike<number>
  /** Leaves out the last, smaller batch of an epoch; default false. */
  readonly dropLast?: boolean
}

export interface BatchPosition {
  readonly size: number
  readonly batchSize: number
  readonly seed: number
  readonly order: string
  readonly dropLast: boolean
  readonly epoch: number
  /** Batches of the epoch already given. */
  readonly batch: number
}

export interface IndexBatch {
  readonly epoch: number
  readonly batch: number
  readonly indices: Uint32Array
}

function checkCount(what: string, value: number, min: number): void {
  if (!Number.isSafeInteger(value) || value < min)
    throw new OptionError('ERR_OPTION', `batches: ${what} must be an integer >= ${min}, got ${value}`)
}

export class BatchIterator {
  /** Batches in an epoch. */
  readonly batchesPerEpoch: number
  readonly #size: number
  readonly #options: Required<Omit<BatchOptions, 'labels'>> & Pick<BatchOptions, 'labels'>
  #epoch = 0
  #batch = 0
  #order: Uint32Array | undefined

  /** `size` samples; with `from`, goes on at a saved position. */
  constructor(size: number, options: BatchOptions, from?: BatchPosition) {
    const { order = 'shuffled', dropLast = false, batchSize } = options
    checkCount('size', size, 1)
    checkCount('batchSize', batchSize, 1)
    checkCount('seed', options.seed, 0)
    if (order === 'balanced' && options.labels?.length !== size)
      throw new OptionError('ERR_OPTION', `batches: order 'balanced' needs ${size} labels, got ${options.labels?.length ?? 'none'}`)
    this.#size = size
    this.#options = { ...options, order, dropLast }
    const samples = order === 'balanced' ? this.#epochOrder(0).length : size
    this.batchesPerEpoch = dropLast ? Math.floor(samples / batchSize) : Math.ceil(samples / batchSize)
    if (this.batchesPerEpoch === 0) throw new OptionError('ERR_OPTION', `batches: ${samples} samples do not fill a batch of ${batchSize}`)
    if (from) this.#resume(from)
  }

  #resume(from: BatchPosition): void {
    const now = this.position()
    for (const key of ['size', 'batchSize', 'seed', 'order', 'dropLast'] as const)
      if (from[key] !== now[key])
        throw new CheckpointError('ERR_CHECKPOINT', `batches: the saved position has ${key} ${from[key]}, the data now has ${now[key]}`, {
          details: { reason: key },
        })
    checkCount('epoch', from.epoch, 0)
    checkCount('batch', from.batch, 0)
    if (from.batch >= this.batchesPerEpoch)
      throw new CheckpointError('ERR_CHECKPOINT', `batches: the saved batch must be below ${this.batchesPerEpoch}, got ${from.batch}`, {
        details: { reason: 'batch' },
      })
    this.#epoch = from.epoch
    this.#batch = from.batch
  }

  /** Where the next batch stands. */
  position(): BatchPosition {
    const { batchSize, seed, order, dropLast } = this.#options
    return { size: this.#size, batchSize, seed, order, dropLast, epoch: this.#epoch, batch: this.#batch }
  }

  #epochOrder(epoch: number): Uint32Array {
    const { order, seed, labels } = this.#options
    if (order === 'balanced') return balancedEpoch(labels!, seed, epoch)
    return order === 'shuffled' ? shuffle(this.#size, seed, epoch) : Uint32Array.from({ length: this.#size }, (_, i) => i)
  }

  /** The next batch; epochs follow each other without end. */
  next(): IndexBatch {
    this.#order ??= this.#epochOrder(this.#epoch)
    const { batchSize } = this.#options
    const epoch = this.#epoch
    const batch = this.#batch
    const indices = this.#order.slice(batch * batchSize, (batch + 1) * batchSize)
    if (++this.#batch === this.batchesPerEpoch) {
      this.#epoch++
      this.#batch = 0
      this.#order = undefined
    }
    return { epoch, batch, indices }
  }

  /** The batches that are left until `epochs` epochs are complete. */
  *until(epochs: number): Generator<IndexBatch> {
    while (this.#epoch < epochs) yield this.next()
  }
}
