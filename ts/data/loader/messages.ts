/** What the calling thread and a worker say to each other. */
import { DataError } from '../../base/errors.js'
import { unpackSentError, type SentError } from '../../base/sent-error.js'
import type { LoadedBatch } from './contract.js'
import type { Job } from './work.js'

export interface Request extends Job {
  readonly id: number
}

export type Reply =
  | { readonly kind: 'ready' }
  /** The worker runs, but cannot do its work: a map that cannot be loaded, a file that cannot be read. */
  | { readonly kind: 'refused'; readonly error: SentError }
  | { readonly kind: 'batch'; readonly id: number; readonly batch: LoadedBatch }
  | { readonly kind: 'failed'; readonly id: number; readonly error: SentError }

/** The error as it was thrown in the worker; one that is not of Tersor becomes ERR_DATA with it as the cause. */
export function unpackError(sent: SentError): Error {
  return unpackSentError(sent, (message, cause) => new DataError('ERR_DATA', `loader: ${message}`, { cause }))
}
