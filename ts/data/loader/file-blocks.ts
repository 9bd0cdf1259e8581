/** Reading files in blocks of rows: what a reader is, the blocks used last, and the check that a file is still the same. */
import { statSync } from 'node:fs'
import { DataError, ioError } from '../../base/errors.js'
import type { FileStamp, Sample } from './contract.js'

export interface SampleReader {
  /** A sample whose `x` is the caller's to change. */
  read(index: number): Sample
  /** Writes the numbers of a sample into a batch and gives its label: a shorter way where all samples have one shape. */
  fill?(index: number, out: Float32Array): number
  close(): void
}

export function stampOf(file: string): FileStamp {
  try {
    const { size, mtimeMs } = statSync(file)
    return { path: file, bytes: size, modified: mtimeMs }
  } catch (error) {
    throw ioError(`read '${file}'`, file, error)
  }
}

/** ERR_DATA when a file is no longer what it was when it was looked at first. */
export function checkStamp(name: string, stamp: FileStamp): void {
  const now = stampOf(stamp.path)
  if (now.bytes !== stamp.bytes || now.modified !== stamp.modified)
    throw new DataError('ERR_DATA', `${name}: the file changed while it was in use (${stamp.bytes} bytes, now ${now.bytes})`, {
      details: { path: stamp.path, reason: 'changed' },
    })
}

/** The blocks used last. */
export class BlockCache<T> {
  readonly #kept = new Map<number, T>()
  constructor(
    private readonly capacity: number,
    private readonly load: (block: number) => T,
  ) {}

  get(block: number): T {
    const found = this.#kept.get(block) ?? this.load(block)
    this.#kept.delete(block)
    this.#kept.set(block, found)
    if (this.#kept.size > this.capacity) this.#kept.delete(this.#kept.keys().next().value!)
    return found
  }
}
