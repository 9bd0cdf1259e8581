/** From data sets to what readers read: plain data, with memory that threads share instead of copying it for each. */
import { DataError, OptionError } from '../../base/errors.js'
import type { NumberDataset, TextDataset } from '../dataset.js'
import type { Tokenizer } from '../vocabulary.js'
import type { StoredLines, StoredNumbers, StoredRows, StoredSamples, StoredSequences } from './contract.js'

/** Token ids in memory, made by `tokenize`. */
export interface SequenceData {
  readonly input: 'sequences'
  readonly name: string
  readonly size: number
  readonly classes: readonly string[]
  readonly labels: Int32Array
  readonly stored: StoredSequences
}

/** A file that is read in blocks, made by `streamData`. */
export interface StreamData {
  /** Text comes as token ids. */
  readonly input: 'numbers' | 'text'
  readonly name: string
  readonly size: number
  readonly classes: readonly string[] | undefined
  /** Of numbers. */
  readonly inputShape: readonly number[]
  readonly stored: StoredRows | StoredLines
}

export type LoadableData = NumberDataset | SequenceData | StreamData

export interface TokenizeOptions {
  /** Longest sequence, special tokens included; what is longer loses its end. Default 512. */
  readonly maxLength?: number
  /** Id that fills up batches. Default 0. */
  readonly pad?: number
  /** Ids before and after each text: `[CLS]` and `[SEP]` of a BERT. */
  readonly prefix?: readonly number[]
  readonly suffix?: readonly number[]
}

/**
 * The texts of a data set as token ids, for batches with padding and masks. A text without tokens becomes one `pad` (with mask 1: every sequence has a token).
 *
 * - options out of range: ERR_OPTION; ids outside [0, tokenizer.size): ERR_DATA
 *
 * @example
 * import { openLoader, textDataset, tokenize, Vocabulary } from 'tersor/data'
 * const texts = textDataset({ name: 'two', texts: ['a b c', 'a'], labels: Int32Array.of(0, 1), classes: ['long', 'short'] })
 * const words = tokenize(texts, Vocabulary.build(texts.texts, { specials: ['<pad>'] }))
 * const { ids, mask } = await openLoader(words, { batchSize: 2, order: 'sequential' }).next()    // [2, 3], ones and zeros
 */
export function tokenize(data: TextDataset, tokenizer: Tokenizer, options: TokenizeOptions = {}): SequenceData {
  const { maxLength = 512, pad = 0, prefix = [], suffix = [] } = options
  const { size } = tokenizer
  if (!Number.isSafeInteger(maxLength) || maxLength <= prefix.length + suffix.length)
    throw new OptionError('ERR_OPTION', `tokenize: maxLength must be an integer above ${prefix.length + suffix.length}, got ${maxLength}`)
  for (const id of [pad, ...prefix, ...suffix])
    if (!Number.isInteger(id) || id < 0) throw new OptionError('ERR_OPTION', `tokenize: special ids must be integers >= 0, got ${id}`)
  const room = maxLength - prefix.length - suffix.length
  const pieces: Int32Array[] = []
  const offsets = new Float64Array(data.size + 1)
  data.texts.forEach((text, i) => {
    const ids = Array.from(tokenizer.encode(text)).slice(0, room)
    const bad = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= size)
    if (bad !== undefined)
      throw new DataError('ERR_DATA', `${data.name}: the tokenizer gave id ${bad} for sample ${i}, ids must be integers in [0, ${size})`, {
        details: { row: i },
      })
    const all = Int32Array.from([...prefix, ...ids, ...suffix])
    pieces.push(all.length > 0 ? all : Int32Array.of(pad))
    offsets[i + 1] = offsets[i]! + pieces[i]!.length
  })
  const ids = new Int32Array(offsets[data.size]!)
  pieces.forEach((piece, i) => ids.set(piece, offsets[i]))
  const { name, labels, classes } = data
  return {
    input: 'sequences',
    name,
    size: data.size,
    classes,
    labels,
    stored: { kind: 'sequences', name, size: data.size, ids, offsets, labels, pad },
  }
}

type Shareable = Float32Array | Uint8Array | Int32Array | Uint32Array | Float64Array

/** By data set: copied once, however many loaders there are; data sets do not change. Not by buffer: those are pooled and filled anew. */
const shared = new WeakMap<LoadableData, StoredSamples>()

/** The same numbers in memory that other threads see. */
function share<T extends Shareable>(array: T): T {
  if (array.buffer instanceof SharedArrayBuffer) return array
  // A Buffer is a Uint8Array that cannot be made so.
  const View = (array instanceof Uint8Array ? Uint8Array : array.constructor) as new (buffer: SharedArrayBuffer) => T
  const copy = new View(new SharedArrayBuffer(array.byteLength))
  copy.set(array)
  return copy
}

/** What the data set keeps; one that only gives batches is asked for all of them. */
function numbersOf(data: NumberDataset): StoredNumbers {
  const { name, size, inputShape, labels } = data
  if (data.stored) return { kind: 'numbers', name, size, inputShape, labels, ...data.stored }
  const { x } = data.batch(Uint32Array.from({ length: size }, (_, i) => i))
  return { kind: 'numbers', name, size, features: x, scale: 1, inputShape, labels }
}

/** `threads`: the description goes to workers. */
export function storedOf(data: LoadableData, threads: boolean): StoredSamples {
  const made = threads ? shared.get(data) : undefined
  if (made) return made
  const stored = 'input' in data && data.input === 'numbers' && 'batch' in data ? numbersOf(data) : data.stored
  if (!threads) return stored
  const copy = sharedCopy(stored)
  shared.set(data, copy)
  return copy
}

function sharedCopy(stored: StoredSamples): StoredSamples {
  if (stored.kind === 'numbers')
    return {
      ...stored,
      features: share(stored.features),
      labels: share(stored.labels),
      ...(stored.rows ? { rows: share(stored.rows) } : {}),
    }
  if (stored.kind === 'sequences')
    return { ...stored, ids: share(stored.ids), offsets: share(stored.offsets), labels: share(stored.labels) }
  return stored.kind === 'rows' ? { ...stored, labels: share(stored.labels) } : { ...stored, offsets: share(stored.offsets) }
}
