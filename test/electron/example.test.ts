/** examples/electron runs, its files unchanged, with a stand-in for Electron; and what Electron asks of its windows and its archive holds. */
import { execFile } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { environment, root, tempDir } from '../cli/lib.js'

const example = path.join(root, 'examples', 'electron')
const read = (...names: string[]): string => fs.readFileSync(path.join(example, ...names), 'utf8')
const node = async (...args: string[]): Promise<string> =>
  (await promisify(execFile)(process.execPath, args, { env: environment(), cwd: app, timeout: 60_000 })).stdout

const app = tempDir()
beforeAll(async () => {
  const kept = (name: string): boolean => !/node_modules|model$|out$|dist$/.test(path.relative(example, name))
  fs.cpSync(example, app, { recursive: true, filter: kept })
  fs.mkdirSync(path.join(app, 'node_modules'))
  fs.symlinkSync(root, path.join(app, 'node_modules', 'tersor'), 'junction')
  const make = `require('./make-model.cjs').makeModel('model/digits.safetensors', { lines: true, size: 1200, epochs: 3 }).then((r) => console.log(JSON.stringify(r)))`
  const made = JSON.parse(await node('-e', make)) as { bytes: number; before: number; after: number }
  expect(made.bytes).toBeLessThan(80_000)
  expect(made.after).toBeGreaterThan(0.9)
}, 60_000)

describe('the app runs', () => {
  const right = { 0: '0', 1: '1', 4: '4', 7: '7' }
  it('with the session in a utility process, which may die', async () => {
    const result = JSON.parse(await node(path.join(import.meta.dirname, 'run-app.cjs'), app)) as Record<string, any>
    expect(result).toMatchObject({ status: expect.stringMatching(/^digits, \d\d KiB$/), processes: 1, restarted: true })
    expect(result.first).toEqual(right)
    expect(result.second).toEqual(right)
    expect(result.error).toMatchObject({ code: 'ERR_SHAPE', message: expect.stringContaining('784') })
    // Twenty were asked at once: the page keeps the last one, and that is the one that is lost.
    expect(result.lost).toContain('ERR_SERVICE')
  })
  it('with the session in main', async () => {
    const result = JSON.parse(await node(path.join(import.meta.dirname, 'run-app.cjs'), app, '--in-main')) as Record<string, any>
    expect(result).toMatchObject({ processes: 0, first: right, error: { code: 'ERR_SHAPE' } })
  })
})

describe('what Electron asks', () => {
  it('scripts of the page use no modules and nothing of Node; the preload script only Electron', () => {
    for (const name of fs.readdirSync(path.join(example, 'renderer')).filter((f) => f.endsWith('.js')))
      expect(read('renderer', name)).not.toMatch(/\brequire\b|\bimport\b|\bprocess\b|\bmodule\b|\bBuffer\b/)
    expect([...read('preload.cjs').matchAll(/require\(([^)]*)\)/g)].map((m) => m[1])).toEqual([`'electron'`])
    expect(read('renderer', 'index.html')).toContain(`content="default-src 'self'"`)
    expect(read('renderer', 'index.html')).not.toMatch(/<script>|onclick=|https?:/)
    expect(read('main.cjs')).toContain('contextIsolation: true, sandbox: true, nodeIntegration: false')
  })
  it('the archive leaves the addon outside, and what is packed is there', () => {
    const manifest = JSON.parse(read('package.json')) as {
      main: string
      build: { asarUnpack: string[]; files: string[] }
      dependencies: object
    }
    expect(manifest.build.asarUnpack).toEqual(['**/*.node'])
    expect(manifest.dependencies).toEqual({ tersor: 'file:../..' })
    expect(manifest.build.files).toEqual(expect.arrayContaining(['*.cjs', 'renderer', 'model']))
    for (const name of fs.readdirSync(example).filter((f) => f.endsWith('.cjs') && f !== 'forge.config.cjs'))
      for (const [, file] of read(name).matchAll(/require\('(\.[^']+)'\)/g))
        expect(fs.existsSync(path.join(example, file!)), file).toBe(true)
  })
})
