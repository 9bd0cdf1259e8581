/**
 * Batches for training and evaluation, made ahead in worker threads: shuffled, balanced or bucketed by length; read from memory or, in constant memory, from
 * files; mapped, augmented, padded.
 *
 * Contract: a batch depends on the data, the options and its position alone, not on threads, prefetching or interruptions. At most `prefetch` batches wait. The
 * loader prints nothing and does not keep the process alive; where workers cannot start, the calling thread makes the batches and `mode` says why.
 */
import { CheckpointError, OptionError } from '../../base/errors.js'
import { abortError } from '../../base/pace.js'
import { augmentSettings } from '../augment-settings.js'
import type { BatchPosition } from '../batches.js'
import type { NumberDataset } from '../dataset.js'
import type { BatchSource, LoadedBatch, LoadedNumbers, LoadedSequences, LoaderMode, LoaderOptions, StoredSamples } from './contract.js'
import { loadMap } from './module-map.js'
import { balanced, blocks, bucketed, checkCount, sequential, shuffled, type EpochOrder, type MakeOrder } from './order.js'
import { closedError, WorkerPool, WorkersUnavailable } from './pool.js'
import { storedOf, type LoadableData, type SequenceData, type StreamData } from './sources.js'
import { BatchMaker, type Job, type WorkSetup } from './work.js'

type Options = LoaderOptions & { readonly workerFile?: string | undefined }

/** Padding of the batches given so far. */
export interface Padding {
  /** Places that hold a token. */
  readonly tokens: number
  /** Places that hold padding. */
  readonly padding: number
  /** padding / (tokens + padding), 0 before the first batch. */
  readonly waste: number
}

function orderOf(stored: StoredSamples, options: Options, seed: number): { readonly make: MakeOrder; readonly name: string } {
  const { order = 'shuffled', batchSize, bucketBatches = 50, windowBlocks = 16 } = options
  const file = stored.kind === 'rows' || stored.kind === 'lines'
  const { size } = stored
  const inMemory = (): void => {
    if (file)
      throw new OptionError('ERR_OPTION', `loader: order '${order}' needs a data set in memory, ${stored.name} is read from its file`)
  }
  switch (order) {
    case 'sequential':
      return { make: sequential(size), name: order }
    case 'shuffled':
      return file
        ? { make: blocks(size, stored.blockRows, windowBlocks, seed), name: `blocks:${stored.blockRows}x${windowBlocks}` }
        : { make: shuffled(size, seed), name: order }
    case 'balanced':
      inMemory()
      return { make: balanced((stored as Extract<StoredSamples, { labels: unknown }>).labels, seed), name: order }
    case 'bucketed': {
      inMemory()
      if (stored.kind !== 'sequences')
        throw new OptionError('ERR_OPTION', `loader: order 'bucketed' needs sequences, ${stored.name} has numbers`)
      const lengths = Int32Array.from({ length: size }, (_, i) => stored.offsets[i + 1]! - stored.offsets[i]!)
      return { make: bucketed(lengths, seed, batchSize, bucketBatches), name: `bucketed:${bucketBatches}` }
    }
    default:
      throw new OptionError('ERR_OPTION', `loader: order must be shuffled, sequential, balanced or bucketed, got ${JSON.stringify(order)}`)
  }
}

function checkOptions(options: Options): void {
  const { batchSize, seed = 0, workers = 1, prefetch = 0, bucketBatches = 1, windowBlocks = 1 } = options
  checkCount('batchSize', batchSize, 1, 2 ** 24)
  checkCount('seed', seed, 0)
  checkCount('workers', workers, 0, 16)
  checkCount('prefetch', prefetch, 0, 1024)
  checkCount('bucketBatches', bucketBatches, 1, 2 ** 24)
  checkCount('windowBlocks', windowBlocks, 1, 2 ** 16)
}

