/** Data sets from files of tensors: a folder of idx files (MNIST and sets of its form) and .npz. */
import fs from 'node:fs'
import path from 'node:path'
import { dtypeInfo, type RawTensor } from '../base/dtype.js'
import { DataError, DTypeError, ioError } from '../base/errors.js'
import { sizeOf } from '../base/shape.js'
import { readIdx } from '../formats/idx.js'
import type { ReadOptions } from '../formats/limits.js'
import { readNpz } from '../formats/npz.js'
import { integerClasses, numberDataset, type NumberDataset } from './dataset.js'
import type { IdxSpec, NpzSpec } from './spec.js'

export interface LoadOptions extends ReadOptions {
  /** The classes of a model: labels are numbered as there, an unknown one is an error. */
  readonly classes?: readonly string[]
  /** The columns that a model takes, in its order: those of a table with a header are found by these names, another set of columns is an error. */
  readonly inputNames?: readonly string[]
  readonly signal?: AbortSignal
}

/** The numbers of a tensor, without conversion where its kind allows. */
function numbersOf(
  name: string,
  tensor: RawTensor,
): Float32Array | Float64Array | BigInt64Array | Int32Array | Int16Array | Uint16Array | Int8Array | Uint8Array {
  if (tensor.dtype === 'f16' || tensor.dtype === 'bf16')
    throw new DTypeError('ERR_DTYPE', `${name}: ${tensor.dtype} is not supported as data, store f32`)
  const { array: View, bytes } = dtypeInfo[tensor.dtype]
  const data = tensor.data.byteOffset % bytes === 0 ? tensor.data : tensor.data.slice()
  return new View(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength / bytes)
}

/** Finite numbers of a tensor; bytes stay bytes. */
export function toFeatures(name: string, tensor: RawTensor): Float32Array | Uint8Array {
  const numbers = numbersOf(name, tensor)
  if (numbers instanceof Uint8Array) return numbers
  const features = numbers instanceof Float32Array ? numbers : Float32Array.from(numbers as ArrayLike<number>, Number)
  const bad = features.findIndex((v) => !Number.isFinite(v))
  if (bad >= 0) {
    const row = Math.floor(bad / Math.max(1, sizeOf(tensor.shape.slice(1))))
    const column = bad - row * sizeOf(tensor.shape.slice(1))
    throw new DataError('ERR_DATA', `${name}: features must be finite, row ${row}, column ${column} is ${String(numbers[bad])}`, {
      details: { row, column },
    })
  }
  return features
}

/** Class indices from a tensor [n] or [n, 1] of integers >= 0. */
export function toLabels(name: string, tensor: RawTensor): Int32Array {
  if (tensor.shape.length !== 1 && !(tensor.shape.length === 2 && tensor.shape[1] === 1))
    throw new DataError('ERR_DATA', `${name}: labels must have the shape [n] or [n, 1], got [${tensor.shape.join(', ')}]`)
  return Int32Array.from(numbersOf(name, tensor) as ArrayLike<number>, (value, row) => {
    const label = Number(value)
    if (!Number.isInteger(label) || label < 0 || label > 0x7fffffff)
      throw new DataError('ERR_DATA', `${name}: labels must be integers >= 0, row ${row} is ${String(value)}`, { details: { row } })
    return label
  })
}

interface Arrays {
  readonly name: string
  readonly x: RawTensor
  readonly y: RawTensor
  readonly inputShape: readonly number[]
  readonly scale: number
}

function fromArrays({ name, x, y, inputShape, scale }: Arrays, options: LoadOptions): NumberDataset {
  if (x.shape.length < 2) throw new DataError('ERR_DATA', `${name}: features must have at least 2 dimensions, got [${x.shape.join(', ')}]`)
  const labels = toLabels(`${name}: labels`, y)
  if (x.shape[0] !== labels.length) throw new DataError('ERR_DATA', `${name}: ${x.shape[0]} rows of features but ${labels.length} labels`)
  if (labels.length === 0) throw new DataError('ERR_DATA', `${name}: there are no samples`)
  const classes = integerClasses(name, labels, options.classes)
  return numberDataset({ name, features: toFeatures(`${name}: features`, x), scale, inputShape, labels, classes })
}

const prefixes = { train: ['train'], test: ['t10k', 'test'] } as const

/** The file of a split among the usual names: `train-images-idx3-ubyte`, `t10k-labels.idx1-ubyte.gz`, ... */
export function findIdx(dir: string, split: 'train' | 'test', what: 'images' | 'labels'): string {
  let names: string[]
  try {
    names = fs.readdirSync(dir)
  } catch (error) {
    throw ioError(`read '${dir}'`, dir, error)
  }
  const pattern = new RegExp(`^(${prefixes[split].join('|')})-${what}[-.]idx[0-9]-ubyte(\\.gz)?$`)
  const [found] = names.filter((name) => pattern.test(name)).sort() // the plain file before the compressed one
  if (found !== undefined) return path.join(dir, found)
  const wanted = `${prefixes[split][0]}-${what}-idx${what === 'images' ? 3 : 1}-ubyte[.gz]`
  throw new DataError(
    'ERR_DATA',
    `idx: no ${split} ${what} in '${dir}': a file ${wanted} is needed, found ${names.slice(0, 20).join(', ') || 'nothing'}`,
    {
      details: { path: dir, wanted },
    },
  )
}

/** Bytes are scaled to [0, 1]; images without channels get one: [1, H, W]. */
export function loadIdx(spec: IdxSpec, options: LoadOptions = {}): NumberDataset {
  const split = spec.split ?? 'train'
  const x = readIdx(findIdx(spec.path, split, 'images'), options)
  const y = readIdx(findIdx(spec.path, split, 'labels'), options)
  const sample = x.shape.slice(1)
  const inputShape = sample.length === 2 ? [1, ...sample] : sample
  return fromArrays({ name: `idx:${spec.path},split=${split}`, x, y, inputShape, scale: x.dtype === 'u8' ? 1 / 255 : 1 }, options)
}

export const usualX = ['x', 'X', 'x_train', 'data', 'features', 'images']
export const usualY = ['y', 'Y', 'y_train', 'labels', 'label', 'target', 'targets']

/** The tensor that was asked for, or the first of the usual names. */
export function pick(
  name: string,
  tensors: Map<string, RawTensor>,
  what: string,
  asked: string | undefined,
  usual: readonly string[],
): RawTensor {
  const key = asked ?? usual.find((k) => tensors.has(k))
  const tensor = key === undefined ? undefined : tensors.get(key)
  if (tensor) return tensor
  const there = [...tensors.keys()].slice(0, 20).join(', ')
  throw new DataError(
    'ERR_DATA',
    `${name}: no ${what} ${asked === undefined ? `(${usual.join(', ')})` : JSON.stringify(asked)}; the file has ${there || 'nothing'}`,
  )
}

export function loadNpz(spec: NpzSpec, options: LoadOptions = {}): NumberDataset {
  const name = `npz:${spec.path}`
  const tensors = readNpz(spec.path, options)
  const x = pick(name, tensors, 'features', spec.x, usualX)
  const y = pick(name, tensors, 'labels', spec.y, usualY)
  return fromArrays({ name, x, y, inputShape: x.shape.slice(1), scale: 1 / (spec.divide ?? 1) }, options)
}
