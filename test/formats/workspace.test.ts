/** A directory for one run at a time. */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { afterAll, beforeEach, expect, it } from 'vitest'
import { Workspace } from '../../ts/formats/workspace.js'

const folder = mkdtempSync(join(tmpdir(), 'tersor-workspace-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
let dir = ''
beforeEach((context) => {
  dir = join(folder, context.task.id, 'a', 'b')
})

it('is made if missing, and lets one in at a time', () => {
  const first = new Workspace(dir)
  expect(() => new Workspace(dir)).toThrow(expect.objectContaining({ code: 'ERR_BUSY', name: 'BusyError' }))
  expect(readdirSync(dir)).toHaveLength(1)
  first.close()
  expect(readdirSync(dir)).toEqual([])
  new Workspace(dir).close()
})

it('the lock of a process that is gone is opened, files that are not locks stay', () => {
  const child = `
    import { Workspace } from ${JSON.stringify(join(import.meta.dirname, '../../ts/formats/workspace.ts'))}
    new Workspace(${JSON.stringify(dir)})
    process.kill(process.pid, 'SIGKILL')`
  const script = join(folder, 'child.mts')
  writeFileSync(script, child)
  const result = spawnSync(process.execPath, ['--import', import.meta.resolve('tsx'), script], { encoding: 'utf8' })
  expect(result.signal).toBe('SIGKILL')
  writeFileSync(join(dir, '.tersor-notes.lock.txt'), 'mine')
  expect(readdirSync(dir).filter((f) => f.endsWith('.lock'))).toHaveLength(1)
  const space = new Workspace(dir)
  expect(space.list().filter((f) => f.endsWith('.lock'))).toHaveLength(1)
  space.close()
  expect(readdirSync(dir)).toEqual(['.tersor-notes.lock.txt'])
})

it('a name that looks like a lock but tells no owner keeps everybody out: it may be of a newer version', () => {
  new Workspace(dir).close()
  writeFileSync(join(dir, '.tersor-unknown.lock'), '')
  expect(() => new Workspace(dir)).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }))
  expect(readdirSync(dir)).toEqual(['.tersor-unknown.lock'])
})

it('a path that is a file is ERR_IO, an empty one ERR_OPTION', () => {
  writeFileSync(join(folder, 'file'), '')
  expect(() => new Workspace(join(folder, 'file'))).toThrow(expect.objectContaining({ code: 'ERR_IO' }))
  for (const bad of ['', 'a\0b']) expect(() => new Workspace(bad)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
})

it('removing what is gone is no error', () => {
  const space = new Workspace(dir)
  writeFileSync(space.path('x'), '')
  space.remove('x')
  space.remove('x')
  expect(space.list()).not.toContain('x')
  space.close()
})
