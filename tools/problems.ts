/** What the checks share: the root, folder walks, and how a check reports and exits. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = join(dirname(fileURLToPath(import.meta.url)), '..')

/** Paths of all files below `folder` (relative to `base`, with '/'), in byte order; a missing folder has none. */
export function filesBelow(base: string, folder: string): string[] {
  const full = join(base, folder)
  if (!existsSync(full)) return []
  const found = readdirSync(full, { withFileTypes: true }).flatMap((entry) => {
    if (entry.name === 'node_modules') return []
    const name = `${folder}/${entry.name}`
    return entry.isDirectory() ? filesBelow(base, name) : [name]
  })
  return found.sort((a, b) => (a < b ? -1 : 1))
}

export const readText = (base: string, file: string): string => readFileSync(join(base, file), 'utf8')

/** Runs `find` when the file that asks was started itself: prints each problem, exits 1 if there is one. */
export function runAsCheck(moduleUrl: string, find: () => readonly string[]): void {
  if (fileURLToPath(moduleUrl) !== resolve(process.argv[1] ?? '')) return
  const problems = find()
  for (const problem of problems) console.error(problem)
  if (problems.length) process.exitCode = 1
}
