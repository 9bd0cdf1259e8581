/**
 * Recipes: what to do to a model, as JSON. `{ recipe: 1, seed, stages: [[pass, pass], [pass]] }`; a stage is the passes that share one sweep
 * over the data. Everything is checked before anything runs; whatever is unknown is an error that names the place (JSON pointer, RFC 6901)
 * and the nearest known name. A recipe cannot name files.
 */
import type { z } from 'zod'
import { RecipeError, isTersorError } from '../base/errors.js'
import { parseJson, toPlain } from '../base/json.js'
import type { Json, JsonObject } from '../base/json-types.js'
import { suggestion } from '../base/nearest.js'
import { passDefinition } from './registry.js'
import type { PassSpec } from './pass.js'
import { knownKeys } from './schema-keys.js'
import { targetProblem } from './targets.js'
import { MAX_SEED } from './train/settings.js'

export interface Recipe {
  readonly recipe: 1
  /** One line for reports. */
  readonly name?: string
  readonly seed: number
  readonly stages: readonly (readonly PassSpec[])[]
}

const MAX_PASSES = 1000
const MAX_PATTERNS = 10_000

function fail(pointer: string, problem: string): never {
  throw new RecipeError('ERR_RECIPE', `recipe${pointer === '' ? '' : ` ${pointer}`}: ${problem}`, { details: { pointer } })
}

const escape = (part: PropertyKey): string => String(part).replace(/~/g, '~0').replace(/\//g, '~1')
const shown = (value: unknown): string => {
  const text = typeof value === 'number' ? String(value) : (JSON.stringify(value) ?? typeof value)
  return text.length > 60 ? `${text.slice(0, 60)}...` : text
}

/** An object with own, expected keys only. */
function members(value: unknown, pointer: string, known: readonly string[]): Map<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(pointer, `must be an object, got ${shown(value)}`)
  const out = new Map<string, unknown>()
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) fail(`${pointer}/${escape(key)}`, `unknown key ${shown(key)}${suggestion(key, known)}`)
    const member = (value as Record<string, unknown>)[key]
    if (member !== undefined) out.set(key, member)
  }
  return out
}

function list(value: unknown, pointer: string, max: number): readonly unknown[] {
  if (!Array.isArray(value)) fail(pointer, `must be a list, got ${shown(value)}`)
  if (value.length > max) fail(pointer, `must have at most ${max} entries, got ${value.length}`)
  return value
}

function patterns(value: unknown, pointer: string): readonly string[] {
  return list(value, pointer, MAX_PATTERNS).map((pattern, i) => {
    const at = `${pointer}/${i}`
    if (typeof pattern !== 'string' || pattern.length === 0 || pattern.length > 1024)
      fail(at, `must be a pattern of 1 to 1024 characters, got ${shown(pattern)}`)
    const problem = targetProblem(pattern)
    if (problem) fail(at, problem)
    return pattern
  })
}

/** Checks options against a pass's schema and fills in the defaults. */
export function parseOptions(schema: z.ZodType<JsonObject>, options: unknown, pointer: string): JsonObject {
  const parsed = schema.safeParse(options)
  if (parsed.success) return parsed.data
  const issue = deepest(parsed.error.issues)
  const at = `${pointer}${issue.path.map((p) => `/${escape(p)}`).join('')}`
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!
    fail(`${at}/${escape(key)}`, `unknown key ${shown(key)}${suggestion(key, knownKeys(schema, issue.path, options))}`)
  }
  const value = issue.path.reduce<unknown>(
    (v, p) => (typeof v === 'object' && v !== null ? (v as Record<PropertyKey, unknown>)[p] : undefined),
    options,
  )
  return fail(at, `${issue.message}${value === undefined || typeof value === 'object' ? '' : `, got ${shown(value)}`}`)
}

/** An unknown key often causes the other problems, and stands one level below the object that zod names. */
const depth = (issue: z.core.$ZodIssue): number => issue.path.length + (issue.code === 'unrecognized_keys' ? 1.5 : 0)

