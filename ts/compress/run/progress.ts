/**
 * What a checkpoint of a compression says about the run, checked: checksums tell damage, not harm. States of passes and packed statistics are looked
 * at by those who made them.
 */
import { z } from 'zod'
import type { RawTensor } from '../../base/dtype.js'
import type { Json, JsonObject } from '../../base/json-types.js'

const natural = z.number().int().nonnegative()
const text = z.string()
const anyJson = z.custom<Json>((v) => v !== undefined)
const object = z.custom<JsonObject>((v) => typeof v === 'object' && v !== null && !Array.isArray(v))

const note = z.looseObject({ path: text.optional(), text })
const epoch = z.looseObject({ label: text, epoch: z.number(), step: z.number(), loss: anyJson, lr: z.number() })
const collected = { seconds: z.number().nonnegative(), notes: z.array(note), epochs: z.array(epoch), figures: object }

const outcome = z.looseObject({
  ...collected,
  stage: natural,
  index: natural,
  pass: text,
  version: natural,
  options: object,
  targets: z.array(text),
  bytesBefore: z.number(),
  bytesAfter: z.number(),
  layers: z.array(z.looseObject({ path: text, shape: z.array(natural), role: text, before: object, after: object })),
})

const progress = z.object({
  index: natural,
  seconds: z.number().nonnegative(),
  outcomes: z.array(outcome),
  statistics: z.array(z.object({ key: text, json: anyJson, parts: z.array(text) })),
  state: object.nullable(),
  recorder: z.looseObject(collected).nullable(),
})

/** What is wrong with the progress of a checkpoint; undefined: nothing. */
export function progressFault(json: Json | undefined, tensors: ReadonlyMap<string, RawTensor>): string | undefined {
  const parsed = progress.safeParse(json)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    return `${issue!.path.join('.') || 'progress'}: ${issue!.message}`
  }
  for (const [i, { parts }] of parsed.data.statistics.entries())
    for (const name of parts) if (!tensors.has(`stat/${i}/${name}`)) return `the tensor "stat/${i}/${name.slice(0, 100)}" is missing`
  return undefined
}
