/**
 * Data sets for classification. A data set knows its size, its classes and its labels and gives batches by index; order, splits and
 * batches are lists of indices (sampling.ts, batches.ts), so that nothing is copied until a batch is asked for.
 */
import { DataError, OptionError } from '../base/errors.js'
import { sizeOf } from '../base/shape.js'

interface DatasetBase {
  readonly kind: 'classification'
  /** Where it came from, for reports. */
  readonly name: string
  readonly size: number
  readonly classes: readonly string[]
  /** Index into `classes` of each sample. */
  readonly labels: Int32Array
}

export interface NumberBatch {
  /** Row-major, shape `[B, ...inputShape]`. */
  readonly x: Float32Array
  readonly shape: readonly number[]
  readonly labels: Int32Array
}

export interface NumberDataset extends DatasetBase {
  readonly input: 'numbers'
  readonly inputShape: readonly number[]
  /** What the numbers of a sample are called, where they are columns with names. */
  readonly inputNames?: readonly string[]
  /** Where the numbers are, for loaders in other threads; a data set without it is asked for batches. Must agree with `batch`. */
  readonly stored?: StoredFeatures
  batch(indices: ArrayLike<number>): NumberBatch
}

/** Sample i is row `rows[i]` (or i) of `features`, times `scale`. */
export interface StoredFeatures {
  readonly features: Float32Array | Uint8Array
  readonly scale: number
  readonly rows?: Uint32Array
}

export interface TextBatch {
  readonly texts: string[]
  readonly labels: Int32Array
}

export interface TextDataset extends DatasetBase {
  readonly input: 'text'
  readonly texts: readonly string[]
  /** The part of the collection each sample belongs to, where the collection has parts. */
  readonly groups?: readonly string[]
  batch(indices: ArrayLike<number>): TextBatch
}

export type Dataset = NumberDataset | TextDataset

function checkLabels(name: string, labels: Int32Array, classes: readonly string[]): void {
  const bad = labels.findIndex((label) => label < 0 || label >= classes.length)
  if (bad >= 0)
    throw new DataError('ERR_DATA', `${name}: labels must be in [0, ${classes.length}), row ${bad} has ${labels[bad]}`, {
      details: { row: bad },
    })
}

/** @internal ERR_OPTION for an index outside [0, size). */
export function checkIndex(name: string, size: number, index: number): void {
  if (!(index >= 0 && index < size)) throw new OptionError('ERR_OPTION', `${name}: index must be in [0, ${size}), got ${index}`)
}

function gatherLabels(name: string, labels: Int32Array, indices: ArrayLike<number>): Int32Array {
  const out = new Int32Array(indices.length)
  for (let i = 0; i < out.length; i++) {
    checkIndex(name, labels.length, indices[i]!)
    out[i] = labels[indices[i]!]!
  }
  return out
}

export interface NumberParts {
  readonly name: string
  /** Row-major `[size, ...inputShape]`. */
  readonly features: Float32Array | Uint8Array
  /** Features are multiplied by this when a batch is made; default 1. Keeps images at one byte a pixel. */
  readonly scale?: number
  readonly inputShape: readonly number[]
  readonly inputNames?: readonly string[] | undefined
  readonly labels: Int32Array
  readonly classes: readonly string[]
}

export function numberDataset({ name, features, scale = 1, inputShape, inputNames, labels, classes }: NumberParts): NumberDataset {
  const row = sizeOf(inputShape)
  if (features.length !== labels.length * row)
    throw new DataError(
      'ERR_DATA',
      `${name}: ${labels.length} labels of [${inputShape.join(', ')}] need ${labels.length * row} numbers, got ${features.length}`,
    )
  checkLabels(name, labels, classes)
  return {
    kind: 'classification',
    input: 'numbers',
    name,
    size: labels.length,
    inputShape,
    ...(inputNames ? { inputNames } : {}),
    classes,
    labels,
    stored: { features, scale },
    batch(indices) {
      const gathered = gatherLabels(name, labels, indices)
      const x = new Float32Array(indices.length * row)
      for (let i = 0; i < indices.length; i++) x.set(features.subarray(indices[i]! * row, (indices[i]! + 1) * row), i * row)
      if (scale !== 1) for (let i = 0; i < x.length; i++) x[i] = x[i]! * scale
      return { x, shape: [indices.length, ...inputShape], labels: gathered }
    },
  }
}

