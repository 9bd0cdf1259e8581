/** Errors on their way from one thread to another: class, code, details, stack and causes arrive as they were. */
import type { ErrorCode } from './codes.gen.js'
import { isTersorError, tersorError } from './errors.js'

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

/** The error as it was thrown; `foreign` makes one of an error that is not of Tersor. */
export function unpackSentError(sent: SentError, foreign: (message: string, cause: Error) => Error): Error {
  return sent.code === undefined ? foreign(sent.message, unpackCause(sent)) : unpackTyped(sent, sent.code)
}

function unpackTyped(sent: SentError, code: string): Error {
  return tersorError(code as ErrorCode, sent.message, {
    ...(sent.details === undefined ? {} : { details: JSON.parse(sent.details) as Record<string, unknown> }),
    ...(sent.cause ? { cause: unpackCause(sent.cause) } : {}),
  })
}

function unpackCause(sent: SentError): Error {
  if (sent.code !== undefined) return unpackTyped(sent, sent.code)
  const error = new Error(sent.message, sent.cause ? { cause: unpackCause(sent.cause) } : undefined)
  if (sent.stack !== undefined) error.stack = sent.stack
  return error
}
