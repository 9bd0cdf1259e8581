/**
 * What a model file says about itself: the metadata value `tersor` of the safetensors header, and how it is read back strictly.
 *
 *   { format: 1, architecture, info, weights: { path: { kind, config, shape } }, extras: [name] }
 *
 * `weights` lists what is not plainly dense; `{ kind: 'shared', config: { of }, shape }` is the weight at an earlier path. A long history is a compressed tensor of its own instead
 * (`HISTORY`), so that it does not outweigh a small model.
 */
import { gzipSync } from 'fflate'
import { z } from 'zod'
import type { RawTensor } from '../base/dtype.js'
import { ModelFormatError, OptionError, UnsupportedError } from '../base/errors.js'
import { parseJson, toPlain } from '../base/json.js'
import type { Json } from '../base/json-types.js'
import { gunzip } from '../formats/inflate.js'
import { formatContext, type ReadOptions } from '../formats/limits.js'
import { modelTasks, moduleKind, type ModelInfo, type ModuleSpec } from '../nn/index.js'

export const METADATA_KEY = 'tersor'
export const FORMAT_VERSION = 1
export const EXTRA = 'extra:'
/** Gzipped JSON of the history; no weight's path begins with a colon. */
export const HISTORY = ':history'

/** Among the kinds of weights: the weight of an earlier path, `{ of: path }`. */
export const SHARED = 'shared'

export interface ModelHeader {
  readonly architecture: ModuleSpec
  readonly info: ModelInfo
  readonly weights: Readonly<Record<string, { readonly kind: string; readonly config: Json; readonly shape: readonly number[] }>>
  readonly extras: readonly string[]
}

/** JSON text of plain data. Numbers that JSON cannot say are ERR_OPTION, not null. */
export function jsonText(where: string, value: unknown): string {
  return JSON.stringify(value, (key, v: unknown) => {
    if (typeof v === 'number' && !Number.isFinite(v))
      throw new OptionError('ERR_OPTION', `${where}: ${key || 'value'} must be a finite number, got ${v}`)
    return v
  })
}

/** JSON as a gzipped u8 tensor: the same bytes for the same value. */
export function packJson(where: string, value: unknown): RawTensor {
  // mtime 0 keeps the clock out of the bytes
  const data = gzipSync(new TextEncoder().encode(jsonText(where, value)), { level: 9, mtime: 0 })
  return { dtype: 'u8', shape: [data.length], data }
}

/** The inverse of packJson, bounded (ts/formats/inflate.ts). */
export function unpackJson(where: string, raw: RawTensor, options: ReadOptions = {}): Json {
  if (raw.dtype !== 'u8') throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: must be u8, got ${raw.dtype}`)
  const context = { ...formatContext('json', undefined, options), where }
  return toPlain(parseJson(gunzip(context, raw.data), { where, format: 'json', maxDepth: context.limits.jsonDepth }))
}

/** The spec without children that follow from the configuration. */
function shortSpec(spec: ModuleSpec): ModuleSpec {
  const implied = moduleKind(spec.kind).children?.(spec.config)
  const children = spec.children && Object.fromEntries(Object.entries(spec.children).map(([name, child]) => [name, shortSpec(child)]))
  const short = { kind: spec.kind, config: spec.config }
  if (!children) return short
  if (
    implied &&
    JSON.stringify(Object.fromEntries(Object.entries(implied).map(([name, child]) => [name, shortSpec(child)]))) ===
      JSON.stringify(children)
  )
    return short
  return { ...short, children }
}

/** The metadata text, and the history as a tensor where that is shorter. */
export function encodeHeader(header: ModelHeader): { readonly text: string; readonly history: RawTensor | null } {
  const { architecture, info, weights, extras } = header
  const { history, ...facts } = info
  const packed = packJson('model history', history)
  const apart = packed.data.length + 200 < jsonText('model history', history).length // the header's entry for a tensor takes about 200 bytes
  const value = {
    format: FORMAT_VERSION,
    architecture: shortSpec(architecture),
    info: apart ? facts : info,
    ...(Object.keys(weights).length ? { weights } : {}),
    ...(extras.length ? { extras } : {}),
  }
  return { text: jsonText('model info', value), history: apart ? packed : null }
}

const json: z.ZodType<Json> = z.json()
const specSchema: z.ZodType<ModuleSpec> = z.lazy(() =>
  z.strictObject({ kind: z.string(), config: z.record(z.string(), json), children: z.record(z.string(), specSchema).optional() }),
) as z.ZodType<ModuleSpec>
const headerSchema = z.strictObject({
  format: z.literal(FORMAT_VERSION),
  architecture: specSchema,
  info: z.looseObject({
    name: z.string(),
    task: z.enum(modelTasks),
    classes: z.array(z.string()).optional(),
    inputShape: z.array(z.int().positive()).optional(),
    normalize: z
      .strictObject({
        mean: z.union([z.number(), z.array(z.number())]),
        std: z.union([z.number().positive(), z.array(z.number().positive())]),
      })
      .optional(),
    inputNames: z.array(z.string()).optional(),
    targets: z.array(z.string()).optional(),
    history: z.array(json).optional(),
  }),
  weights: z.record(z.string(), z.strictObject({ kind: z.string(), config: json, shape: z.array(z.int().nonnegative()) })).default({}),
  extras: z.array(z.string()).default([]),
})

/** Reads the metadata text. `history` is the tensor HISTORY where the file has it. */
export function decodeHeader(where: string, text: string, history: RawTensor | undefined, options: ReadOptions = {}): ModelHeader {
  const value = toPlain(
    parseJson(text, {
      where: `${where}: model header`,
      format: 'safetensors',
      maxDepth: formatContext('json', undefined, options).limits.jsonDepth,
    }),
  )
  const version = typeof value === 'object' && value !== null && 'format' in value ? value.format : undefined
  if (typeof version === 'number' && Number.isInteger(version) && version > FORMAT_VERSION)
    throw new UnsupportedError(
      'ERR_UNSUPPORTED',
      `${where}: the file has format ${version}, this version of Tersor reads up to ${FORMAT_VERSION}`,
      { details: { what: `format ${version}` } },
    )
  const parsed = headerSchema.safeParse(value)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: model header: ${issue.path.join('.') || 'value'}: ${issue.message}`, {
      details: { format: 'safetensors', reason: 'header' },
    })
  }
  const { architecture, info, weights, extras } = parsed.data
  const past = history ? unpackJson(`${where}: tensor "${HISTORY}"`, history, options) : info.history
  if (!Array.isArray(past))
    throw new ModelFormatError('ERR_MODEL_FORMAT', `${where}: model header: the history must be a list`, {
      details: { format: 'safetensors', reason: 'header' },
    })
  return { architecture, info: { ...info, history: past as readonly Json[] } as unknown as ModelInfo, weights, extras }
}
