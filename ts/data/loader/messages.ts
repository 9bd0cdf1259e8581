/** What the calling thread and a worker say to each other, and errors on their way between them. */
import { isTersorError, tersorError, DataError } from '../../base/errors.js'
import type { ErrorCode } from '../../base/codes.gen.js'
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

export interface SentError {
  readonly code: string | undefined
  readonly message: string
  readonly stack: string | undefined
  /** JSON: what cannot be cloned must not hide the error. */
  readonly details: string | undefined
  readonly cause: SentError | undefined
}

export function packError(error: unknown, depth = 0): SentError {
  const e = error instanceof Error ? error : new Error(String(error))
  let details: string | undefined
  try {
    details = isTersorError(e) ? JSON.stringify(e.details) : undefined
  } catch {
    details = undefined
  }
  const cause = e.cause !== undefined && depth < 4 ? packError(e.cause, depth + 1) : undefined
  return { code: isTersorError(e) ? e.code : undefined, message: e.message, stack: e.stack, details, cause }
}

/** The error as it was thrown in the worker; one that is not of Tersor becomes ERR_DATA with it as the cause. */
export function unpackError(sent: SentError): Error {
  const cause = sent.cause && unpackCause(sent.cause)
  if (sent.code === undefined) return new DataError('ERR_DATA', `loader: ${sent.message}`, { cause: unpackCause(sent) })
  return tersorError(sent.code as ErrorCode, sent.message, {
    ...(sent.details === undefined ? {} : { details: JSON.parse(sent.details) as Record<string, unknown> }),
    ...(cause ? { cause } : {}),
  })
}

function unpackCause(sent: SentError): Error {
  if (sent.code !== undefined) return unpackError(sent)
  const error = new Error(sent.message)
  if (sent.stack !== undefined) error.stack = sent.stack
  return error
}