export interface TextParts {
  readonly name: string
  readonly texts: readonly string[]
  readonly labels: Int32Array
  readonly classes: readonly string[]
  readonly groups?: readonly string[]
}

export function textDataset({ name, texts, labels, classes, groups }: TextParts): TextDataset {
  if (texts.length !== labels.length || (groups && groups.length !== texts.length))
    throw new DataError(
      'ERR_DATA',
      `${name}: ${texts.length} texts need as many labels and groups, got ${labels.length} and ${groups?.length ?? 0}`,
    )
  checkLabels(name, labels, classes)
  return {
    kind: 'classification',
    input: 'text',
    name,
    size: texts.length,
    classes,
    labels,
    texts,
    ...(groups ? { groups } : {}),
    batch(indices) {
      const gathered = gatherLabels(name, labels, indices)
      return { texts: Array.from(indices, (i) => texts[i]!), labels: gathered }
    },
  }
}

/** The samples of `indices`, in that order. Numbers are not copied. */
export function subset<D extends Dataset>(dataset: D, indices: ArrayLike<number>): D
export function subset(dataset: Dataset, indices: ArrayLike<number>): Dataset {
  const labels = gatherLabels(dataset.name, dataset.labels, indices)
  if (dataset.input === 'text') {
    const { name, classes, texts, groups } = dataset
    return textDataset({
      name,
      classes,
      labels,
      texts: Array.from(indices, (i) => texts[i]!),
      ...(groups ? { groups: Array.from(indices, (i) => groups[i]!) } : {}),
    })
  }
  const at = Uint32Array.from(indices)
  const batch = (within: ArrayLike<number>): NumberBatch =>
    dataset.batch(
      Uint32Array.from(within, (i) => {
        checkIndex(dataset.name, at.length, i)
        return at[i]!
      }),
    )
  const { stored } = dataset
  const rows = stored?.rows
  const kept = stored ? { stored: { ...stored, rows: rows ? at.map((i) => rows[i]!) : at } } : {}
  return { ...dataset, size: at.length, labels, batch, ...kept }
}

/** Samples per class. */
export function countClasses(dataset: Dataset): number[] {
  const counts = new Array<number>(dataset.classes.length).fill(0)
  for (const label of dataset.labels) counts[label]!++
  return counts
}

/**
 * Labels as text to class indices. Without `classes` they are the distinct labels, in numeric order when all are numbers and in code
 * unit order otherwise: stable for the same set of labels. With `classes` (those of the model) an unknown label is an error.
 */
export function encodeLabels(
  name: string,
  values: readonly string[],
  classes?: readonly string[],
): { labels: Int32Array; classes: readonly string[] } {
  let known = classes
  if (!known) {
    const distinct = [...new Set(values)]
    const numeric = distinct.every((v) => v.trim() !== '' && Number.isFinite(Number(v)))
    known = numeric ? distinct.sort((a, b) => Number(a) - Number(b) || (a < b ? -1 : 1)) : distinct.sort()
  }
  const index = new Map(known.map((c, i) => [c, i]))
  const labels = new Int32Array(values.length)
  values.forEach((value, row) => {
    const label = index.get(value)
    if (label === undefined) {
      const shown = known.slice(0, 20).join(', ') + (known.length > 20 ? ', ...' : '')
      throw new DataError(
        'ERR_DATA',
        `${name}: label ${JSON.stringify(value.slice(0, 100))} of sample ${row} is not one of the classes: ${shown}`,
        {
          details: { row, value },
        },
      )
    }
    labels[row] = label
  })
  return { labels, classes: known }
}

/** Integer labels 0 .. K - 1 with classes named after them; K is the largest label + 1, or that of `classes`. */
export function integerClasses(name: string, labels: Int32Array, classes?: readonly string[]): readonly string[] {
  if (classes) return classes
  const most = labels.reduce((a, b) => Math.max(a, b), -1)
  if (most >= 65_536)
    throw new DataError('ERR_DATA', `${name}: integer labels must be below 65536, got ${most}`, { details: { value: most } })
  return Array.from({ length: most + 1 }, (_, i) => String(i))
}
