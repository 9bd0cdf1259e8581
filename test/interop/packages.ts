/**
 * Other programs' readers of what Tersor writes: packages in TERSOR_INTEROP/node_modules, which `npm run interop` fills. Tests that need one that is not there are
 * skipped. They run in a process of their own, whose lines of JSON are the answer.
 */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'

const folder = process.env.TERSOR_INTEROP ?? ''
export const hasPackage = (name: string): boolean => folder !== '' && existsSync(path.join(folder, 'node_modules', name, 'package.json'))

/** What `script` of this folder prints for its arguments behind the folder of the packages. */
export async function answers<T>(script: string, args: readonly string[]): Promise<T[]> {
  const file = path.join(import.meta.dirname, script)
  const { stdout } = await promisify(execFile)(process.execPath, [file, path.resolve(folder), ...args], { maxBuffer: 2 ** 26 })
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{') || line.startsWith('['))
    .map((line) => JSON.parse(line) as T)
}