/** The issue that lies deepest: of a union's alternatives that one was meant. */
function deepest(issues: readonly z.core.$ZodIssue[], prefix: readonly PropertyKey[] = []): z.core.$ZodIssue {
  const candidates = issues.flatMap((issue) => {
    const here = { ...issue, path: [...prefix, ...issue.path] } as z.core.$ZodIssue
    if (issue.code !== 'invalid_union') return [here]
    return [here, ...issue.errors.filter((e) => e.length > 0).map((e) => deepest(e, here.path))]
  })
  return candidates.reduce((best, issue) => (depth(issue) > depth(best) ? issue : best))
}

function parsePass(value: unknown, pointer: string): PassSpec {
  const spec = members(value, pointer, ['pass', 'version', 'options', 'targets', 'ignore'])
  const name = spec.get('pass')
  if (typeof name !== 'string') fail(`${pointer}/pass`, `must be the name of a pass, got ${shown(name)}`)
  const definition = passDefinition(name, `${pointer}/pass`)
  const version = spec.get('version') ?? definition.version
  if (version !== definition.version)
    fail(`${pointer}/version`, `${name} has version ${definition.version} here, the recipe asks for ${shown(version)}`)
  const targets = spec.get('targets')
  const ignore = spec.get('ignore')
  return {
    pass: name,
    version: definition.version,
    options: parseOptions(definition.options, spec.has('options') ? spec.get('options') : {}, `${pointer}/options`),
    ...(targets === undefined ? {} : { targets: patterns(targets, `${pointer}/targets`) }),
    ...(ignore === undefined ? {} : { ignore: patterns(ignore, `${pointer}/ignore`) }),
  }
}

/** A checked recipe with every default filled in, from JSON text or from an object. ERR_RECIPE names the place. */
export function parseRecipe(input: unknown): Recipe {
  const top = members(typeof input === 'string' || input instanceof Uint8Array ? readText(input) : input, '', [
    'recipe',
    'name',
    'seed',
    'stages',
  ])
  if (top.get('recipe') !== 1) fail('/recipe', `must be 1 (the version of the recipe format), got ${shown(top.get('recipe'))}`)
  const seed = top.get('seed') ?? 0
  if (typeof seed !== 'number' || !Number.isSafeInteger(seed) || seed < 0)
    fail('/seed', `must be an integer in [0, ${MAX_SEED}], got ${shown(seed)}`)
  const name = top.get('name')
  if (name !== undefined && (typeof name !== 'string' || name.length > 200))
    fail('/name', `must be a text of at most 200 characters, got ${shown(name)}`)
  const stages = list(top.get('stages'), '/stages', MAX_PASSES).map((stage, s) =>
    list(stage, `/stages/${s}`, MAX_PASSES).map((pass, p) => parsePass(pass, `/stages/${s}/${p}`)),
  )
  stages.forEach((stage, s) => {
    if (stage.length === 0) fail(`/stages/${s}`, 'must name at least one pass')
  })
  if (stages.length === 0) fail('/stages', 'must have at least one stage')
  return { recipe: 1, ...(typeof name === 'string' ? { name } : {}), seed, stages }
}

function readText(text: string | Uint8Array): Json {
  try {
    return toPlain(parseJson(text, { where: 'recipe', code: 'ERR_RECIPE', format: 'recipe' }))
  } catch (error) {
    // A recipe that is too deep or too large is a bad recipe, whatever limit it met.
    if (!isTersorError(error) || error.code !== 'ERR_LIMIT') throw error
    throw new RecipeError('ERR_RECIPE', error.message, { cause: error, details: { ...error.details, pointer: '' } })
  }
}

/** A recipe from stages of passes. */
export function recipe(stages: readonly (readonly PassSpec[])[], options: { readonly seed?: number; readonly name?: string } = {}): Recipe {
  return parseRecipe({ recipe: 1, stages, ...options })
}
