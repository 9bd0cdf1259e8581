/** From samples to figures: rates, the fraction of the limit, ratios to each rival; and the files that they are kept in. */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { machine, ratio, summarize, type Entry, type Machine, type Summary } from '../../ts/bench/index.js'
import { root } from './contenders.js'
import { familyPlot } from './plot.js'
import { limitName, type Item, type Peak } from './run.js'

export interface Figure {
  readonly contender: string
  /** Nanoseconds per call. */
  readonly median: number | null
  readonly q1: number | null
  readonly q3: number | null
  /** Rounds that it was sampled in. */
  readonly rounds: number
  /** Its time over that of the first contender (Tersor), round by round; above 1 Tersor is faster. */
  readonly ratio: number | null
  readonly ratioQ1: number | null
  readonly ratioQ3: number | null
  /** Bytes by which its resident memory grew at most, from the data to the second call, in a process of its own; where the case asks for it. */
  readonly peak?: number
  /** Bytes of tensors at most, where it counts them. */
  readonly tensors?: number
  /** Its result differs from Tersor's of the same kernel by more than 2 %: it computes something else, and bars are held against it only where there is no other rival. */
  readonly differs?: boolean
}

export interface Measured {
  readonly family: string
  readonly case: string
  readonly isa: string
  readonly threads: number
  readonly operations: number
  readonly bytes: number
  readonly figures: readonly Figure[]
  /** Contenders that did not run, and why. */
  readonly absent: readonly { readonly contender: string; readonly why: string }[]
  /** The bound that holds: the slowest of the case's limits. `fraction`: the time at that rate over the first contender's. */
  readonly limit?: { readonly name: string; readonly perSecond: number | null; readonly fraction: number | null }
}

export interface ResultFile {
  readonly family: string
  readonly isa: string
  readonly date: string
  readonly machine: Machine
  readonly versions: Readonly<Record<string, string>>
  readonly rounds: number
  readonly cases: readonly Measured[]
}

/** Four digits; null where there is no number (no first contender to compare with). */
const rounded = (x: number): number | null => (Number.isFinite(x) ? Number(x.toPrecision(4)) : null)

export function measured(item: Item, entries: readonly Entry[], peaks: ReadonlyMap<string, Peak>): Measured {
  const { family, case: c, isa, threads } = item
  const isLimit = (e: Entry): boolean => e.contender.startsWith('limit: ')
  const figures: Figure[] = []
  for (const [i, e] of entries.entries()) {
    if (isLimit(e) || e.absent !== undefined) continue
    // Held against Tersor's part with the same kernel. A part with sizes of its own computes something else by intent.
    const own = entries[c.parts.findIndex((p) => p.contender === 'tersor' && p.kernel === c.parts[i]?.kernel && !p.params)]
    const comparable = own?.check !== undefined && e.check !== undefined && !c.parts[i]?.params
    const differs = comparable && Math.abs(e.check / own.check - 1) > 0.02
    const peak = peaks.get(e.contender)
    figures.push({
      contender: e.contender,
      median: rounded(e.ns.median),
      q1: rounded(e.ns.q1),
      q3: rounded(e.ns.q3),
      rounds: e.ns.count,
      ratio: rounded(e.ratio.median),
      ratioQ1: rounded(e.ratio.q1),
      ratioQ3: rounded(e.ratio.q3),
      ...(peak ? { peak: peak.bytes, ...(peak.tensors ? { tensors: peak.tensors } : {}) } : {}),
      ...(differs ? { differs } : {}),
    })
  }
  const absent = entries.flatMap((e) => (e.absent === undefined ? [] : [{ contender: e.contender, why: e.absent }]))
  const limit = limitOf(item, entries)
  return {
    family: family.name,
    case: c.name,
    isa,
    threads,
    operations: c.operations,
    bytes: c.bytes,
    figures,
    absent,
    ...(limit ? { limit } : {}),
  }
}

/** Each limit gives a least time for the case; the largest of these is the one that holds. */
function limitOf(item: Item, entries: readonly Entry[]): Measured['limit'] {
  const own = entries[0]
  let best: { name: string; perSecond: number; fraction: Summary } | undefined
  for (const limit of item.case.limits) {
    const e = entries.find((one) => one.contender === limitName(limit))
    if (!e || e.absent !== undefined || e.work === undefined || !own || own.absent !== undefined) continue
    const { work } = e
    const least = e.samples.map((ns) => (limit.amount * ns) / work)
    const fraction = ratio(own.samples, least)
    if (!best || fraction.median > best.fraction.median)
      best = { name: limitName(limit), perSecond: (work / summarize(e.samples).median) * 1e9, fraction }
  }
  return best && { name: best.name, perSecond: rounded(best.perSecond), fraction: rounded(best.fraction.median) }
}

export const resultsFolder = join(root, 'bench', 'results')

/** Writes one file per family and cap, and a plot beside it. */
export async function writeResults(
  all: readonly Measured[],
  versions: Readonly<Record<string, string>>,
  rounds: number,
): Promise<string[]> {
  mkdirSync(resultsFolder, { recursive: true })
  const written: string[] = []
  for (const key of new Set(all.map((m) => `${m.family}\n${m.isa}`))) {
    const [family = '', isa = ''] = key.split('\n')
    const cases = all.filter((m) => m.family === family && m.isa === isa)
    const file: ResultFile = { family, isa, date: new Date().toISOString(), machine: machine(), versions, rounds, cases }
    const name = join(resultsFolder, `${family}-${isa}`)
    writeFileSync(`${name}.json`, resultJson(file))
    writeFileSync(`${name}.svg`, await familyPlot(file))
    written.push(`${name}.json`, `${name}.svg`)
  }
  return written
}

/** One line per figure: readable, and small in a diff. */
export function resultJson(file: ResultFile | readonly Measured[]): string {
  const text = JSON.stringify(file, null, 1)
  return `${text.replace(/\{\n\s+"contender"[^}]*\}/g, (one) => one.replace(/\n\s*/g, ' '))}\n`
}

export function readResults(): ResultFile[] {
  if (!existsSync(resultsFolder)) return []
  return readdirSync(resultsFolder)
    .filter((name) => /^[a-z0-9_]+-[a-z0-9]+\.json$/.test(name))
    .sort()
    .map((name) => JSON.parse(readFileSync(join(resultsFolder, name), 'utf8')) as ResultFile)
    .filter((file) => Array.isArray(file.cases))
}
