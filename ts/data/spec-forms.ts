/**
 * The syntax that all specs share: `FORMAT:PATH[,option=value]...` (`NAME[,option=value]...` for sets that need no path), read by a table of
 * forms. Errors quote the table.
 */
import { OptionError } from '../base/errors.js'

export type SpecValue = string | number | boolean
export type ParseValue = (text: string) => SpecValue | undefined

export const anyText: ParseValue = (text) => (text === '' ? undefined : text)
export const yesNo: ParseValue = (text) => ({ yes: true, true: true, no: false, false: false })[text.toLowerCase()]
export const positive: ParseValue = (text) => (Number(text) > 0 && Number.isFinite(Number(text)) ? Number(text) : undefined)
export const positiveInteger: ParseValue = (text) => (/^[0-9]{1,10}$/.test(text) && Number(text) > 0 ? Number(text) : undefined)
/** A share in [0, 1). */
export const shareBelowOne: ParseValue = (text) => (/^[0-9.]+$/.test(text) && Number(text) < 1 ? Number(text) : undefined)
/** A share in [0, 1), or the path of a file. */
export const shareOrPath: ParseValue = (text) => shareBelowOne(text) ?? anyText(text)
export const oneOf =
  (...words: string[]): ParseValue =>
  (text) =>
    words.includes(text) ? text : undefined

export interface SpecForm {
  readonly usage: string
  readonly options: Readonly<Record<string, ParseValue>>
  /** False for a set with a name of its own: nothing stands behind a ":". */
  readonly path?: false
}

export type SpecForms = Readonly<Record<string, SpecForm>>

export interface ParsedSpec {
  readonly format: string
  readonly path?: string
  readonly [option: string]: SpecValue | undefined
}

/** Parses a spec by the table `forms`; `what` begins the messages. A comma in the path is kept unless an option follows it. */
export function parseSpec(what: string, forms: SpecForms, text: string): ParsedSpec {
  const reject = (why: string): never => {
    const accepted = Object.values(forms)
      .map((form) => form.usage)
      .join('\n  ')
    throw new OptionError('ERR_OPTION', `${what} ${JSON.stringify(text)}: ${why}; accepted are\n  ${accepted}`, { details: { spec: text } })
  }
  const name = /^[^:,]*/.exec(text)![0]
  const named = Object.hasOwn(forms, name) && forms[name]!.path === false
  const colon = text.indexOf(':')
  const format = named ? name : text.slice(0, Math.max(colon, 0))
  const form = Object.hasOwn(forms, format) ? forms[format] : undefined
  if (!form) return reject(colon < 0 ? 'there is no format before a ":"' : `format ${JSON.stringify(format)} is unknown`)
  const parts = text.slice(named ? format.length : colon + 1).split(',')
  const options: Record<string, SpecValue> = {}
  while (parts.length > 1 && /^[A-Za-z]+=/.test(parts.at(-1)!)) {
    const part = parts.pop()!
    const key = part.slice(0, part.indexOf('='))
    const parse = Object.hasOwn(form.options, key) ? form.options[key] : undefined
    if (!parse) return reject(`option ${JSON.stringify(key)} is unknown, ${format} has ${Object.keys(form.options).join(', ')}`)
    if (Object.hasOwn(options, key)) return reject(`option ${JSON.stringify(key)} stands twice`)
    const value = parse(part.slice(key.length + 1))
    if (value === undefined) return reject(`option ${JSON.stringify(key)} cannot be ${JSON.stringify(part.slice(key.length + 1))}`)
    options[key] = value
  }
  const path = parts.join(',')
  if (named && path !== '') return reject(`${format} takes options only, got ${JSON.stringify(path)}`)
  if (named) return { format, ...options }
  if (path === '') return reject('the path is missing')
  return { format, path, ...options }
}

/** The text that `parseSpec` turns into this spec. */
export function formatSpec(spec: { readonly format: string; readonly path?: string }): string {
  const { format, path, ...options } = spec
  const shown = Object.entries(options).filter(([, value]) => value !== undefined)
  const head = path === undefined ? format : `${format}:${path}`
  return `${head}${shown.map(([key, value]) => `,${key}=${value === true ? 'yes' : value === false ? 'no' : String(value)}`).join('')}`
}
