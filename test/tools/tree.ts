/** A throw-away source tree for the tests of the checks. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll } from 'vitest'

const trees: string[] = []
// Here, not where a tree is made: inside a test nothing can be left for later.
afterAll(() => trees.forEach((base) => rmSync(base, { recursive: true, force: true })))

export function makeTree(files: Readonly<Record<string, string>>): string {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'tersor-tree-')))
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(base, name)), { recursive: true })
    writeFileSync(join(base, name), text)
  }
  trees.push(base)
  return base
}
