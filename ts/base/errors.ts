/**
 * Every error that Tersor throws is a `TersorError` with a stable `code` (native/base/status.def is the list).
 * Message = where, rule, value, context: `softmax: axis must be in [-2, 2), got 5 (x: f32[3,4])`.
 */
import { errorClassByCode, type ErrorCode } from './codes.gen.js'

export type ErrorDetails = Readonly<Record<string, unknown>>
export interface ErrorOptions {
  readonly details?: ErrorDetails
  readonly cause?: unknown
}

/** Base class. Test `error.code`, not the class, where two copies of the package may meet. */
export class TersorError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails
  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.code = code
    this.details = options.details ?? {}
    this.name = new.target.name
  }
}

export class ModelFormatError extends TersorError {}
export class LimitError extends TersorError {}
export class UnsupportedError extends TersorError {}
export class PathSecurityError extends TersorError {}
export class ShapeError extends TersorError {}
export class DTypeError extends TersorError {}
export class OptionError extends TersorError {}
export class RecipeError extends TersorError {}
export class DataError extends TersorError {}
export class NumericError extends TersorError {}
export class MemoryBudgetError extends TersorError {}
export class IoError extends TersorError {}
export class CheckpointError extends TersorError {}
export class DisposedError extends TersorError {}
export class BufferError extends TersorError {}
export class BusyError extends TersorError {}
export class AbortError extends TersorError {}
export class IsaError extends TersorError {}
export class DeviceError extends TersorError {}
export class NativeError extends TersorError {}
export class InternalError extends TersorError {}

const classes: Readonly<Record<string, typeof TersorError>> = {
  ModelFormatError,
  LimitError,
  UnsupportedError,
  PathSecurityError,
  ShapeError,
  DTypeError,
  OptionError,
  RecipeError,
  DataError,
  NumericError,
  MemoryBudgetError,
  IoError,
  CheckpointError,
  DisposedError,
  BufferError,
  BusyError,
  AbortError,
  IsaError,
  DeviceError,
  NativeError,
  InternalError,
}

/** Makes the error of the class that belongs to `code`. */
export function tersorError(code: ErrorCode, message: string, options: ErrorOptions = {}): TersorError {
  const Class = classes[errorClassByCode[code]] ?? TersorError
  return new Class(code, message, options)
}

/** True for errors of this or another copy of the package. */
export function isTersorError(error: unknown): error is TersorError {
  return error instanceof Error && Object.hasOwn(errorClassByCode, String((error as { code?: unknown }).code))
}

/** Wraps a file system error as `ERR_IO`; `committed: false` promises that the destination is as it was. */
export function ioError(where: string, path: string, cause: unknown): IoError {
  const e = cause as NodeJS.ErrnoException
  return new IoError('ERR_IO', `${where}: ${e.code ?? 'error'}: ${e.message ?? String(cause)}`, {
    cause,
    details: { errno: e.code, path, committed: false },
  })
}
