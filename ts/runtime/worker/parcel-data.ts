/**
 * Tasks and data on their way to another thread. Plain data is cloned, arrays of numbers are copied once into memory that both threads see, data sets and
 * what is `portable` are made again there. Functions cannot cross: what holds one is ERR_OPTION with its place.
 */
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { OptionError } from '../../base/errors.js'
import type { Portable } from '../../base/portable.js'
import { classification, language, maskedText, regression, regressionData, sequencePairs, tokens } from '../../compress/index.js'
import { numberDataset, subset, textDataset, type Dataset } from '../../data/index.js'
import { importModule } from './worker-file.cjs'

/** What has no place in plain data, under a name of its own. */
type Parcel = { readonly $make: string; readonly args: readonly unknown[] }

/** Smaller arrays are cloned: memory of its own takes a page. */
const SMALL = 1 << 16
const PIECE = 1 << 22

type NumberArray = Float32Array | Float64Array | Int32Array | Uint32Array | Uint8Array | Int8Array | Uint16Array | Int16Array

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Packs values; `fill` copies the numbers, in pieces, so that a large data set does not hold up the event loop. */
export class Packer {
  readonly #copies: { readonly from: NumberArray; readonly to: NumberArray }[] = []

  #share<A extends NumberArray>(array: A): A {
    if (array.buffer instanceof SharedArrayBuffer || array.byteLength < SMALL) return array
    const View = (array instanceof Uint8Array ? Uint8Array : array.constructor) as new (buffer: SharedArrayBuffer) => A
    const to = new View(new SharedArrayBuffer(array.byteLength))
    this.#copies.push({ from: array, to })
    return to
  }

  #dataset(data: Dataset): Parcel {
    const { name, classes, labels } = data
    if (data.input === 'text') {
      const { texts, groups } = data
      return { $make: 'textDataset', args: [{ name, classes, labels, texts, ...(groups ? { groups } : {}) }] }
    }
    const { inputShape, stored } = data
    if (!stored)
      throw new OptionError(
        'ERR_OPTION',
        `worker: ${name} gives its samples by a function, which cannot go to another thread: use numberDataset`,
      )
    const { features, scale, rows } = stored
    const numbers = { labels: this.#share(labels), features: this.#share(features), ...(rows ? { rows: this.#share(rows) } : {}) }
    return { $make: 'storedNumbers', args: [{ name, classes, inputShape, scale, ...numbers }] }
  }

  /** A value as something that structured clone takes. `where` names it in errors. */
  pack(value: unknown, where: string): unknown {
    if (typeof value === 'function' || typeof value === 'symbol')
      throw new OptionError(
        'ERR_OPTION',
        `worker: ${where} is a ${typeof value}, which cannot go to another thread; a module can (portable)`,
      )
    if (typeof value !== 'object' || value === null) return value
    if (ArrayBuffer.isView(value))
      return value instanceof DataView || value instanceof BigInt64Array ? value : this.#share(value as NumberArray)
    const list = (items: readonly unknown[], of: string): unknown[] => items.map((item, i) => this.pack(item, `${of}[${i}]`))
    if (Array.isArray(value)) return list(value, where)
    const { portable } = value as { readonly portable?: Portable }
    if (portable) return { $make: portable.make, args: list(portable.args, portable.make) } satisfies Parcel
    if (isDataset(value)) return this.#dataset(value)
    const prototype: unknown = Object.getPrototypeOf(value)
    if (prototype !== Object.prototype && prototype !== null)
      throw new OptionError(
        'ERR_OPTION',
        `worker: ${where} is no plain data and cannot go to another thread; a module can make it there (portable)`,
      )
    return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, this.pack(part, `${where}.${name}`)]))
  }

  async fill(): Promise<void> {
    for (const { from, to } of this.#copies.splice(0)) {
      const step = Math.floor(PIECE / from.BYTES_PER_ELEMENT)
      for (let i = 0; i < from.length; i += step) {
        to.set(from.subarray(i, i + step), i)
        await turn()
      }
    }
  }
}

const isDataset = (value: object): value is Dataset =>
  (value as { kind?: unknown }).kind === 'classification' && 'input' in value && 'labels' in value

interface StoredNumbers {
  readonly name: string
  readonly classes: readonly string[]
  readonly inputShape: readonly number[]
  readonly scale: number
  readonly labels: Int32Array
  readonly features: Float32Array | Uint8Array
  readonly rows?: Uint32Array
}

/** A data set with these samples: the labels of rows that are not chosen are not known, and not asked for. */
function storedNumbers({ rows, labels, features, ...facts }: StoredNumbers): Dataset {
  if (!rows) return numberDataset({ ...facts, features, labels })
  const row = facts.inputShape.reduce((a, b) => a * b, 1)
  const all = new Int32Array(row > 0 ? features.length / row : rows.reduce((a, b) => Math.max(a, b + 1), 0))
  rows.forEach((at, i) => {
    all[at] = labels[i]!
  })
  return subset(numberDataset({ ...facts, features, labels: all }), rows)
}

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- makers of different things, called with what was packed for them
const makers: Readonly<Record<string, (...args: any[]) => unknown>> = {
  classification,
  language,
  maskedText,
  regression,
  regressionData,
  sequencePairs,
  storedNumbers,
  textDataset,
  tokens,
}

/** The inverse of `pack`, in the worker. */
export async function unpack(value: unknown): Promise<unknown> {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || value instanceof Map) return value
  if (Array.isArray(value)) return value.some((v) => typeof v === 'object') ? Promise.all(value.map(unpack)) : value
  if ('$make' in value) {
    const { $make: make, args } = value as Parcel
    return (await makerOf(make))(...((await unpack(args)) as unknown[]))
  }
  return Object.fromEntries(await Promise.all(Object.entries(value).map(async ([name, part]) => [name, await unpack(part)] as const)))
}

async function makerOf(make: string): Promise<(...args: unknown[]) => unknown> {
  if (Object.hasOwn(makers, make)) return makers[make]!
  const { default: maker } = await importFrom(make)
  if (typeof maker !== 'function') throw new OptionError('ERR_OPTION', `worker: ${make} must have a function as its default export`)
  return maker as (...args: unknown[]) => unknown
}

/** A module by absolute path or file URL. ERR_OPTION with the cause when it cannot be loaded. */
export async function importFrom(module: string): Promise<Record<string, unknown>> {
  const isUrl = module.startsWith('file:')
  if (!isUrl && !path.isAbsolute(module))
    throw new OptionError('ERR_OPTION', `worker: a module must be an absolute path or a file URL, got ${JSON.stringify(module)}`)
  try {
    return await importModule(isUrl ? module : pathToFileURL(module).href)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new OptionError('ERR_OPTION', `worker: ${JSON.stringify(module)} cannot be loaded: ${why}`, { cause, details: { module } })
  }
}
