/**
 * Where data comes from, as data: `idx:DIR,split=test` on the command line and `idx('DIR', { split: 'test' })` in a program give the same
 * plain object. The table below is the list of what is accepted; errors quote it.
 */
import { OptionError } from '../base/errors.js'

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
  /** Whether the first row names the columns; default true. */
  readonly header?: boolean
  /** Whether `"` quotes fields (RFC 4180). Default: csv yes, tsv no (in text/tab-separated-values it is an ordinary character). */
  readonly quote?: boolean
}

export type DataSpec = IdxSpec | NpzSpec | TableSpec

type Value = string | number | boolean
type Parse = (text: string) => Value | undefined

const anyText: Parse = (text) => (text === '' ? undefined : text)
const yesNo: Parse = (text) => ({ yes: true, true: true, no: false, false: false })[text.toLowerCase()]
const positive: Parse = (text) => (Number(text) > 0 && Number.isFinite(Number(text)) ? Number(text) : undefined)
const oneOf =
  (...words: string[]): Parse =>
  (text) =>
    words.includes(text) ? text : undefined

interface SpecForm {
  readonly usage: string
  readonly options: Readonly<Record<string, Parse>>
}

const table = { label: anyText, text: anyText, header: yesNo, quote: yesNo }

/** Every form of a data set, and its options. */
export const dataForms: Readonly<Record<DataSpec['format'], SpecForm>> = {
  idx: { usage: 'idx:DIR[,split=train|test]', options: { split: oneOf('train', 'test') } },
  npz: { usage: 'npz:FILE[,x=NAME][,y=NAME][,divide=NUMBER]', options: { x: anyText, y: anyText, divide: positive } },
  csv: { usage: 'csv:FILE[,label=COLUMN][,text=COLUMN][,header=yes|no][,quote=yes|no]', options: table },
  tsv: { usage: 'tsv:FILE[,text=COLUMN][,label=COLUMN][,header=yes|no][,quote=yes|no]', options: table },
}

const accepted = (): string =>
  Object.values(dataForms)
    .map((form) => form.usage)
    .join('\n  ')

function reject(text: string, why: string): never {
  throw new OptionError('ERR_OPTION', `data ${JSON.stringify(text)}: ${why}; accepted are\n  ${accepted()}`, { details: { spec: text } })
}

/** Parses `FORMAT:PATH[,option=value]...`. A comma in the path is kept unless an option follows it. */
export function parseDataSpec(text: string): DataSpec {
  const colon = text.indexOf(':')
  const format = text.slice(0, Math.max(colon, 0))
  const form = Object.hasOwn(dataForms, format) ? dataForms[format as DataSpec['format']] : undefined
  if (!form) reject(text, colon < 0 ? 'there is no format before a ":"' : `format ${JSON.stringify(format)} is unknown`)
  const parts = text.slice(colon + 1).split(',')
  const options: Record<string, Value> = {}
  while (parts.length > 1 && /^[A-Za-z]+=/.test(parts.at(-1)!)) {
    const part = parts.pop()!
    const key = part.slice(0, part.indexOf('='))
    const parse = Object.hasOwn(form.options, key) ? form.options[key] : undefined
    if (!parse) reject(text, `option ${JSON.stringify(key)} is unknown, ${format} has ${Object.keys(form.options).join(', ')}`)
    if (Object.hasOwn(options, key)) reject(text, `option ${JSON.stringify(key)} stands twice`)
    const value = parse(part.slice(key.length + 1))
    if (value === undefined) reject(text, `option ${JSON.stringify(key)} cannot be ${JSON.stringify(part.slice(key.length + 1))}`)
    options[key] = value
  }
  const path = parts.join(',')
  if (path === '') reject(text, 'the path is missing')
  return { format, path, ...options } as DataSpec
}

/** The text that `parseDataSpec` turns into this spec. */
export function formatDataSpec(spec: DataSpec): string {
  const { format, path, ...options } = spec
  const shown = Object.entries(options).filter(([, value]) => value !== undefined)
  return `${format}:${path}${shown.map(([key, value]) => `,${key}=${value === true ? 'yes' : value === false ? 'no' : String(value)}`).join('')}`
}

export const idx = (path: string, options: Omit<IdxSpec, 'format' | 'path'> = {}): IdxSpec => ({ format: 'idx', path, ...options })
export const npz = (path: string, options: Omit<NpzSpec, 'format' | 'path'> = {}): NpzSpec => ({ format: 'npz', path, ...options })
export const csv = (path: string, options: Omit<TableSpec, 'format' | 'path'> = {}): TableSpec => ({ format: 'csv', path, ...options })
export const tsv = (path: string, options: Omit<TableSpec, 'format' | 'path'> = {}): TableSpec => ({ format: 'tsv', path, ...options })
