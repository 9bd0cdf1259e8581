/**
 * The file operations that Tersor uses, as a table: production code runs on `nodeIo`, tests put in one that fails the Nth call,
 * writes single bytes or reports a full disk. Synchronous on purpose: long jobs run in workers, and a save that has returned is on disk.
 */
import fs from 'node:fs'

export interface FileStat {
  isFile(): boolean
  isSymbolicLink(): boolean
  isDirectory(): boolean
  readonly size: number
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly nlink: number
  readonly mtimeMs: number
}

export interface FileIo {
  open(path: string, flags: number, mode?: number): number
  close(fd: number): void
  read(fd: number, into: Uint8Array, offset: number, length: number, position: number): number
  write(fd: number, from: Uint8Array, offset: number, length: number): number
  fsync(fd: number): void
  fstat(fd: number): FileStat
  fchmod(fd: number, mode: number): void
  fchown(fd: number, uid: number, gid: number): void
  stat(path: string): FileStat
  lstat(path: string): FileStat
  realpath(path: string): string
  readdir(path: string): string[]
  rename(from: string, to: string): void
  unlink(path: string): void
}

export const nodeIo: FileIo = {
  open: (path, flags, mode) => fs.openSync(path, flags, mode),
  close: (fd) => fs.closeSync(fd),
  read: (fd, into, offset, length, position) => fs.readSync(fd, into, offset, length, position),
  write: (fd, from, offset, length) => fs.writeSync(fd, from, offset, length),
  fsync: (fd) => fs.fsyncSync(fd),
  fstat: (fd) => fs.fstatSync(fd),
  fchmod: (fd, mode) => fs.fchmodSync(fd, mode),
  fchown: (fd, uid, gid) => fs.fchownSync(fd, uid, gid),
  stat: (path) => fs.statSync(path),
  lstat: (path) => fs.lstatSync(path),
  realpath: (path) => fs.realpathSync.native(path),
  readdir: (path) => fs.readdirSync(path),
  rename: (from, to) => fs.renameSync(from, to),
  unlink: (path) => fs.unlinkSync(path),
}

/** One call of read or write moves at most this much: the kernel's own limit is just under 2 GiB. */
export const MAX_TRANSFER = 2 ** 30

/** Repeats a call that a signal interrupted. */
export function retryInterrupted<T>(call: () => T): T {
  for (;;) {
    try {
      return call()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EINTR') throw error
    }
  }
}

export function errnoOf(error: unknown): string | undefined {
  const code = (error as NodeJS.ErrnoException | undefined)?.code
  return typeof code === 'string' ? code : undefined
}
