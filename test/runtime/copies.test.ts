/** More than one of the library: two addons in one process, modules loaded anew (test runners, hot reload), processes of a cluster. */
import { execFile } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { loadAddon } from '../../ts/native/load.cjs'

const run = promisify(execFile)
const here = import.meta.dirname
const dist = path.join(here, '..', '..', 'dist', 'cjs')

test('two copies of the addon and a library loaded anew live in one process, each with its own tensors', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'tersor-copies-'))
  try {
    const copies = ['a.node', 'b.node'].map((name) => path.join(folder, name))
    for (const file of copies) copyFileSync(loadAddon().addonPath, file)
    const { stdout } = await run(process.execPath, [path.join(here, 'copies-child.cjs'), dist, ...copies])
    const { found, grown, foreign } = JSON.parse(stdout) as { found: number[]; grown: number[]; foreign: string }
    expect(found).toEqual([2, 4, 6, 4, 6, 8, 6, 8, 10])
    expect(grown).toEqual([1, 0, 1]) // the third is the first one's addon, loaded anew
    expect(foreign).not.toBe('taken')
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a primary and the processes of a cluster each have a session', async () => {
  const { stdout } = await run(process.execPath, [path.join(here, 'cluster-child.cjs'), path.join(dist, 'index.js')])
  expect(JSON.parse(stdout)).toEqual({ values: [0, 2, 4], codes: [0, 0, 0], own: 42 })
})
