/** The order of the samples in an epoch, from seed and epoch alone: any batch of any epoch is found without the ones before it. */
import { OptionError } from '../../base/errors.js'
import { Rng, shuffle, shuffleInPlace } from '../../base/rng.js'
import { balancedEpoch } from '../sampling.js'

/** The samples of one epoch in order. */
export interface EpochOrder {
  readonly samples: number
  slice(from: number, to: number): Uint32Array
}

export type MakeOrder = (epoch: number) => EpochOrder

const listed = (list: Uint32Array): EpochOrder => ({ samples: list.length, slice: (from, to) => list.slice(from, to) })

export function sequential(size: number): MakeOrder {
  const order = { samples: size, slice: (from: number, to: number) => Uint32Array.from({ length: to - from }, (_, i) => from + i) }
  return () => order
}

export function shuffled(size: number, seed: number): MakeOrder {
  return (epoch) => listed(shuffle(size, seed, epoch))
}

export function balanced(labels: Int32Array, seed: number): MakeOrder {
  return (epoch) => listed(balancedEpoch(labels, seed, epoch))
}

/**
 * Batches of similar length: the shuffled samples are taken `window` batches at a time, sorted by length (equal lengths stay in shuffled order), cut into
 * batches, and the batches of the window shuffled. A smaller last batch stays the last of the epoch.
 */
export function bucketed(lengths: ArrayLike<number>, seed: number, batchSize: number, window: number): MakeOrder {
  return (epoch) => {
    const order = shuffle(lengths.length, seed, epoch)
    const out = new Uint32Array(order.length)
    const rng = Rng.of(seed, 'buckets', epoch)
    for (let start = 0; start < order.length; start += window * batchSize) {
      const part = order.subarray(start, start + window * batchSize)
      const place = Array.from(part, (sample, at) => ({ sample, at }))
      place.sort((a, b) => lengths[a.sample]! - lengths[b.sample]! || a.at - b.at)
      const full = Math.floor(part.length / batchSize)
      const batches = Array.from({ length: full }, (_, i) => i)
      shuffleInPlace(batches, rng)
      // What does not fill a batch: the longest, so that the batches before it are as even as they can be.
      if (full * batchSize < part.length) batches.push(full)
      let to = start
      for (const b of batches) for (const { sample } of place.slice(b * batchSize, (b + 1) * batchSize)) out[to++] = sample
    }
    return listed(out)
  }
}

/**
 * For files: blocks of rows in random order, the rows of `window` blocks at a time shuffled among each other. Memory: one number per block, and the rows of a
 * window.
 */
export function blocks(size: number, blockRows: number, window: number, seed: number): MakeOrder {
  const count = Math.ceil(size / blockRows)
  const rowsOf = (block: number): number => Math.min(blockRows, size - block * blockRows)
  return (epoch) => {
    const order = shuffle(count, seed, epoch)
    const windows = Math.ceil(count / window)
    // Only the last block of the file is smaller; starts[w] is where window w begins.
    const starts = new Float64Array(windows + 1)
    for (let w = 0; w < windows; w++) {
      let rows = 0
      for (const block of order.subarray(w * window, (w + 1) * window)) rows += rowsOf(block)
      starts[w + 1] = starts[w]! + rows
    }
    let cached = -1
    let rows: Uint32Array = new Uint32Array(0)
    const load = (w: number): Uint32Array => {
      if (w === cached) return rows
      rows = new Uint32Array(starts[w + 1]! - starts[w]!)
      let at = 0
      for (const block of order.subarray(w * window, (w + 1) * window))
        for (let i = 0; i < rowsOf(block); i++) rows[at++] = block * blockRows + i
      shuffleInPlace(rows, Rng.of(seed, 'window', epoch, w))
      cached = w
      return rows
    }
    const find = (sample: number): number => {
      let [low, high] = [0, windows - 1]
      while (low < high) {
        const middle = (low + high + 1) >> 1
        if (starts[middle]! <= sample) low = middle
        else high = middle - 1
      }
      return low
    }
    return {
      samples: size,
      slice(from, to) {
        const out = new Uint32Array(to - from)
        for (let at = from; at < to;) {
          const w = find(at)
          const end = Math.min(to, starts[w + 1]!)
          out.set(load(w).subarray(at - starts[w]!, end - starts[w]!), at - from)
          at = end
        }
        return out
      },
    }
  }
}

export function checkCount(what: string, value: number, min: number, max = Number.MAX_SAFE_INTEGER): void {
  if (!Number.isSafeInteger(value) || value < min || value > max)
    throw new OptionError('ERR_OPTION', `loader: ${what} must be an integer in [${min}, ${max}], got ${value}`)
}
