/**
 * Where data comes from, as data: `idx:DIR,split=test` on the command line and `idx('DIR', { split: 'test' })` in a program give the same
 * plain object. The table below is the list of what is accepted; errors quote it.
 */
import { anyText, formatSpec, oneOf, parseSpec, positive, yesNo, type SpecForm } from './spec-forms.js'

export interface IdxSpec {
  readonly format: 'idx'
  /** A folder with the four files of MNIST or a set of the same form. */
  readonly path: string
  readonly split?: 'train' | 'test'
}

export interface NpzSpec {
  readonly format: 'npz'
  readonly path: string
  /** Name of the features in the file; default `x`, `X`, `x_train`, `data`, `features` or `images`. */
  readonly x?: string
  /** Name of the labels; default `y`, `Y`, `y_train`, `labels`, `label`, `target` or `targets`. */
  readonly y?: string
  /** Features are divided by this: 255 for images in bytes. */
  readonly divide?: number
}

export interface TableSpec {
  readonly format: 'csv' | 'tsv'
  readonly path: string
  /** Column of the label, by name or by number from 0. Default: `label`, for csv else the last column. */
  readonly label?: string
  /** Column of the text; makes a data set of texts. Default for tsv: `text`. Without, all other columns are numbers. */
  readonly text?: string
  /** Column of numbers to predict (`loadTargets`); several are joined by "+". */
  readonly target?: string
  /** Whether the first row names the columns; default true. */
  readonly header?: boolean
  /** Whether `"` quotes fields (RFC 4180). Default: csv yes, tsv no (in text/tab-separated-values it is an ordinary character). */
  readonly quote?: boolean
}

export type DataSpec = IdxSpec | NpzSpec | TableSpec

const table = { label: anyText, text: anyText, target: anyText, header: yesNo, quote: yesNo }

/** Every form of a data set, and its options. */
export const dataForms: Readonly<Record<DataSpec['format'], SpecForm>> = {
  idx: { usage: 'idx:DIR[,split=train|test]', options: { split: oneOf('train', 'test') } },
  npz: { usage: 'npz:FILE[,x=NAME][,y=NAME][,divide=NUMBER]', options: { x: anyText, y: anyText, divide: positive } },
  csv: { usage: 'csv:FILE[,label=COLUMN][,text=COLUMN][,target=COLUMN][,header=yes|no][,quote=yes|no]', options: table },
  tsv: { usage: 'tsv:FILE[,text=COLUMN][,label=COLUMN][,target=COLUMN][,header=yes|no][,quote=yes|no]', options: table },
}

/** Parses `FORMAT:PATH[,option=value]...`. A comma in the path is kept unless an option follows it. */
export function parseDataSpec(text: string): DataSpec {
  return parseSpec('data', dataForms, text) as unknown as DataSpec
}

/** The text that `parseDataSpec` turns into this spec. */
export function formatDataSpec(spec: DataSpec): string {
  return formatSpec(spec)
}

export const idx = (path: string, options: Omit<IdxSpec, 'format' | 'path'> = {}): IdxSpec => ({ format: 'idx', path, ...options })
export const npz = (path: string, options: Omit<NpzSpec, 'format' | 'path'> = {}): NpzSpec => ({ format: 'npz', path, ...options })
export const csv = (path: string, options: Omit<TableSpec, 'format' | 'path'> = {}): TableSpec => ({ format: 'csv', path, ...options })
export const tsv = (path: string, options: Omit<TableSpec, 'format' | 'path'> = {}): TableSpec => ({ format: 'tsv', path, ...options })
