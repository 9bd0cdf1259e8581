/**
 * Reading without surprises: only regular files, opened without blocking, the size taken from the descriptor that is read, every
 * read bounded by it. A file that shrinks while it is read is an error, not a shorter result; nothing is mapped into memory (a mapped
 * file that another process truncates ends the process).
 */
import { constants } from 'node:fs'
import { IoError, ModelFormatError, ioError } from '../base/errors.js'
import { checkPath } from './atomic.js'
import { MAX_TRANSFER, nodeIo, retryInterrupted, type FileIo, type FileStat } from './io.js'
import { allocateUnset, limitError, limitsOf, type ReadOptions } from './limits.js'

/** Bytes at known places: a file or a piece of memory. */
export interface ByteSource {
  readonly path: string | undefined
  readonly size: number
  /** A fresh copy of `length` bytes at `offset`; the range must lie inside the source. */
  read(offset: number, length: number): Uint8Array
  /** The same into memory of the caller. */
  readInto(offset: number, into: Uint8Array): void
  close(): void
}

export interface OpenOptions extends ReadOptions {
  /** Refuse a symbolic link in the last part of the path. */
  readonly noFollow?: boolean
  /** Refuse a file that has several names. */
  readonly singleName?: boolean
}

function refuse(file: string, stat: FileStat): void {
  if (stat.isFile()) return
  const errno = stat.isDirectory() ? 'EISDIR' : 'EINVAL'
  throw new IoError('ERR_IO', `read '${file}': ${errno}: only regular files are read`, { details: { errno, path: file, committed: false } })
}

class FileSource implements ByteSource {
  readonly path: string
  readonly size: number
  readonly #io: FileIo
  #fd: number | undefined

  constructor(file: string, options: OpenOptions) {
    checkPath('read', file)
    const io = options.io ?? nodeIo
    this.path = file
    this.#io = io
    try {
      refuse(file, io.stat(file)) // before opening: opening a device can do things
      const follow = options.noFollow ? (constants.O_NOFOLLOW ?? 0) : 0
      this.#fd = io.open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0) | follow)
      const stat = io.fstat(this.#fd)
      refuse(file, stat) // again: it may have been replaced in between
      if (options.singleName && stat.nlink > 1)
        throw new IoError('ERR_IO', `read '${file}': the file has ${stat.nlink} names (hard links)`, {
          details: { errno: 'EMLINK', path: file, committed: false },
        })
      this.size = stat.size
    } catch (error) {
      this.close()
      throw error instanceof IoError ? error : ioError(`read '${file}'`, file, error)
    }
  }

  read(offset: number, length: number): Uint8Array {
    this.#check(offset, length)
    const bytes = allocateUnset(`read '${this.path}'`, length)
    this.readInto(offset, bytes)
    return bytes
  }

  #check(offset: number, length: number): void {
    if (offset < 0 || length < 0 || offset + length > this.size) throw this.#truncated(offset + length)
  }

  #truncated(end: number): ModelFormatError {
    return new ModelFormatError('ERR_MODEL_FORMAT', `read '${this.path}': the file ends before byte ${end}`, {
      details: { reason: 'truncated', byteOffset: end, path: this.path },
    })
  }

  readInto(offset: number, into: Uint8Array): void {
    this.#check(offset, into.byteLength)
    const fd = this.#fd
    if (fd === undefined)
      throw new IoError('ERR_IO', `read '${this.path}': the file is closed`, {
        details: { errno: 'EBADF', path: this.path, committed: false },
      })
    try {
      for (let done = 0; done < into.byteLength;) {
        const ask = Math.min(into.byteLength - done, MAX_TRANSFER)
        const got = retryInterrupted(() => this.#io.read(fd, into, done, ask, offset + done))
        if (got <= 0) throw this.#truncated(offset + into.byteLength)
        done += got
      }
    } catch (error) {
      throw error instanceof ModelFormatError ? error : ioError(`read '${this.path}'`, this.path, error)
    }
  }

  close(): void {
    const fd = this.#fd
    this.#fd = undefined
    if (fd === undefined) return
    try {
      this.#io.close(fd)
    } catch {
      // nothing was written: there is nothing to lose
    }
  }
}

/** Opens a regular file for reading; the caller closes it. */
export function openSource(file: string, options: OpenOptions = {}): ByteSource {
  return new FileSource(file, options)
}

/** Memory as a source. The bytes are not copied: they must not change while the source is in use. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  const check = (offset: number, length: number): void => {
    if (offset < 0 || length < 0 || offset + length > bytes.byteLength)
      throw new ModelFormatError('ERR_MODEL_FORMAT', `read: the data ends before byte ${offset + length}`, {
        details: { reason: 'truncated', byteOffset: offset + length },
      })
  }
  return {
    path: undefined,
    size: bytes.byteLength,
    read: (offset, length) => {
      check(offset, length)
      return new Uint8Array(bytes.subarray(offset, offset + length)) // a plain copy, also of a Buffer
    },
    readInto: (offset, into) => {
      check(offset, into.byteLength)
      into.set(bytes.subarray(offset, offset + into.byteLength))
    },
    close: () => undefined,
  }
}

/** Runs `use` on an opened file and closes it in any case. */
export function withSource<T>(file: string, options: OpenOptions, use: (source: ByteSource) => T): T {
  const source = openSource(file, options)
  try {
    return use(source)
  } finally {
    source.close()
  }
}

/** The bytes of a regular file of at most `maxBytes`. */
export function readRegularFile(file: string, options: OpenOptions & { readonly maxBytes?: number } = {}): Uint8Array {
  const max = options.maxBytes ?? limitsOf(options).fileBytes
  return withSource(file, options, (source) => {
    if (source.size > max) throw limitError(`read '${file}'`, 'fileBytes', source.size, max)
    return source.read(0, source.size)
  })
}
