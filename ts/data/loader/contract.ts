/** What a loader takes and gives. Everything a worker needs is plain data that can be cloned into another thread. */
import type { AugmentedBatch } from '../augment.js'
import type { AugmentInput } from '../augment-settings.js'
import type { BatchPosition } from '../batches.js'
import type { VocabularyJson } from '../vocabulary.js'

/** A source of batches without end: epoch follows epoch. */
export interface BatchSource<B> {
  readonly batchesPerEpoch: number
  /** The next batch; calls that overlap are answered in order. */
  next(): Promise<B> | B
  /** Of the batch that the next call of `next` gives: plain JSON. A source opened `from` it goes on with the same batches. */
  position(): BatchPosition
  /** Ends workers and closes files; what is still waiting is rejected with ERR_ABORTED. May be called twice. */
  close(): void
}

interface Loaded {
  readonly epoch: number
  /** Number within the epoch. */
  readonly batch: number
  /** Index of each sample in the data set. */
  readonly indices: Uint32Array
}

export interface LoadedNumbers extends Loaded, AugmentedBatch {
  readonly kind: 'numbers'
}

export interface LoadedSequences extends Loaded {
  readonly kind: 'sequences'
  /** Row-major [B, T], T the longest of the batch; what is missing is the pad id. */
  readonly ids: Int32Array
  /** 1 where there is a token, 0 where there is padding: [B, T]. */
  readonly mask: Uint8Array
  readonly shape: readonly [number, number]
  readonly lengths: Int32Array
  readonly labels: Int32Array
}

export type LoadedBatch = LoadedNumbers | LoadedSequences

/** One sample on its way into a batch. `x` belongs to the map: it may change it in place. */
export interface Sample {
  readonly index: number
  x: Float32Array | Int32Array
  shape: readonly number[]
  label: number
}

export interface MapContext {
  readonly epoch: number
  /** Numbers in [0, 1) that depend on seed, epoch and sample alone. */
  readonly random: () => number
  /** `options` of the module map. */
  readonly options: unknown
}

/** Changes a sample before it is augmented and put into its batch. Gives nothing back: it changes `sample`. */
export type SampleMap = (sample: Sample, context: MapContext) => void

/** A map that a worker can load: the default export (or `name`) of an ES or CommonJS module. */
export interface ModuleMap {
  /** Absolute path. */
  readonly module: string
  readonly name?: string
  /** Handed to the map; must be cloneable. */
  readonly options?: unknown
}

/** Numbers in memory, as a data set keeps them. */
export interface StoredNumbers {
  readonly kind: 'numbers'
  readonly name: string
  readonly size: number
  readonly features: Float32Array | Uint8Array
  readonly scale: number
  readonly inputShape: readonly number[]
  readonly labels: Int32Array
  /** Sample i is row rows[i] of `features` (labels are by sample); without: row i. */
  readonly rows?: Uint32Array
}

/** Token ids in memory: sample i is ids[offsets[i] .. offsets[i + 1]). */
export interface StoredSequences {
  readonly kind: 'sequences'
  readonly name: string
  readonly size: number
  readonly ids: Int32Array
  readonly offsets: Float64Array
  readonly labels: Int32Array
  readonly pad: number
}

/** Identity of a file: a reader refuses one that changed since it was looked at. */
export interface FileStamp {
  readonly path: string
  readonly bytes: number
  readonly modified: number
}

/** Rows of one size in a file (idx, npy), with labels in another. */
export interface StoredRows {
  readonly kind: 'rows'
  readonly name: string
  readonly size: number
  readonly blockRows: number
  readonly file: FileStamp
  readonly offset: number
  readonly dtype: 'u8' | 'i8' | 'i16' | 'i32' | 'i64' | 'f32' | 'f64'
  readonly bigEndian: boolean
  readonly scale: number
  readonly inputShape: readonly number[]
  readonly labels: Int32Array
}

/** Lines of a file (csv, tsv, jsonl): where each block of lines begins, and how to read one. */
export interface StoredLines {
  readonly kind: 'lines'
  readonly name: string
  readonly size: number
  readonly blockRows: number
  readonly file: FileStamp
  /** Byte offset of each block, and the end. */
  readonly offsets: Float64Array
  readonly format: 'csv' | 'tsv' | 'jsonl'
  readonly quote: boolean
  /** Columns of a table: how many, label, text (or none: all others are numbers). Of jsonl: the names. */
  readonly columns: { readonly count: number; readonly label: number; readonly text: number | undefined }
  readonly keys: { readonly x: string; readonly label: string; readonly text: string | undefined }
  readonly classes: readonly string[] | undefined
  readonly inputShape: readonly number[]
  /** For texts. */
  readonly vocabulary: VocabularyJson | undefined
  readonly pad: number
  readonly maxLength: number
}

export type StoredSamples = StoredNumbers | StoredSequences | StoredRows | StoredLines

export interface LoaderOptions {
  readonly batchSize: number
  /** Of order, augmentation and maps. Default 0. */
  readonly seed?: number
  /**
   * `'shuffled'` (default; a file is shuffled by blocks), `'sequential'`, `'balanced'` (every class equally often; in memory only), or `'bucketed'`
   * (sequences of similar length together; in memory only).
   */
  readonly order?: 'shuffled' | 'sequential' | 'balanced' | 'bucketed'
  readonly dropLast?: boolean
  /** Batches that are sorted by length together, for `'bucketed'`. Default 50. */
  readonly bucketBatches?: number
  /** Blocks of a file that are in memory and shuffled together. Default 16. */
  readonly windowBlocks?: number
  readonly augment?: AugmentInput
  /** A function runs on the calling thread, a module in the workers. */
  readonly map?: SampleMap | ModuleMap
  /** Batches made ahead; default 2 + workers. 0: each is made when it is asked for. */
  readonly prefetch?: number
  /** Threads that make batches, 0 to 16; default 1. The batches do not depend on it. 0: the calling thread. */
  readonly workers?: number
  /** When workers cannot start: `'fallback'` (default: the calling thread makes the batches, see `mode`) or `'error'`. */
  readonly onWorkerFailure?: 'fallback' | 'error'
  /** Go on here. ERR_CHECKPOINT where data or options are others. */
  readonly from?: BatchPosition
  readonly signal?: AbortSignal
}

/** Where batches are made, and why not in workers. */
export interface LoaderMode {
  readonly thread: 'workers' | 'caller'
  readonly workers: number
  readonly why?: string
}
