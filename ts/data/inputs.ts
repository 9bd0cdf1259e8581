/**
 * Inputs of a model without labels: what calibration needs of any graph. Each file is a call, or many samples along the first axis of its arrays,
 * which become calls of a few.
 */
import fs from 'node:fs'
import path from 'node:path'
import { dtypeInfo, type RawTensor } from '../base/dtype.js'
import { AbortError, DataError, OptionError, ioError } from '../base/errors.js'
import { sizeOf } from '../base/shape.js'
import type { ReadOptions } from '../formats/limits.js'
import { readNpy } from '../formats/npy.js'
import { readNpz } from '../formats/npz.js'
import { parseSpec, positiveInteger, type SpecForm } from './spec-forms.js'

export interface InputsSpec {
  readonly format: 'inputs'
  /** An .npz or .npy file, or a folder of them. */
  readonly path: string
  /** Samples of a call: arrays are cut along their first axis. Default: what the reader of the spec chooses, without one the arrays as they are. */
  readonly rows?: number
}

/** The only form of inputs without labels. */
export const inputsForm: Readonly<Record<'inputs', SpecForm>> = {
  inputs: { usage: 'inputs:PATH[,rows=N] (.npz, .npy, or a folder of them)', options: { rows: positiveInteger } },
}

export const isInputsSpec = (text: string): boolean => text.startsWith('inputs:')
export const parseInputsSpec = (text: string): InputsSpec => parseSpec('data', inputsForm, text) as unknown as InputsSpec

/** Arrays of one call by name; the name of an .npy file is "". */
export type InputArrays = ReadonlyMap<string, RawTensor>

export interface ModelInputs {
  readonly name: string
  /** Number of calls. */
  readonly size: number
  /** Samples of all calls: as many as calls where arrays are not cut. */
  readonly samples: number
  call(index: number): InputArrays
}

/** Rows `from` to `to` (not included) of a row-major array. */
function rowsOf({ dtype, shape, data }: RawTensor, from: number, to: number): RawTensor {
  const row = sizeOf(shape.slice(1)) * dtypeInfo[dtype].bytes
  return { dtype, shape: [to - from, ...shape.slice(1)], data: data.subarray(from * row, to * row) }
}

/** The length of the first axis, which all arrays of a file share. */
function sharedRows(name: string, arrays: InputArrays): number {
  const lengths = [...arrays].map(([key, { shape }]) => {
    if (shape.length === 0)
      throw new DataError('ERR_DATA', `${name}: ${key || 'the array'} is a single number; rows= cuts along the first axis`)
    return shape[0]!
  })
  if (new Set(lengths).size > 1)
    throw new DataError('ERR_DATA', `${name}: arrays of ${[...new Set(lengths)].join(' and ')} samples do not go together`)
  return lengths[0]!
}

interface Place {
  readonly file: string
  readonly from?: number
  readonly to?: number
}

const isArrayFile = (file: string): boolean => /\.np[yz]$/i.test(file)

function filesOf(at: string): string[] {
  try {
    if (!fs.statSync(at).isDirectory()) return [at]
    return fs
      .readdirSync(at)
      .filter(isArrayFile)
      .sort()
      .map((name) => path.join(at, name))
  } catch (error) {
    throw ioError(`read '${at}'`, at, error)
  }
}

function readArrays(file: string, options: ReadOptions): InputArrays {
  const arrays = /\.npz$/i.test(file) ? readNpz(file, options) : new Map([['', readNpy(file, options)]])
  if (arrays.size === 0) throw new DataError('ERR_DATA', `${file}: there is no array in it`)
  const empty = [...arrays].find(([, { shape }]) => sizeOf(shape) === 0)
  if (empty) throw new DataError('ERR_DATA', `${file}: ${empty[0] || 'the array'} is empty, [${empty[1].shape.join(', ')}]`)
  return arrays
}

/**
 * Inputs of a model, without labels: `inputs:FILE.npz`, `inputs:FILE.npy`, `inputs:DIR`. Arrays have the names, dtypes and shapes of the model's inputs, batch
 * included. Each file is one call; with `rows` its arrays are cut along the first axis. Files are read again when they are asked for; the last one stays in memory.
 *
 * - a file that cannot be read: ERR_IO; no file, no array, an empty one, arrays of different length with `rows`: ERR_DATA; cancelled: ERR_ABORTED
 *
 * @example
 * const calls = loadInputs('inputs:calibration.npz,rows=8')
 */
export function loadInputs(
  given: InputsSpec | string,
  { signal, ...options }: ReadOptions & { readonly signal?: AbortSignal } = {},
): ModelInputs {
  const spec = typeof given === 'string' ? parseInputsSpec(given) : given
  const name = `inputs:${spec.path}`
  const files = filesOf(spec.path)
  if (files.length === 0) throw new DataError('ERR_DATA', `${name}: the folder has no .npz or .npy file`)
  let last: { readonly file: string; readonly arrays: InputArrays } | undefined
  const arraysOf = (file: string): InputArrays => {
    if (last?.file !== file) last = { file, arrays: readArrays(file, options) }
    return last.arrays
  }
  const places: Place[] = []
  let samples = 0
  for (const file of files) {
    if (signal?.aborted) throw new AbortError('ERR_ABORTED', `${name}: cancelled while reading`)
    const n = spec.rows === undefined ? 1 : sharedRows(file, arraysOf(file))
    samples += n
    if (spec.rows === undefined) places.push({ file })
    else for (let from = 0; from < n; from += spec.rows) places.push({ file, from, to: Math.min(n, from + spec.rows) })
  }
  return {
    name,
    size: places.length,
    samples,
    call: (index) => {
      const place = places[index]
      if (!place) throw new OptionError('ERR_OPTION', `${name}: there is no call ${index}, they are 0 to ${places.length - 1}`)
      const { file, from, to } = place
      const arrays = arraysOf(file)
      return from === undefined ? arrays : new Map([...arrays].map(([key, raw]) => [key, rowsOf(raw, from, to!)]))
    },
  }
}
