// Generated from native/base/status.def by tools/gen.ts. Do not edit.
export type ErrorCode =
  | 'ERR_MODEL_FORMAT'
  | 'ERR_LIMIT'
  | 'ERR_UNSUPPORTED'
  | 'ERR_PATH'
  | 'ERR_SHAPE'
  | 'ERR_DTYPE'
  | 'ERR_OPTION'
  | 'ERR_RECIPE'
  | 'ERR_DATA'
  | 'ERR_NUMERIC'
  | 'ERR_MEMORY_BUDGET'
  | 'ERR_IO'
  | 'ERR_CHECKPOINT'
  | 'ERR_DISPOSED'
  | 'ERR_BUFFER_DETACHED'
  | 'ERR_BUFFER_RESIZABLE'
  | 'ERR_BUSY'
  | 'ERR_ABORTED'
  | 'ERR_ISA'
  | 'ERR_DEVICE'
  | 'ERR_NATIVE'
  | 'ERR_INTERNAL'

/** In the order of the native enumeration; index 0 is "ok". */
export const errorCodes: readonly ErrorCode[] = [
  'ERR_MODEL_FORMAT',
  'ERR_LIMIT',
  'ERR_UNSUPPORTED',
  'ERR_PATH',
  'ERR_SHAPE',
  'ERR_DTYPE',
  'ERR_OPTION',
  'ERR_RECIPE',
  'ERR_DATA',
  'ERR_NUMERIC',
  'ERR_MEMORY_BUDGET',
  'ERR_IO',
  'ERR_CHECKPOINT',
  'ERR_DISPOSED',
  'ERR_BUFFER_DETACHED',
  'ERR_BUFFER_RESIZABLE',
  'ERR_BUSY',
  'ERR_ABORTED',
  'ERR_ISA',
  'ERR_DEVICE',
  'ERR_NATIVE',
  'ERR_INTERNAL',
]

export const errorClassByCode: Readonly<Record<ErrorCode, string>> = {
  ERR_MODEL_FORMAT: 'ModelFormatError', // a file is not what its format demands
  ERR_LIMIT: 'LimitError', // a size is beyond a configured limit
  ERR_UNSUPPORTED: 'UnsupportedError', // valid
  ERR_PATH: 'PathSecurityError', // a path leaves the directory it may not leave
  ERR_SHAPE: 'ShapeError', // a shape
  ERR_DTYPE: 'DTypeError', // an element type does not fit
  ERR_OPTION: 'OptionError', // an option is out of its range
  ERR_RECIPE: 'RecipeError', // a recipe has an unknown or invalid key
  ERR_DATA: 'DataError', // a data set is missing
  ERR_NUMERIC: 'NumericError', // NaN or infinity where numbers must be finite
  ERR_MEMORY_BUDGET: 'MemoryBudgetError', // an allocation would exceed the memory budget
  ERR_IO: 'IoError', // the operating system refused a file operation
  ERR_CHECKPOINT: 'CheckpointError', // a checkpoint is damaged or belongs to another run
  ERR_DISPOSED: 'DisposedError', // a tensor was used after dispose
  ERR_BUFFER_DETACHED: 'BufferError', // an ArrayBuffer was transferred away
  ERR_BUFFER_RESIZABLE: 'BufferError', // a resizable ArrayBuffer where a fixed one is needed
  ERR_BUSY: 'BusyError', // the object is in use by another operation
  ERR_ABORTED: 'AbortError', // the caller cancelled
  ERR_ISA: 'IsaError', // an instruction set was asked for that is unknown or absent
  ERR_DEVICE: 'DeviceError', // a device is absent or failed
  ERR_NATIVE: 'NativeError', // the native addon could not be loaded or does not match
  ERR_INTERNAL: 'InternalError', // a contained bug of Tersor: please report it
}
