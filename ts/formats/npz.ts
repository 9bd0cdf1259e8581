/** NumPy .npz files: a zip of .npy files, one per tensor. Written by fflate with a fixed date (same tensors, same bytes); read by zip.ts. */
import { zipSync, type Zippable } from 'fflate'
import type { RawTensor } from '../base/dtype.js'
import { OptionError } from '../base/errors.js'
import { writeFileAtomic, type WriteOptions } from './atomic.js'
import { bytesSource, withSource, type ByteSource } from './files.js'
import { formatContext, formatError, limitError, type FormatContext, type ReadOptions } from './limits.js'
import { encodeNpy, readNpyFrom } from './npy.js'
import { readZipEntries, readZipEntry } from './zip.js'

const SUFFIX = '.npy'

function readNpzFrom(ctx: FormatContext, source: ByteSource): Map<string, RawTensor> {
  const tensors = new Map<string, RawTensor>()
  for (const entry of readZipEntries(ctx, source)) {
    const name = entry.name.slice(0, -SUFFIX.length)
    if (!entry.name.endsWith(SUFFIX) || name === '')
      throw formatError(ctx, 'name', `entry ${JSON.stringify(entry.name.slice(0, 200))} is not an .npy file`, {
        byteOffset: entry.headerOffset,
      })
    if (entry.size > ctx.limits.tensorBytes) throw limitError(ctx.where, 'tensorBytes', entry.size, ctx.limits.tensorBytes)
    const inner = { ...ctx, where: `${ctx.where}: tensor ${JSON.stringify(name.slice(0, 200))}` }
    tensors.set(name, readNpyFrom(inner, bytesSource(readZipEntry(ctx, source, entry))))
  }
  return tensors
}

export function readNpz(file: string, options: ReadOptions = {}): Map<string, RawTensor> {
  return withSource(file, options, (source) => readNpzFrom(formatContext('npz', file, options), source))
}

export function parseNpz(bytes: Uint8Array, options: ReadOptions = {}): Map<string, RawTensor> {
  return readNpzFrom(formatContext('npz', undefined, options), bytesSource(bytes))
}

export interface NpzWriteOptions extends WriteOptions {
  /** Deflate the entries; default false, as `numpy.savez`. */
  readonly compress?: boolean
}

export function encodeNpz(tensors: Iterable<readonly [string, RawTensor]>, options: NpzWriteOptions = {}): Uint8Array {
  const entries: Zippable = Object.create(null) as Zippable
  const mtime = new Date(1980, 0, 1) // read back in local time: the same two bytes in every time zone
  for (const [name, tensor] of tensors) {
    if (name === '' || name.includes('\0')) throw new OptionError('ERR_OPTION', `npz: tensor name ${JSON.stringify(name)} is not allowed`)
    if (name + SUFFIX in entries) throw new OptionError('ERR_OPTION', `npz: tensor ${JSON.stringify(name)} was given twice`)
    entries[name + SUFFIX] = [encodeNpy(tensor), { level: options.compress ? 6 : 0, mtime }]
  }
  return zipSync(entries)
}

export function writeNpz(file: string, tensors: Iterable<readonly [string, RawTensor]>, options: NpzWriteOptions = {}): void {
  writeFileAtomic(file, encodeNpz(tensors, options), options)
}
