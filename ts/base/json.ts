/**
 * JSON as values, for recipes, configurations and headers of free form: the strictness of json-reader.ts, and objects as `Map`s, so that
 * `__proto__` is a key like any other.
 */
import { JsonReader, type JsonOptions } from './json-reader.js'

export { JsonReader, isWellFormed, type JsonOptions } from './json-reader.js'

export type JsonValue = null | boolean | number | string | JsonValue[] | JsonObject
export type JsonObject = Map<string, JsonValue>
export type PlainJson = null | boolean | number | string | PlainJson[] | { [key: string]: PlainJson }

/** Reads any value at the cursor. Recursion is bounded by the reader's limit of depth. */
function readValue(reader: JsonReader): JsonValue {
  const first = reader.peek()
  if (first === '{') {
    const map: JsonObject = new Map()
    reader.object((key) => map.set(key, readValue(reader)), map)
    return map
  }
  if (first === '[') {
    const list: JsonValue[] = []
    reader.array(() => list.push(readValue(reader)))
    return list
  }
  if (first === '"') return reader.string()
  return first === '-' || (first >= '0' && first <= '9') ? reader.number() : reader.literal()
}

/** Parses a whole text. */
export function parseJson(input: Uint8Array | string, options: JsonOptions = {}): JsonValue {
  const reader = new JsonReader(input, options)
  const value = readValue(reader)
  reader.end()
  return value
}

/**
 * Maps to null-prototype objects, for values whose structure the caller checks next. `__proto__` stays an own, harmless key: never
 * spread or assign the result into an ordinary object.
 */
export function toPlain(value: JsonValue): PlainJson {
  if (Array.isArray(value)) return value.map(toPlain)
  if (!(value instanceof Map)) return value
  const plain = Object.create(null) as { [key: string]: PlainJson }
  for (const [key, member] of value) plain[key] = toPlain(member)
  return plain
}
