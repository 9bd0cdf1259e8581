/**
 * Files that are old or new, never between: written to a temporary beside the target, every short write continued, synced, its size
 * compared with what was written, then renamed over the target and the directory synced.
 *
 * Contract: an error (`ERR_IO` with `errno`) that says `committed: false` means that the target is as it was and the temporary is gone.
 * Only a failing sync of the directory, which comes after the rename, says `committed: true`: the new file stands, but a power failure
 * may still undo the rename. A symbolic link is followed and its target replaced; mode and owner of a replaced file are kept. What
 * processes that were killed left in the directory is removed by the next write there.
 */
import { constants, mkdirSync } from 'node:fs'
import path from 'node:path'
import { IoError, OptionError, ioError } from '../base/errors.js'
import { MAX_TRANSFER, errnoOf, nodeIo, retryInterrupted, type FileIo, type FileStat } from './io.js'
import { isOrphan, tempName } from './temp-names.js'

export interface WriteOptions {
  /** The file system to use; tests replace it. */
  readonly io?: FileIo
}

const { O_CREAT, O_EXCL, O_RDONLY, O_WRONLY } = constants

export function checkPath(where: string, file: unknown): asserts file is string {
  if (typeof file !== 'string' || file === '' || file.includes('\0'))
    throw new OptionError('ERR_OPTION', `${where}: a path must be a non-empty string without NUL, got ${JSON.stringify(file)}`)
}

/** Makes a folder, and those around it, where it is not there yet; what is in the way is ERR_IO. */
export function makeFolder(folder: string): void {
  checkPath('write', folder)
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    throw ioError(`write '${folder}'`, folder, error)
  }
}

function failed(file: string, errno: string, message: string, committed = false, cause?: unknown): IoError {
  return new IoError('ERR_IO', `write '${file}': ${errno}: ${message}`, { cause, details: { errno, path: file, committed } })
}

/** The target behind symbolic links, and what is there now. */
function resolveTarget(io: FileIo, file: string): { target: string; existing: FileStat | undefined } {
  let existing: FileStat | undefined
  try {
    existing = io.lstat(file)
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error
    return { target: path.join(io.realpath(path.dirname(path.resolve(file))), path.basename(file)), existing }
  }
  const target = io.realpath(file)
  if (existing.isSymbolicLink()) existing = io.stat(target)
  if (!existing.isFile()) throw failed(file, existing.isDirectory() ? 'EISDIR' : 'EINVAL', 'the target exists and is not a regular file')
  return { target, existing }
}

/** Removes temporaries of dead processes; never an error of its own. */
function removeOrphans(io: FileIo, dir: string): void {
  try {
    for (const name of io.readdir(dir)) if (isOrphan(name)) io.unlink(path.join(dir, name))
  } catch {
    // someone else removed it, or it is not ours to remove
  }
}

/** A file in the making. `commit` puts it in place, `abort` leaves everything as it was. */
export class AtomicFile {
  readonly path: string
  readonly #io: FileIo
  #target = ''
  #temp = ''
  #fd: number | undefined
  #dirFd: number | undefined
  #bytes = 0

  constructor(file: string, options: WriteOptions = {}) {
    checkPath('write', file)
    const io = options.io ?? nodeIo
    this.path = file
    this.#io = io
    try {
      const { target, existing } = resolveTarget(io, file)
      const dir = path.dirname(target)
      removeOrphans(io, dir)
      this.#target = target
      this.#temp = path.join(dir, tempName())
      // The directory is opened first: what could fail later must not fail after the rename.
      if (process.platform !== 'win32') this.#dirFd = io.open(dir, O_RDONLY)
      this.#fd = io.open(this.#temp, O_WRONLY | O_CREAT | O_EXCL, 0o666)
      if (existing) this.#keepOwner(this.#fd, existing)
    } catch (error) {
      this.#discard()
      throw error instanceof IoError ? error : ioError(`write '${file}'`, file, error)
    }
  }

  #keepOwner(fd: number, existing: FileStat): void {
    const now = this.#io.fstat(fd)
    if (now.uid !== existing.uid || now.gid !== existing.gid)
      try {
        this.#io.fchown(fd, existing.uid, existing.gid)
      } catch (error) {
        if (errnoOf(error) !== 'EPERM') throw error // only root may give files away: then the writer owns the new one
      }
    if ((now.mode & 0o777) !== (existing.mode & 0o777)) this.#io.fchmod(fd, existing.mode & 0o777)
  }

  /** Bytes written so far. */
  get position(): number {
    return this.#bytes
  }

  write(chunk: Uint8Array): void {
    this.#run((fd) => {
      for (let done = 0; done < chunk.byteLength;) {
        const ask = Math.min(chunk.byteLength - done, MAX_TRANSFER)
        const wrote = retryInterrupted(() => this.#io.write(fd, chunk, done, ask))
        if (wrote <= 0) throw failed(this.path, 'EIO', `the system wrote 0 of ${ask} bytes`)
        done += wrote
      }
      this.#bytes += chunk.byteLength
    })
  }

  commit(): void {
    this.#run((fd) => {
      const io = this.#io
      retryInterrupted(() => io.fsync(fd))
      const { size } = io.fstat(fd)
      if (size !== this.#bytes) throw failed(this.path, 'EIO', `${this.#bytes} bytes were written, the file has ${size}`)
      this.#fd = undefined
      io.close(fd)
      io.rename(this.#temp, this.#target)
    })
    const dirFd = this.#dirFd
    this.#dirFd = undefined
    if (dirFd === undefined) return
    try {
      retryInterrupted(() => this.#io.fsync(dirFd))
    } catch (cause) {
      const errno = errnoOf(cause)
      if (errno === 'EINVAL' || errno === 'ENOTSUP') return // this file system does not sync directories
      throw failed(this.path, errno ?? 'EIO', 'the file is in place but its directory could not be synced', true, cause)
    } finally {
      this.#closeQuietly(dirFd)
    }
  }

  /** Gives up: the target stays as it was. Harmless after `commit`. */
  abort(): void {
    if (this.#fd !== undefined) this.#discard()
  }

  [Symbol.dispose](): void {
    this.abort()
  }

  #run(step: (fd: number) => void): void {
    if (this.#fd === undefined) throw new OptionError('ERR_OPTION', `write '${this.path}': the file was already committed or aborted`)
    try {
      step(this.#fd)
    } catch (error) {
      this.#discard()
      throw error instanceof IoError ? error : ioError(`write '${this.path}'`, this.path, error)
    }
  }

  #closeQuietly(fd: number | undefined): void {
    if (fd === undefined) return
    try {
      this.#io.close(fd)
    } catch {
      // the descriptor is gone either way
    }
  }

  #discard(): void {
    const fds = [this.#fd, this.#dirFd]
    this.#fd = undefined
    this.#dirFd = undefined
    for (const fd of fds) this.#closeQuietly(fd)
    try {
      if (this.#temp !== '') this.#io.unlink(this.#temp)
    } catch {
      // it was never made, or the disk is gone: the next write here removes it
    }
  }
}

/** Writes a whole file, given in pieces. */
export function writeFileAtomic(file: string, chunks: Uint8Array | Iterable<Uint8Array>, options: WriteOptions = {}): void {
  const out = new AtomicFile(file, options)
  try {
    for (const chunk of chunks instanceof Uint8Array ? [chunks] : chunks) out.write(chunk)
    out.commit()
  } finally {
    out.abort()
  }
}
