/**
 * Names of temporary files that tell who made them, so that what a killed process left behind can be removed without ever touching
 * the file of a living one: `.tersor-<host>-<pid>-<start>-<random>.tmp`. `host` also separates containers that share a volume (their
 * process ids mean nothing to each other), `start` is the process's start time, so that a reused id is not mistaken for its owner.
 */
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import os from 'node:os'

const pattern = /^\.tersor-([0-9a-f]{8})-([0-9]+)-([0-9]+)-[0-9a-f]{16}\.tmp$/

let host: string | undefined

function hostTag(): string {
  let space = ''
  try {
    space = fs.readlinkSync('/proc/self/ns/pid')
  } catch {
    // not Linux: the host name alone
  }
  host ??= createHash('sha256').update(`${os.hostname()}\0${space}`).digest('hex').slice(0, 8)
  return host
}

/** Start time of a process in clock ticks, '0' where the system does not tell, undefined when there is no such process. */
function startOf(pid: number): string | undefined {
  if (process.platform === 'linux')
    try {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1')
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '0'
    } catch (error) {
      if (fs.existsSync('/proc/self/stat')) return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : '0'
    }
  try {
    process.kill(pid, 0)
    return '0'
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH' ? undefined : '0'
  }
}

export function tempName(): string {
  return `.tersor-${hostTag()}-${process.pid}-${startOf(process.pid) ?? '0'}-${randomBytes(8).toString('hex')}.tmp`
}

/** True for a temporary of this host whose process is gone. */
export function isOrphan(name: string): boolean {
  const match = pattern.exec(name)
  if (!match || match[1] !== hostTag()) return false
  const start = startOf(Number(match[2]))
  return start === undefined || (start !== '0' && match[3] !== '0' && start !== match[3])
}
