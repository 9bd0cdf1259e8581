/**
 * Generates the TypeScript side of the tables in native/: error codes, dtypes, ISAs and ops.
 *   npm run gen            writes the *.gen.ts files
 *   npm run gen -- --check fails when a committed file differs
 */
import { readFileSync, writeFileSync, existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { generators } from './gen-lib.js'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const check = process.argv.includes('--check')
let stale = 0
for (const [file, make] of Object.entries(generators)) {
  const text = make((def) => readFileSync(join(root, 'native', def), 'utf8'))
  const path = join(root, 'ts', file)
  const old = existsSync(path) ? readFileSync(path, 'utf8') : ''
  if (old === text) continue
  stale++
  if (check) console.error(`stale: ts/${file} (run npm run gen)`)
  else {
    writeFileSync(path, text)
    console.log(`wrote ts/${file}`)
  }
}
if (check && stale) process.exit(1)
