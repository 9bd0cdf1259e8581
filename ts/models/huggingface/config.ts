/** config.json of Hugging Face: to an architecture, and back. */
import { ModelFormatError, OptionError, UnsupportedError } from '../../base/errors.js'
import type { Json, JsonObject } from '../../base/json-types.js'
import { nearest } from '../../base/nearest.js'
import type { ModuleSpec } from '../../nn/index.js'
import { transformerConfig, type TransformerConfig } from '../transformer/body.js'
import { causalLanguage, maskedLanguage, textClassifier, textEmbedding, tokenClassifier } from '../transformer/heads.js'
import { familyOfType } from './families.js'
import { activationName, activationsByName, headNames, isTied, type Family, type HeadName } from './family.js'

/** The root kinds of heads.ts by head. */
export const headOfKind: Readonly<Record<string, HeadName>> = {
  textEmbedding: 'embedding',
  textClassifier: 'classifier',
  tokenClassifier: 'tokens',
  maskedLanguage: 'language',
  causalLanguage: 'language',
}

export interface HubConfig {
  readonly type: string
  readonly family: Family
  readonly body: TransformerConfig
  /** What `architectures` names; undefined where it says nothing. */
  readonly head: HeadName | undefined
  /** Names of the classes, from id2label or num_labels; the classes' default is two. */
  readonly labels: readonly string[]
  readonly json: JsonObject
}

const invalid = (where: string, key: string, message: string): ModelFormatError =>
  new ModelFormatError('ERR_MODEL_FORMAT', `${where}: ${key}: ${message}`, { details: { format: 'huggingface', reason: 'config', key } })

function bodyOf(where: string, family: Family, json: JsonObject): TransformerConfig {
  const found: Record<string, Json> = { ...(family.fixed as JsonObject) }
  for (const [field, [key, fallback]] of Object.entries(family.keys)) {
    const value = json[key] ?? fallback
    if (value === undefined) throw invalid(where, key, 'is missing')
    if (field !== 'activation') found[field] = value
    else if (typeof value === 'string' && Object.hasOwn(activationsByName, value)) found[field] = activationsByName[value]!
    else
      throw new UnsupportedError(
        'ERR_UNSUPPORTED',
        `${where}: ${key}: ${JSON.stringify(value)} is not supported; known: ${Object.keys(activationsByName).join(', ')}`,
        { details: { what: `activation ${JSON.stringify(value)}` } },
      )
  }
  const body = { ...found, ...family.derive?.(json, found as unknown as TransformerConfig) }
  const parsed = transformerConfig.safeParse(body)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]!
  const field = String(issue.path[0] ?? '')
  throw invalid(where, family.keys[field as keyof TransformerConfig]?.[0] ?? (field || 'configuration'), issue.message)
}

const firstOf = (json: Json | undefined): Json | undefined => (Array.isArray(json) ? (json as readonly Json[])[0] : undefined)

function headOf(where: string, family: Family, json: JsonObject): HeadName | undefined {
  const named = firstOf(json.architectures)
  if (typeof named !== 'string') return undefined
  // CamembertForMaskedLM, XLMRobertaForMaskedLM: other names before the same endings.
  const ends = (head: HeadName): boolean => family.classes[head].some((end) => named.endsWith(end))
  const head = headNames.filter((h) => h !== 'embedding').find(ends) ?? (ends('embedding') ? 'embedding' : undefined)
  if (head) return head
  const known = headNames.flatMap((h) => family.classes[h].map((end) => family.className + end))
  throw new UnsupportedError(
    'ERR_UNSUPPORTED',
    `${where}: architecture ${JSON.stringify(named)} is not supported; known: ${known.join(', ')}. Its body loads with the option head: 'embedding'`,
    { details: { what: named } },
  )
}

function labelsOf(where: string, json: JsonObject): readonly string[] {
  const map = json.id2label
  if (typeof map === 'object' && map !== null && !Array.isArray(map)) {
    const names = Object.keys(map).map((_, i) => (map as JsonObject)[String(i)])
    if (!names.every((n) => typeof n === 'string') || names.length === 0)
      throw invalid(where, 'id2label', 'must name the classes 0, 1, 2, ...')
    return names
  }
  const n = json.num_labels ?? 2
  if (typeof n !== 'number' || !Number.isInteger(n) || n < 1 || n > 1e6)
    throw invalid(where, 'num_labels', `must be an integer >= 1, got ${JSON.stringify(n)}`)
  return Array.from({ length: n }, (_, i) => `LABEL_${i}`)
}

