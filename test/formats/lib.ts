/** Help for the tests of formats: golden files, temporary folders, a file system that fails on demand. */
import fc from 'fast-check'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { bytesPerElement, dtypes, type RawTensor } from '../../ts/base/dtype.js'
import { isTersorError, type TersorError } from '../../ts/base/errors.js'
import { sizeOf } from '../../ts/base/shape.js'
import { nodeIo, type FileIo } from '../../ts/formats/io.js'
import { afterThis } from '../clean-up.js'

export const goldenDir = path.join(import.meta.dirname, 'golden')
export const golden = (name: string): string => path.join(goldenDir, name)
export const goldenBytes = (name: string): Uint8Array => new Uint8Array(fs.readFileSync(golden(name)))

/** A folder that is removed when the tests of the file are through. */
export function tempDir(): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-test-'))
  afterThis('file', () => fs.rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** The Tersor error that `run` throws; anything else, also nothing, fails the test. */
export function errorOf(run: () => unknown): TersorError {
  try {
    run()
  } catch (error) {
    if (isTersorError(error)) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

export async function rejectionOf(run: () => Promise<unknown>): Promise<TersorError> {
  try {
    await run()
  } catch (error) {
    if (isTersorError(error)) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

export function errno(code: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: injected`), { code })
}

export type IoName = keyof FileIo

/** Counts the calls of `ops` (default all) and throws `code` at the `failAt`th, from 1. */
export function failingIo(
  failAt: number,
  code: string,
  ops?: readonly IoName[],
  base: FileIo = nodeIo,
): { io: FileIo; calls: () => number } {
  let calls = 0
  const table = base as unknown as Record<IoName, (...args: never[]) => unknown>
  const io = { ...table }
  for (const name of ops ?? (Object.keys(base) as IoName[])) {
    const real = table[name]
    io[name] = (...args) => {
      if (++calls === failAt) throw errno(code)
      return real(...args)
    }
  }
  return { io: io as unknown as FileIo, calls: () => calls }
}

export const filesIn = (dir: string): string[] => fs.readdirSync(dir).sort()

/** Any tensor of up to four small dimensions. */
export const anyTensor: fc.Arbitrary<RawTensor> = fc
  .record({ dtype: fc.constantFrom(...dtypes), shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }) })
  .chain(({ dtype, shape }) => {
    const bytes = sizeOf(shape) * bytesPerElement(dtype)
    const byte = dtype === 'bool' ? fc.integer({ min: 0, max: 1 }) : fc.integer({ min: 0, max: 255 })
    return fc.array(byte, { minLength: bytes, maxLength: bytes }).map((data): RawTensor => ({ dtype, shape, data: Uint8Array.from(data) }))
  })