/** Use `openLoader`. */
export class Loader<B extends LoadedBatch = LoadedBatch> implements BatchSource<B> {
  readonly batchesPerEpoch: number
  readonly #options: Options
  readonly #seed: number
  readonly #stored: StoredSamples
  readonly #make: MakeOrder
  readonly #orderName: string
  #order: { epoch: number; order: EpochOrder } | undefined
  /** Of the next batch to be given, and of the next to be begun. */
  #given = { epoch: 0, batch: 0 }
  #begun = { epoch: 0, batch: 0 }
  #jobs = 0
  readonly #queue: Promise<LoadedBatch>[] = []
  readonly #pool: WorkerPool | undefined
  readonly #ready: Promise<(job: Job) => Promise<LoadedBatch>>
  #caller: BatchMaker | undefined
  #mode: LoaderMode
  #closed: Error | undefined
  #tokens = 0
  #padding = 0
  readonly #onAbort = (): void => this.#end(abortError('loader', this.#options.signal!))

  /** @internal */
  constructor(data: LoadableData, options: Options) {
    checkOptions(options)
    const { batchSize, seed = 0, workers = 1, from, signal, map } = options
    if (signal?.aborted) throw abortError('loader', signal)
    const closure = typeof map === 'function'
    const stored = storedOf(data, workers > 0 && !closure)
    if (stored.size === 0) throw new OptionError('ERR_OPTION', `loader: ${stored.name} has no samples`)
    this.#options = options
    this.#seed = seed
    this.#stored = stored
    const { make, name } = orderOf(stored, options, seed)
    this.#make = make
    this.#orderName = name
    const { samples } = this.#epoch(0)
    this.batchesPerEpoch = options.dropLast ? Math.floor(samples / batchSize) : Math.ceil(samples / batchSize)
    if (this.batchesPerEpoch === 0) throw new OptionError('ERR_OPTION', `loader: ${samples} samples do not fill a batch of ${batchSize}`)
    if (from) this.#resume(from)
    const setup: WorkSetup = {
      stored,
      seed,
      augment: options.augment && augmentSettings(options.augment),
      map: closure ? undefined : map,
      blocks: 2 * (options.windowBlocks ?? 16), // a batch may lie in two windows
    }
    this.#pool = workers > 0 && !closure ? new WorkerPool() : undefined
    this.#mode = this.#pool
      ? { thread: 'workers', workers }
      : { thread: 'caller', workers: 0, why: closure ? 'the map is a function' : 'workers: 0' }
    this.#ready = this.#open(setup)
    this.#ready.catch(() => undefined) // told by next()
    signal?.addEventListener('abort', this.#onAbort, { once: true })
  }

  async #open(setup: WorkSetup): Promise<(job: Job) => Promise<LoadedBatch>> {
    const { map, workers = 1, onWorkerFailure = 'fallback', workerFile } = this.#options
    const pool = this.#pool
    if (pool) {
      try {
        await pool.start(setup, workers, workerFile)
        return (job) => pool.run(this.#jobs++, job)
      } catch (error) {
        pool.close()
        if (!(error instanceof WorkersUnavailable) || this.#closed) throw error
        if (onWorkerFailure === 'error')
          throw new OptionError('ERR_OPTION', `loader: workers cannot start: ${error.message}`, { cause: error })
        this.#mode = { thread: 'caller', workers: 0, why: `workers cannot start: ${error.message}` }
      }
    }
    const maker = new BatchMaker(setup, typeof map === 'function' ? map : map && (await loadMap(map)))
    this.#caller = maker
    if (this.#closed) maker.close()
    // eslint-disable-next-line @typescript-eslint/require-await -- the workers' side of this is asynchronous
    return async (job) => maker.make(job)
  }

  /** Where batches are made; known for sure when the first batch is there. */
  get mode(): LoaderMode {
    return this.#mode
  }

  /** How much of the batches given so far was padding. */
  get padding(): Padding {
    const all = this.#tokens + this.#padding
    return { tokens: this.#tokens, padding: this.#padding, waste: all === 0 ? 0 : this.#padding / all }
  }

  position(): BatchPosition {
    const { batchSize, dropLast = false } = this.#options
    return { size: this.#stored.size, batchSize, seed: this.#seed, order: this.#orderName, dropLast, ...this.#given }
  }

  #resume(from: BatchPosition): void {
    const now = this.position()
    for (const key of ['size', 'batchSize', 'seed', 'order', 'dropLast'] as const)
      if (from[key] !== now[key])
        throw new CheckpointError('ERR_CHECKPOINT', `loader: the saved position has ${key} ${from[key]}, the data now has ${now[key]}`, {
          details: { reason: key },
        })
    const { epoch, batch } = from
    if (!Number.isSafeInteger(epoch) || epoch < 0 || !Number.isSafeInteger(batch) || batch < 0 || batch >= this.batchesPerEpoch)
      throw new CheckpointError('ERR_CHECKPOINT', `loader: the saved position ${epoch}/${batch} is outside the data`, {
        details: { reason: 'batch' },
      })
    this.#given = { epoch, batch }
    this.#begun = { epoch, batch }
  }

  #epoch(epoch: number): EpochOrder {
    if (this.#order?.epoch !== epoch) this.#order = { epoch, order: this.#make(epoch) }
    return this.#order.order
  }

  #after({ epoch, batch }: { epoch: number; batch: number }): { epoch: number; batch: number } {
    return batch + 1 < this.batchesPerEpoch ? { epoch, batch: batch + 1 } : { epoch: epoch + 1, batch: 0 }
  }

  #begin(): Promise<LoadedBatch> {
    const { epoch, batch } = this.#begun
    this.#begun = this.#after(this.#begun)
    const order = this.#epoch(epoch)
    const { batchSize } = this.#options
    const indices = order.slice(batch * batchSize, Math.min(order.samples, (batch + 1) * batchSize))
    const made = this.#ready.then((make) => make({ epoch, batch, indices }))
    made.catch(() => undefined) // told by the next() that it belongs to
    return made
  }

  #check(): void {
    if (this.#closed) throw this.#closed
  }

  async next(): Promise<B> {
    this.#check()
    const mine = this.#queue.shift() ?? this.#begin()
    this.#given = this.#after(this.#given)
    const ahead = this.#mode.thread === 'workers' ? (this.#options.prefetch ?? 2 + this.#mode.workers) : 0
    while (this.#queue.length < ahead) this.#queue.push(this.#begin())
    this.#pool?.hold()
    try {
      const batch = await mine
      this.#check()
      if (batch.kind === 'sequences') {
        const tokens = batch.lengths.reduce((a, b) => a + b, 0)
        this.#tokens += tokens
        this.#padding += batch.ids.length - tokens
      }
      return batch as B
    } catch (error) {
      this.#check() // the reason, not what the ending did to this batch
      throw error
    } finally {
      this.#pool?.release()
    }
  }

  close(): void {
    this.#end(closedError())
  }

  #end(error: Error): void {
    if (this.#closed) return
    this.#closed = error
    this.#options.signal?.removeEventListener('abort', this.#onAbort)
    this.#pool?.close(error)
    this.#caller?.close()
    this.#queue.length = 0
  }
}

/**
 * Opens a loader over numbers in memory (`loadData`, `loadMnist`), sequences (`tokenize`) or a file that is read in blocks (`streamData`). Close it.
 *
 * - options out of range, an order that the data cannot have, a map that cannot be loaded: ERR_OPTION; a position of other data: ERR_CHECKPOINT
 * - `next` rejects with what went wrong with its batch: ERR_DATA (rows, files that changed, a map that throws), ERR_IO, ERR_ABORTED
 *
 * @example
 * import { numberDataset, openLoader } from 'tersor/data'
 * const data = numberDataset({ name: 'ones', features: new Float32Array(12).fill(1), inputShape: [2], labels: new Int32Array(6), classes: ['a'] })
 * const loader = openLoader(data, { batchSize: 4, seed: 1 })
 * const { x, shape, labels } = await loader.next()
 * loader.close()
 */
export function openLoader(
  data: NumberDataset | (StreamData & { readonly input: 'numbers' }),
  options: LoaderOptions,
): Loader<LoadedNumbers>
export function openLoader(data: SequenceData | (StreamData & { readonly input: 'text' }), options: LoaderOptions): Loader<LoadedSequences>
export function openLoader(data: LoadableData, options: LoaderOptions): Loader
export function openLoader(data: LoadableData, options: LoaderOptions): Loader {
  return new Loader(data, options)
}