/**
 * Reads a configuration.
 *
 * - `model_type`, activation or variant that is not known: ERR_UNSUPPORTED; sizes that are missing or no sizes: ERR_MODEL_FORMAT
 */
export function readConfig(where: string, json: Json, head?: HeadName): HubConfig {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) throw invalid(where, 'value', 'must be an object')
  const config = json as JsonObject
  const type = config.model_type
  if (typeof type !== 'string') throw invalid(where, 'model_type', 'is missing')
  const family = familyOfType(where, type)
  for (const [key, allowed] of Object.entries(family.only))
    if (config[key] !== undefined && config[key] !== null && !allowed.includes(config[key]))
      throw new UnsupportedError('ERR_UNSUPPORTED', `${where}: ${key} ${JSON.stringify(config[key])} is not supported`, {
        details: { what: key },
      })
  if (head !== undefined && !headNames.includes(head)) {
    const near = nearest(String(head), headNames)
    throw new OptionError(
      'ERR_OPTION',
      `${where}: head must be one of ${headNames.join(', ')}, got ${JSON.stringify(head)}${near ? `; did you mean ${near}?` : ''}`,
    )
  }
  return {
    type,
    family,
    body: bodyOf(where, family, config),
    head: head ?? headOf(where, family, config),
    labels: labelsOf(where, config),
    json: config,
  }
}

export interface HeadOptions {
  readonly classes: number
  readonly output?: 'tokens' | 'mean' | 'first' | 'pooled'
  readonly pooler?: boolean
  readonly normalize?: boolean
}

function dropoutOf(json: JsonObject, keys: readonly string[]): number {
  for (const key of keys) if (typeof json[key] === 'number') return json[key]
  return keys.length ? 0.1 : 0
}

/** The architecture with a head. */
export function specWithHead({ family, body, json }: HubConfig, head: HeadName, options: HeadOptions): ModuleSpec {
  const { classes, output = 'mean', pooler = false, normalize = false } = options
  const tied = isTied(family, json)
  const make: Readonly<Record<HeadName, () => ModuleSpec>> = {
    embedding: () => textEmbedding({ body, output, pooler: family.hasPooler && (pooler || output === 'pooled'), normalize }),
    classifier: () => textClassifier({ body, classes, dropout: dropoutOf(json, family.headDropout.classifier), ...family.classifier }),
    tokens: () => tokenClassifier({ body, classes, dropout: dropoutOf(json, family.headDropout.tokens) }),
    language: () => {
      const { languageActivation: f } = family
      return f === null ? causalLanguage({ body, tied }) : maskedLanguage({ body, activation: f === 'body' ? body.activation : f, tied })
    },
  }
  return make[head]()
}

/** config.json of a model: the keys that it was loaded with where they still hold, and those of its architecture. */
export function writeConfig(
  family: Family,
  root: ModuleSpec,
  head: HeadName,
  labels: readonly string[] | undefined,
  loaded: JsonObject,
): JsonObject {
  const config = root.config as { body: TransformerConfig; dropout?: number; tied?: boolean }
  const { body } = config
  const type =
    typeof loaded.model_type === 'string' && Object.hasOwn(family.types, loaded.model_type)
      ? loaded.model_type
      : Object.keys(family.types)[0]!
  const out: Record<string, Json> = { ...loaded, model_type: type }
  for (const [field, [key]] of Object.entries(family.keys)) {
    const value = body[field as keyof TransformerConfig]
    out[key] = field === 'activation' ? (activationName(body.activation) ?? body.activation) : value
  }
  Object.assign(out, family.write?.(body))
  const known = family.classes[head]
  const before = firstOf(loaded.architectures)
  out.architectures = [typeof before === 'string' && known.some((end) => before.endsWith(end)) ? before : family.className + known[0]!]
  if (head === 'classifier' || head === 'tokens') {
    const keys = family.headDropout[head]
    if (keys.length && config.dropout !== undefined && dropoutOf(out, keys) !== config.dropout) out[keys[0]!] = config.dropout
  }
  if (config.tied !== undefined) out.tie_word_embeddings = config.tied
  if (labels) {
    out.id2label = Object.fromEntries(labels.map((label, i) => [String(i), label]))
    out.label2id = Object.fromEntries(labels.map((label, i) => [label, i]))
  }
  return out
}
