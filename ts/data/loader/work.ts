/** Makes batches: reads samples, maps, augments, pads. The same code in a worker and on the calling thread, so the batches are the same. */
import { DataError, isTersorError, OptionError } from '../../base/errors.js'
import { sizeOf } from '../../base/shape.js'
import { augmentBatch } from '../augment.js'
import type { Augment } from '../augment-settings.js'
import { SampleRng } from '../sample-rng.js'
import type { LoadedBatch, LoadedNumbers, LoadedSequences, MapContext, ModuleMap, Sample, SampleMap, StoredSamples } from './contract.js'
import { openReader } from './readers.js'

/** What a worker is started with: cloneable. */
export interface WorkSetup {
  readonly stored: StoredSamples
  readonly seed: number
  readonly augment: Augment | undefined
  readonly map: ModuleMap | undefined
  /** Blocks of a file in memory. */
  readonly blocks: number
}

export interface Job {
  readonly epoch: number
  readonly batch: number
  readonly indices: Uint32Array
}

const mapRng = new SampleRng(0x6d617031)

export class BatchMaker {
  readonly #reader
  readonly #context: { epoch: number } & MapContext

  /** `map` as a function, whether given as one or loaded from its module. */
  constructor(
    private readonly setup: WorkSetup,
    private readonly map: SampleMap | undefined,
  ) {
    this.#reader = openReader(setup.stored, setup.blocks)
    this.#context = { epoch: 0, random: () => mapRng.uniform(), options: setup.map?.options }
  }

  make(job: Job): LoadedBatch {
    const { stored } = this.setup
    const text = stored.kind === 'sequences' || (stored.kind === 'lines' && stored.vocabulary !== undefined)
    return text ? this.#sequences(job) : this.#numbers(job)
  }

  #sample(index: number, epoch: number): Sample {
    const sample = this.#reader.read(index)
    if (!this.map) return sample
    const { name } = this.setup.stored
    mapRng.at(this.setup.seed, epoch, index)
    this.#context.epoch = epoch
    try {
      this.map(sample, this.#context)
    } catch (cause) {
      if (isTersorError(cause)) throw cause
      throw new DataError(
        'ERR_DATA',
        `${name}: the map failed at sample ${index}: ${cause instanceof Error ? cause.message : String(cause)}`,
        {
          cause,
          details: { index, reason: 'map' },
        },
      )
    }
    const bad = (why: string): DataError =>
      new DataError('ERR_DATA', `${name}: the map left sample ${index} with ${why}`, { details: { index, reason: 'map' } })
    if (!(sample.x instanceof Float32Array || sample.x instanceof Int32Array)) throw bad('an x that is no Float32Array or Int32Array')
    if (!Array.isArray(sample.shape) || sizeOf(sample.shape) !== sample.x.length)
      throw bad(`${sample.x.length} numbers for the shape [${String(sample.shape)}]`)
    if (!Number.isInteger(sample.label)) throw bad(`label ${String(sample.label)}`)
    return sample
  }

  #numbers({ epoch, batch, indices }: Job): LoadedNumbers {
    const { stored, augment, seed } = this.setup
    const n = indices.length
    const labels = new Int32Array(n)
    let shape: readonly number[] | undefined
    let x = new Float32Array(0)
    if (this.#reader.fill && !this.map && stored.kind === 'numbers') {
      shape = stored.inputShape
      const row = sizeOf(shape)
      x = new Float32Array(n * row)
      for (let i = 0; i < n; i++) labels[i] = this.#reader.fill(indices[i]!, x.subarray(i * row, (i + 1) * row))
    } else
      for (let i = 0; i < n; i++) {
        const sample = this.#sample(indices[i]!, epoch)
        if (!shape) {
          shape = sample.shape
          x = new Float32Array(n * sample.x.length)
        }
        if (sample.shape.length !== shape.length || sample.shape.some((d, k) => d !== shape![k]))
          throw new DataError(
            'ERR_DATA',
            `${stored.name}: sample ${indices[i]} is [${sample.shape.join(', ')}], others of its batch are [${shape.join(', ')}]`,
            {
              details: { index: indices[i] },
            },
          )
        x.set(sample.x, i * sample.x.length)
        labels[i] = sample.label
      }
    const made = { x, shape: [n, ...shape!], labels }
    const augmented = augment ? augmentBatch(made, augment, { seed, epoch, batch, indices }) : made
    return { kind: 'numbers', epoch, batch, indices, ...augmented }
  }

  #sequences({ epoch, batch, indices }: Job): LoadedSequences {
    const { stored, augment } = this.setup
    if (augment) throw new OptionError('ERR_OPTION', `loader: ${stored.name} has sequences, augment is for images`)
    const pad = stored.kind === 'sequences' || stored.kind === 'lines' ? stored.pad : 0
    const n = indices.length
    const samples = Array.from(indices, (index) => this.#sample(index, epoch))
    const longest = samples.reduce((most, { x }) => Math.max(most, x.length), 0)
    const ids = new Int32Array(n * longest).fill(pad)
    const mask = new Uint8Array(n * longest)
    samples.forEach(({ x }, i) => {
      ids.set(x, i * longest)
      mask.fill(1, i * longest, i * longest + x.length)
    })
    const lengths = Int32Array.from(samples, ({ x }) => x.length)
    const labels = Int32Array.from(samples, ({ label }) => label)
    return { kind: 'sequences', epoch, batch, indices, ids, mask, shape: [n, longest], lengths, labels }
  }

  close(): void {
    this.#reader.close()
  }
}

/** The memory of a batch that is handed over instead of copied. */
export function buffersOf(batch: LoadedBatch): ArrayBuffer[] {
  const arrays =
    batch.kind === 'numbers'
      ? [batch.x, batch.labels, batch.indices, batch.mixed?.labels]
      : [batch.ids, batch.mask, batch.lengths, batch.labels, batch.indices]
  return [...new Set(arrays.flatMap((a) => (a ? [a.buffer as ArrayBuffer] : [])))]
}
