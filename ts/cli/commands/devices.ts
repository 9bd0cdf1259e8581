/** `tersor devices`: what this machine can do and which kernels run on it. */
import type { Command } from 'commander'
import { deviceLibrary, deviceProblem, devices, type Device } from '../../native/device.js'
import { isa, kernelRows, memory, type NativeIsa, type NativeRow } from '../../native/devices.js'
import { formatBytes } from '../../report/format.js'
import { machineFacts } from '../../report/machine.js'
import { runCommand } from '../ui.js'

function whyNot(row: NativeRow, { cap, withdrawn }: NativeIsa): string {
  if (row.chosen) return 'runs'
  if (row.usable) return row.passedOver || 'a better row is available'
  if (withdrawn && row.needs === 'amx') return withdrawn
  return row.detected ? `capped by TERSOR_ISA=${cap}` : `this processor lacks ${row.needs}`
}

/** "NVIDIA H200, compute capability 9.0, 132 multiprocessors, 139 GiB (138 GiB free), driver 580.65" */
export function describeDevice(d: Device): string {
  const info = d.info()
  if (!info) return d.name
  const capability = `compute capability ${Math.floor(info.sm / 10)}.${info.sm % 10}`
  const memory = `${formatBytes(info.memoryBytes)} (${formatBytes(info.freeBytes)} free)`
  return `${info.name}, ${capability}, ${info.multiprocessors} multiprocessors, ${memory}${info.driver ? `, driver ${info.driver}` : ''}`
}

export function registerDevices(program: Command): void {
  program
    .command('devices')
    .description('show instruction sets, threads, memory, the kernel chosen for each family, and CUDA devices')
    .option('-v, --verbose', 'every kernel row, and why the others were not chosen')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ tersor devices --verbose\n  $ TERSOR_ISA=avx2 tersor devices --verbose    # cap the kernels at AVX2\n  $ TERSOR_THREADS=1 tersor devices --json',
    )
    .action((options: { verbose?: boolean; json?: boolean }) =>
      runCommand(options.json ?? false, async (ui) => {
        const machine = machineFacts()
        const sets = isa()
        const rows = kernelRows()
        const m = memory()
        ui.say(
          `${machine.cpu}, ${machine.cores} cores; ${machine.threads} ${machine.threads === 1 ? 'thread' : 'threads'} (TERSOR_THREADS)`,
        )
        ui.say(`native memory budget ${formatBytes(m.budgetBytes)} (TERSOR_MAX_BYTES)`)
        ui.say(
          `device cpu: ${sets.levels
            .filter((l) => l.allowed)
            .map((l) => l.name)
            .join(', ')}${sets.cap ? ` (capped by TERSOR_ISA=${sets.cap})` : ''}`,
        )
        ui.table({
          head: ['level', 'processor has it', 'used'],
          numeric: [false, false, false],
          rows: sets.levels.map((l) => [l.name, l.detected ? 'yes' : 'no', l.allowed ? 'yes' : 'no']),
        })
        const library = deviceLibrary()
        const why = deviceProblem()
        const found = devices().filter((d) => d.kind === 'cuda')
        if (library) ui.say(`CUDA library ${library.path} (${library.build}), ${library.rows.length} kernels`)
        for (const d of found) ui.say(`device ${d.name}: ${describeDevice(d)}`)
        if (why !== undefined) ui.say(`no CUDA device: ${why}`)
        if (library && options.verbose)
          ui.table({
            head: ['op', 'element types'],
            numeric: [false, false],
            rows: library.rows.map((row) => row.split(/\s+(.*)/s).slice(0, 2)),
          })
        const shown = options.verbose ? rows : rows.filter((r) => r.chosen)
        ui.table({
          head: ['family', 'variant', 'kernel', 'needs', ...(options.verbose ? ['state'] : [])],
          numeric: [false, false, false, false, false],
          rows: shown.map((r) => [r.family, r.variant, r.function, r.needs, ...(options.verbose ? [whyNot(r, sets)] : [])]),
        })
        const cuda = {
          ...(library ? { library } : {}),
          ...(why === undefined ? {} : { why }),
          devices: found.map((d) => ({ device: d.name, ...d.info(), memory: d.memory() })),
        }
        ui.result({ machine, isa: sets, memory: m, cuda, kernels: rows.map((r) => ({ ...r, state: whyNot(r, sets) })) })
        await Promise.resolve()
      }),
    )
}
