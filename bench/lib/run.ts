/** A run: the chosen cases under each cap and number of threads, all contenders of a case interleaved. */
import { suite, type Contender, type Progress } from '../../ts/bench/index.js'
import type { Case, Family, Limit, Part } from '../cases/case.js'
import { ContenderPool } from './contenders.js'
import type { Job } from './protocol.js'
import { measured, type Measured } from './results.js'

export interface Selection {
  readonly families: readonly Family[]
  readonly threads: readonly number[]
  readonly isas: readonly string[]
  /** Regular expression over "family: case". */
  readonly pattern?: RegExp
  readonly rare: boolean
  /** Under other caps than this one, only families that caps matter to. */
  readonly fullIsa?: string
  /** The folder of another revision, measured beside Tersor in place of the rivals. */
  readonly base?: string
}

/** One case under one cap with one number of threads. */
export interface Item {
  readonly name: string
  readonly family: Family
  readonly case: Case
  readonly isa: string
  readonly threads: number
}

export function itemsOf(selection: Selection): Item[] {
  const items: Item[] = []
  for (const isa of selection.isas)
    for (const family of selection.families.filter((f) => f.capsMatter || (selection.fullIsa ?? isa) === isa))
      for (const c of family.cases)
        for (const threads of selection.threads) {
          const name = `${family.name}: ${c.name}`
          const isNamed = selection.pattern?.test(name) ?? false
          if (selection.pattern ? !isNamed : c.rare && !selection.rare) continue
          if (!(c.isas?.includes(isa) ?? true) || !(c.threads?.includes(threads) ?? true)) continue
          items.push({ name: `${name} · ${isa} · ${threads}T`, family, case: c, isa, threads })
        }
  return items
}

/** Peak memory of a contender in a case. */
export interface Peak {
  /** By which its resident memory grew at most. */
  readonly bytes: number
  /** Of tensors alone, where it counts them. */
  readonly tensors?: number
}

export interface RunSettings {
  readonly rounds: number
  readonly ms?: number
  readonly budgetMs: number
  readonly signal?: AbortSignal
  readonly onProgress?: (p: Progress) => void
  readonly onMeasured?: (m: Measured) => void
}

export interface RunResult {
  readonly measured: readonly Measured[]
  readonly versions: Readonly<Record<string, string>>
  readonly aborted: boolean
}

export async function runBench(selection: Selection, settings: RunSettings): Promise<RunResult> {
  const pool = new ContenderPool(selection.base)
  const done: Measured[] = []
  const peaks = new Map<string, Peak>() // of the case in progress
  try {
    const result = await suite<Item>({
      name: 'bench',
      cases: itemsOf(selection),
      contenders: (item) => {
        peaks.clear()
        return contendersOf(item, pool, selection, settings, peaks)
      },
    }).run({
      rounds: settings.rounds,
      budgetMs: settings.budgetMs,
      ...(settings.signal ? { signal: settings.signal } : {}),
      ...(settings.onProgress ? { onProgress: settings.onProgress } : {}),
      onResult: (r) => {
        const one = measured(r.case as Item, r.entries, peaks)
        done.push(one)
        settings.onMeasured?.(one)
      },
    })
    return { measured: done, versions: pool.versions, aborted: result.aborted }
  } finally {
    await pool.close()
  }
}

/** With a base revision: only Tersor's parts, each followed by the same of the base. */
function partsOf(item: Item, base: boolean): Part[] {
  const all = item.case.parts
  if (!base) return [...all]
  return all.filter((p) => p.contender === 'tersor').flatMap((p) => [p, { ...p, contender: 'base' }])
}

function contendersOf(
  item: Item,
  pool: ContenderPool,
  selection: Selection,
  settings: RunSettings,
  peaks: Map<string, Peak>,
): Contender<Item>[] {
  const parts = partsOf(item, selection.base !== undefined)
  const limits = selection.base === undefined ? item.case.limits : []
  return [
    ...parts.map((part, slot) =>
      contender(titleOf(part, pool), part.contender, { ...item.case.params, ...part.params }, part.kernel, slot),
    ),
    ...limits.map((limit, i) => contender(limitName(limit), 'limits', limit.params ?? {}, limit.kernel, i)),
  ]

  function contender(name: string, who: string, params: Job['params'], kernel: string, slot: number): Contender<Item> {
    return {
      name,
      prepare: async () => {
        if (slot === 0) await pool.close(item.isa) // those of the cap before
        const started = await pool.get(who, item.isa)
        const { child } = started
        if (!child) return { unsupported: `absent: ${started.absent}` }
        const job = { kernel, threads: item.threads, isa: item.isa, params }
        if (item.case.memory && who !== 'limits') {
          const own = (await pool.fresh(who, item.isa)).child
          const { peak, tensors } = (await own?.prepare(0, job)) ?? {}
          own?.close()
          if (peak) peaks.set(name, { bytes: peak, ...(tensors ? { tensors } : {}) })
        }
        const reply = await child.prepare(slot, job)
        if (reply.unsupported !== undefined) return { unsupported: reply.unsupported }
        const ms = settings.ms ?? item.case.ms
        return {
          ...(reply.check === undefined ? {} : { check: reply.check }),
          ...(reply.work === undefined ? {} : { work: reply.work }),
          sample: async (usual) => {
            // Pools of threads are slower to get going.
            const ns = await child.sample(slot, ms ?? (item.threads > 1 ? 2 * usual : usual))
            if (item.threads > 1) await child.settled()
            return ns
          },
          close: () => child.release(),
        }
      },
    }
  }
}

export const limitName = (limit: Limit): string =>
  `limit: ${limit.kernel.slice('limit.'.length)}${limit.params?.span ? ` ${limit.params.span}` : ''}`
const titleOf = (part: Part, pool: ContenderPool): string => `${pool.title(part.contender)}${part.label ? ` ${part.label}` : ''}`
