/** What the tests of loaders share. The workers are those of the build (dist). */
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as data from '../../ts/data/index.js'
import { numberDataset } from '../../ts/data/index.js'
import { afterThis } from '../clean-up.js'
import { tempDir } from '../formats/lib.js'

export const root = path.join(import.meta.dirname, '..', '..')
export const esm = path.join(root, 'dist', 'esm', 'data', 'index.js')
export const cjs = path.join(root, 'dist', 'cjs', 'data', 'index.js')
export const built = (await import(pathToFileURL(esm).href)) as typeof data

export const keep = <T extends { close(): void }>(loader: T): T => {
  afterThis('test', () => loader.close())
  return loader
}

export const images = numberDataset({
  name: 'images',
  features: Uint8Array.from({ length: 37 * 16 }, (_, i) => (i * 7) % 256),
  scale: 1 / 255,
  inputShape: [1, 4, 4],
  labels: Int32Array.from({ length: 37 }, (_, i) => i % 3),
  classes: ['a', 'b', 'c'],
})

export const take = async (loader: { next(): Promise<unknown> }, n: number): Promise<unknown[]> => {
  const out: unknown[] = []
  for (let i = 0; i < n; i++) out.push(await loader.next())
  return out
}
export const write = (name: string, content: string | Uint8Array): string => {
  const file = path.join(tempDir(), name)
  fs.writeFileSync(file, content)
  return file
}
export const withMap = { crop: { padding: 1 }, flip: 0.5, mixup: {} }
