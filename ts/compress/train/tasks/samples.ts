/** Batches of a data set that gives its samples by index: what most tasks are made of. */
import { OptionError } from '../../../base/errors.js'
import { BatchIterator } from '../../../data/batches.js'
import { bucketed } from '../../../data/loader/order.js'
import type { BatchPlace, BatchSource } from '../task.js'
import type { TrainSettings } from '../settings.js'

/** Indices of the samples of each step, shuffled by seed and epoch. */
export function sampleBatches(size: number, { batchSize, seed }: TrainSettings, { epoch, batch }: BatchPlace): BatchSource<Uint32Array> {
  const order = { batchSize, seed }
  const batches = new BatchIterator(size, order, { size, order: 'shuffled', dropLast: false, epoch, batch, ...order })
  return { batchesPerEpoch: batches.batchesPerEpoch, next: () => batches.next().indices }
}

/** Batches of samples of similar length, in random order (loader/order.ts): little is padded. */
export function bucketedBatches(
  lengths: ArrayLike<number>,
  { batchSize, seed }: TrainSettings,
  { epoch: from, batch: first }: BatchPlace,
): BatchSource<Uint32Array> {
  const order = bucketed(lengths, seed, batchSize, BUCKETS)
  const batchesPerEpoch = Math.ceil(lengths.length / batchSize)
  let [epoch, batch] = [from, first]
  let now = order(epoch)
  return {
    batchesPerEpoch,
    next: () => {
      const indices = now.slice(batch * batchSize, Math.min(lengths.length, (batch + 1) * batchSize))
      if (++batch === batchesPerEpoch) [batch, epoch, now] = [0, epoch + 1, order(epoch + 1)]
      return indices
    },
  }
}

/** Batches that are sorted by length at a time: more pad less, and are less random. */
const BUCKETS = 32

/** ERR_OPTION for settings of image classification in other tasks. */
export function refuseLoading(kind: string, settings: TrainSettings): void {
  for (const name of ['augment', 'workers', 'prefetch'] as const)
    if (settings[name] !== undefined)
      throw new OptionError('ERR_OPTION', `train: /${name}: is for the classification of numbers, this is ${kind}`, {
        details: { pointer: `/${name}` },
      })
}

/** In parts of nearly the same size. */
export function splitIndices(indices: Uint32Array, parts: number): Uint32Array[] {
  const n = Math.min(parts, indices.length)
  return Array.from({ length: n }, (_, k) =>
    indices.slice(Math.floor((k * indices.length) / n), Math.floor(((k + 1) * indices.length) / n)),
  )
}

/** 0 ... size - 1 in order. */
export function indexBatches(size: number, batch: number): Uint32Array[] {
  return Array.from({ length: Math.ceil(size / batch) }, (_, k) =>
    Uint32Array.from({ length: Math.min(batch, size - k * batch) }, (_v, i) => k * batch + i),
  )
}
