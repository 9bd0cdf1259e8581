/** A model with a job and labelled data for it. */
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { cacheDir, fetchPackage, type KnownPackage } from '../../../ts/data/index.js'
import type { Measured } from './figures.js'

export interface TaskOptions {
  /** Examples to count. */
  readonly count?: number
  /** Which compressed models. */
  readonly only?: RegExp
  readonly log: (row: Measured) => void
}

export interface Task {
  readonly name: string
  readonly summary: string
  readonly run: (options: TaskOptions) => Promise<readonly Measured[]>
}

export const bytesOf = (file: string): number => statSync(file).size

/** Runs `use` with a folder that is gone afterwards. */
export async function inFolder<T>(use: (folder: string) => Promise<T> | T): Promise<T> {
  const folder = mkdtempSync(path.join(tmpdir(), 'tersor-accuracy-'))
  try {
    return await use(folder)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** A package with all of its files: the library unpacks only what it reads itself. */
export const fetchWhole = ({ include: _, ...pkg }: KnownPackage): Promise<string> =>
  fetchPackage(pkg, { cacheDir: path.join(cacheDir(), 'whole') })
