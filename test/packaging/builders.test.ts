/** The fallback builder makes the same addon, and the two builders do not trip over each other's build folder. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { loadAddon } from '../../ts/native/load.cjs'
import { root } from '../../tools/problems.js'

const copy = realpathSync(mkdtempSync(join(tmpdir(), 'tersor-gyp-')))
afterAll(() => rmSync(copy, { recursive: true, force: true }))

it('node-gyp builds from binding.gyp what cmake-js builds from CMakeLists.txt', () => {
  for (const name of ['native', 'tools', 'binding.gyp', 'CMakeLists.txt', 'package.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
  execFileSync('cmake', ['-S', '.', '-B', 'build', '-DTERSOR_ADDON=OFF'], { cwd: copy, stdio: 'pipe' }) // what the other builder leaves behind
  // What is asked is whether the list of files and their flags make the same addon, not how fast it is: -O0 comes last and halves the time.
  const env = { ...process.env, CXXFLAGS: '-O0' }
  execFileSync(process.execPath, ['tools/build-native.cjs', '--builder=gyp', '--stage'], { cwd: copy, stdio: 'pipe', env })
  expect(existsSync(join(copy, 'build/CMakeCache.txt'))).toBe(false)
  const addon = join(copy, 'build/Release/tersor.node')
  const script = `
    const { native, addonPath } = require('./ts/native/load.cjs').loadAddon()
    console.log(JSON.stringify({ addonPath, hash: native.schemaHash, names: Object.keys(native).sort(), rows: native.kernelRows() }))`
  const text = execFileSync(process.execPath, ['-e', script], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, TERSOR_ADDON_PATH: addon },
  })
  const { native } = loadAddon()
  expect(JSON.parse(text)).toEqual({
    addonPath: addon,
    hash: native.schemaHash,
    names: Object.keys(native).sort(),
    rows: JSON.parse(JSON.stringify(native.kernelRows())),
  })
})
