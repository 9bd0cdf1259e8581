/** `tersor devices`: the kernels that run under each cap. */
import { describe, expect, it } from 'vitest'
import { isa, kernelRows } from '../../ts/native/devices.js'
import { json, succeeds, tersor } from './lib.js'

interface Kernel {
  readonly family: string
  readonly variant: string
  readonly function: string
  readonly needs: string
  readonly chosen: boolean
  readonly usable: boolean
  readonly passedOver: string
  readonly state: string
}
interface Devices {
  readonly machine: { readonly isa: string; readonly threads: number }
  readonly isa: { readonly cap: string; readonly levels: readonly { name: string; detected: boolean; allowed: boolean }[] }
  readonly kernels: readonly Kernel[]
}

const { levels } = isa()
const detected = levels.filter((l) => l.detected).map((l) => l.name)
const missing = levels.filter((l) => !l.detected).map((l) => l.name)
const chosenOf = (d: Devices): string[] => d.kernels.filter((k) => k.chosen).map((k) => k.function)
const runs = new Map<string, Promise<Devices>>()
/** What a process under that cap says; asked once. */
function under(cap: string): Promise<Devices> {
  const run = runs.get(cap) ?? json<Devices>(['devices'], { env: { TERSOR_ISA: cap } })
  runs.set(cap, run)
  return run
}

describe.concurrent('TERSOR_ISA', () => {
  it.each(detected)('%s: nothing above it runs, and the best below it does', async (cap) => {
    const d = await under(cap)
    expect(d.isa.cap).toBe(cap)
    expect(d.machine.isa).toBe(cap)
    const allowed = d.isa.levels.filter((l) => l.allowed).map((l) => l.name)
    expect(allowed).toContain(cap)
    expect(allowed).toContain('scalar')
    const families = new Map<string, Kernel[]>()
    for (const k of d.kernels) families.set(`${k.family}/${k.variant}`, [...(families.get(`${k.family}/${k.variant}`) ?? []), k])
    for (const [name, rows] of families) {
      // A variant may have rows for some levels only: then another variant of its family does its work.
      expect(rows.filter((k) => k.chosen).length, name).toBe(rows.some((k) => k.usable) ? 1 : 0)
      for (const k of rows) {
        expect(k.usable, k.function).toBe(allowed.includes(k.needs))
        const wanted = k.chosen
          ? 'runs'
          : k.usable
            ? k.passedOver || 'a better row is available'
            : detected.includes(k.needs)
              ? `capped by TERSOR_ISA=${cap}`
              : `this processor lacks ${k.needs}`
        expect(k.state, k.function).toBe(wanted)
      }
      // Rows stand best first: what runs is the first that may.
      expect(rows.find((k) => k.usable && !k.passedOver)?.chosen, name).toBe(rows.some((k) => k.usable) ? true : undefined)
    }
  })

  it('each level changes which kernels run', async () => {
    const all = await Promise.all(detected.map(under))
    const scalar = chosenOf(all[detected.indexOf('scalar')]!)
    expect(scalar.every((name) => name.endsWith('_scalar'))).toBe(true)
    const sets = all.map((d) => chosenOf(d).join(' '))
    // Every level that some family has a row for gives its own set.
    const used = new Set(
      kernelRows()
        .filter((r) => !r.passedOver)
        .map((r) => r.needs),
    )
    expect(new Set(sets).size).toBe(detected.filter((name) => used.has(name)).length)
  })

  it('without it, or empty: as this process without a cap', async () => {
    const free = await json<Devices>(['devices'], { alone: true })
    const empty = await under('')
    expect(free.isa.cap).toBe('')
    expect(chosenOf(empty)).toEqual(chosenOf(free))
    if (!isa().cap) expect(chosenOf(free)).toEqual(kernelRows().flatMap((r) => (r.chosen ? [r.function] : [])))
  })

  it.each(['foo', 'AVX2 ', '../avx2', ...missing])('%j is ERR_ISA and names what there is', async (cap) => {
    const run = await tersor(['devices', '--json'], { env: { TERSOR_ISA: cap } })
    expect(run.code).toBe(1)
    const { error } = JSON.parse(run.stdout) as { error: { code: string; message: string } }
    expect(error.code).toBe('ERR_ISA')
    expect(error.message).toContain(cap)
    expect(error.message).toContain(detected.join(', '))
    expect(run.stderr).toMatch(/^error ERR_ISA: /)
  })
})

it('prints tables for people; --verbose every row and why', async () => {
  const [short, long] = await Promise.all([succeeds(['devices']), succeeds(['devices', '--verbose'], { env: { TERSOR_ISA: 'scalar' } })])
  const chosen = kernelRows().filter((r) => r.chosen)
  if (!isa().cap) for (const r of chosen) expect(short.stdout).toContain(` ${r.function} `)
  expect(short.stdout).not.toContain('a better row is available')
  for (const r of kernelRows()) expect(long.stdout).toContain(` ${r.function} `)
  expect(long.stdout).toContain('capped by TERSOR_ISA=scalar')
  expect(long.stdout).toMatch(/1 thread \(TERSOR_THREADS\)/)
})

it('a reader that goes away is no error', async () => {
  const { code, stdout, stderr } = await tersor(['devices', '--verbose'], { shell: '"$@" | head -1; exit "${PIPESTATUS[0]}"' })
  expect({ code, stderr, lines: stdout.split('\n').length }).toEqual({ code: 0, stderr: '', lines: 2 })
})
