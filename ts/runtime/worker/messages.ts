/** What the calling thread and the thread of a long job say to each other. */
import type { SentError } from '../../base/sent-error.js'
import type { CompressEvent, TrainState } from '../../compress/index.js'
import type { ModelParcel } from './parcel-model.js'

/** `workerData` of the worker. */
export interface JobSetup {
  /** Of the WorkerJob. */
  readonly job: number
  /** Imported first: they define passes, module kinds or weight kinds. */
  readonly modules: readonly string[]
  readonly work: Work
}

export type Work =
  | { readonly kind: 'train'; readonly model: ModelParcel; readonly task: unknown; readonly options: unknown; readonly snapshots: boolean }
  | {
      readonly kind: 'compress'
      readonly model: ModelParcel
      readonly recipe: unknown
      readonly options: unknown
      readonly states: ReadonlyMap<number, TrainState> | undefined
    }

export type JobReply =
  | { readonly kind: 'event'; readonly event: CompressEvent }
  | { readonly kind: 'snapshot'; readonly epoch: number; readonly state: TrainState }
  | { readonly kind: 'done'; readonly result: unknown }
  | { readonly kind: 'failed'; readonly error: SentError }

/** Of a training: models apart, the rest as it is. */
export interface SentTraining {
  readonly model: ModelParcel
  readonly average?: ModelParcel
  readonly best?: { readonly model: ModelParcel; readonly epoch: number; readonly value: number }
  readonly skipped: number
  readonly stopped: boolean
  readonly state: TrainState
  readonly states: ReadonlyMap<number, TrainState>
}

export interface SentCompression {
  readonly model: ModelParcel
  readonly report: unknown
}

/** Buffers in a message that nobody else looks at any more: handed over, not copied. */
export function buffersOf(value: unknown, found = new Set<ArrayBuffer>()): ArrayBuffer[] {
  if (ArrayBuffer.isView(value)) {
    if (value.buffer instanceof ArrayBuffer && value.byteLength === value.buffer.byteLength) found.add(value.buffer)
  } else if (value instanceof Map) for (const part of value.values()) buffersOf(part, found)
  else if (typeof value === 'object' && value !== null) for (const part of Object.values(value)) buffersOf(part, found)
  return [...found]
}
