/** Facts about the machine that a measurement was made on. */
import { cpus, release, totalmem, type } from 'node:os'
import { isa, threads } from '../native/devices.js'
import { VERSION } from '../base/version.js'
import type { MachineFacts } from './types.js'

export function machineFacts(): MachineFacts {
  const levels = isa().levels.filter((l) => l.allowed)
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    threads: threads(),
    isa: levels[levels.length - 1]?.name ?? 'scalar',
    memoryGiB: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    os: `${type()} ${release()}`,
    node: process.version,
    tersor: VERSION,
  }
}
