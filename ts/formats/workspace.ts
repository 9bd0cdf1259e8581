/**
 * A directory that one run works in at a time: made if missing, with a lock that the death of its process opens.
 *
 * The lock is a file whose name tells its owner (temp-names.ts): what a killed process left is recognised and removed, a living owner (in this
 * process too) is ERR_BUSY. Two that come at the same instant may both be refused, never both let in. Nothing but files asked for by
 * name is ever written or removed here.
 */
import fs from 'node:fs'
import path from 'node:path'
import { BusyError, ioError } from '../base/errors.js'
import { checkPath } from './atomic.js'
import { isOrphan, tempName } from './temp-names.js'

const asTemp = (lock: string): string => lock.replace(/\.lock$/, '.tmp')
const isLock = (name: string): boolean => name.startsWith('.tersor-') && name.endsWith('.lock')

/** The path of a file in a folder that is made where it is missing. */
export function fileInFolder(where: string, dir: string, name: string): string {
  checkPath(where, dir)
  try {
    fs.mkdirSync(dir, { recursive: true })
  } catch (error) {
    throw ioError(`${where} '${dir}'`, dir, error)
  }
  return path.join(dir, name)
}

export class Workspace {
  readonly dir: string
  readonly #lock: string

  /** Makes the directory and takes the lock. */
  constructor(dir: string) {
    checkPath('checkpoint', dir)
    this.dir = dir
    this.#lock = tempName().replace(/\.tmp$/, '.lock')
    try {
      fs.mkdirSync(dir, { recursive: true })
      fs.closeSync(fs.openSync(this.path(this.#lock), 'wx'))
    } catch (error) {
      throw ioError(`checkpoint '${dir}'`, dir, error)
    }
    const other = this.#otherOwner()
    if (other === undefined) return
    this.close()
    throw new BusyError('ERR_BUSY', `checkpoint '${dir}': another run is using this directory (${other})`, { details: { path: dir } })
  }

  #otherOwner(): string | undefined {
    for (const name of fs.readdirSync(this.dir)) {
      if (!isLock(name) || name === this.#lock) continue
      if (!isOrphan(asTemp(name))) return name
      fs.rmSync(this.path(name), { force: true })
    }
    return undefined
  }

  path(name: string): string {
    return path.join(this.dir, name)
  }

  list(): string[] {
    return fs.readdirSync(this.dir)
  }

  /** Removes a file that may be gone already. */
  remove(name: string): void {
    fs.rmSync(this.path(name), { force: true })
  }

  /** Opens the lock. */
  close(): void {
    fs.rmSync(this.path(this.#lock), { force: true })
  }
}
