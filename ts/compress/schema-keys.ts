/** Names that an options schema knows at a place: what an unknown key is compared with. */
import { z } from 'zod'

/** Takes off optional, default and effects. */
function bare(schema: z.ZodType): z.ZodType {
  let s = schema
  while (s instanceof z.ZodOptional || s instanceof z.ZodDefault || s instanceof z.ZodNullable || s instanceof z.ZodPipe)
    s = (s instanceof z.ZodPipe ? s.def.in : s.def.innerType) as z.ZodType
  return s
}

/** Objects among the alternatives at this place; a discriminated union's other members are left out when `value` tells which is meant. */
function objects(schema: z.ZodType, value: unknown): z.ZodObject[] {
  const s = bare(schema)
  if (s instanceof z.ZodObject) return [s]
  if (!(s instanceof z.ZodUnion)) return []
  const all = (s.options as z.ZodType[]).flatMap((option) => objects(option, value))
  if (!(s instanceof z.ZodDiscriminatedUnion)) return all
  const tag = s.def.discriminator
  const wanted = (value as Record<string, unknown> | undefined)?.[tag]
  const fitting = all.filter((o) => (o.shape[tag] as z.ZodType | undefined)?.safeParse(wanted).success)
  return fitting.length > 0 ? fitting : all
}

export function knownKeys(schema: z.ZodType, path: readonly PropertyKey[], value: unknown): string[] {
  let at: z.ZodType[] = [schema]
  let here = value
  for (const part of path) {
    at = at.flatMap((s) => {
      const plain = bare(s)
      if (plain instanceof z.ZodArray) return [plain.def.element as z.ZodType]
      return objects(s, here).flatMap((o) => (o.shape[part as string] ? [o.shape[part as string] as z.ZodType] : []))
    })
    here = typeof here === 'object' && here !== null ? (here as Record<PropertyKey, unknown>)[part] : undefined
  }
  return [...new Set(at.flatMap((s) => objects(s, here)).flatMap((o) => Object.keys(o.shape)))]
}
