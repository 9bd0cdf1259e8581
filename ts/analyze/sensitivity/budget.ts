/** Budgets as people write them: "13x" (of a file's bytes), "300KiB", "1.5MB", 40000, "12.5ms". */
import { OptionError } from '../../base/errors.js'

export type Budget = { readonly kind: 'ratio' | 'bytes' | 'ms'; readonly value: number }

const UNITS: Readonly<Record<string, readonly [kind: Budget['kind'], factor: number]>> = {
  '': ['bytes', 1],
  b: ['bytes', 1],
  kb: ['bytes', 1e3],
  mb: ['bytes', 1e6],
  gb: ['bytes', 1e9],
  kib: ['bytes', 2 ** 10],
  mib: ['bytes', 2 ** 20],
  gib: ['bytes', 2 ** 30],
  x: ['ratio', 1],
  ms: ['ms', 1],
}

/** ERR_OPTION for what is none. Bytes are whole. */
export function parseBudget(budget: number | string): Budget {
  const text = String(budget).trim()
  const found = /^(\d+(?:\.\d+)?(?:e[+-]?\d+)?) ?([a-z]*)$/i.exec(text)
  const unit = UNITS[found?.[2]?.toLowerCase() ?? '?']
  const value = Number(found?.[1]) * (unit?.[1] ?? NaN)
  if (!unit || !Number.isFinite(value) || value <= 0)
    throw new OptionError(
      'ERR_OPTION',
      `budget: must be a ratio ("8x"), bytes (40000, "300KiB", "1.5MB") or milliseconds ("12.5ms") above 0, got ${JSON.stringify(budget)}`,
    )
  return { kind: unit[0], value: unit[0] === 'bytes' ? Math.floor(value) : value }
}
