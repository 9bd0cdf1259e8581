/** The fallback builder makes the same addon, and the two builders do not trip over each other's build folder. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { loadAddon } from '../../ts/native/load.cjs'
import { root } from '../../tools/problems.js'

const copy = realpathSync(mkdtempSync(join(tmpdir(), 'tersor-gyp-')))
afterAll(() => rmSync(copy, { recursive: true, force: true }))

beforeAll(() => {
  for (const name of ['native', 'tools', 'binding.gyp', 'CMakeLists.txt', 'package.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true })
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
})

it.skipIf(process.platform === 'win32')('node-gyp compiles the same files with the same rules', () => {
  const text = execFileSync(process.execPath, ['tools/build-native.cjs', '--builder=gyp', '--dry-run'], {
    cwd: copy,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  })
  const sources = (kind: string): string[] =>
    execFileSync(process.execPath, ['tools/sources.cjs', kind], { cwd: root, encoding: 'utf8' }).split('\n').filter(Boolean)
  const commands = text.split('\n').filter((line) => / -c$/.test(line) && !line.startsWith('printf'))
  const compiled = commands.map((line) => /\.\.\/(native\/\S+\.cc)/.exec(line)?.[1]).filter((file) => file !== undefined)
  expect(compiled.sort()).toEqual([...sources('core'), ...sources('addon')].sort())
  for (const command of commands)
    for (const flag of ['-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math', '-std=c++17', '-fvisibility=hidden', '-fexceptions'])
      expect(command.split(/\s+/)).toContain(flag)
  for (const command of commands.filter((line) => line.includes('native/bindings/')))
    for (const define of [
      'NAPI_VERSION=8',
      'NAPI_CPP_EXCEPTIONS',
      'NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED',
      'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS',
    ])
      expect(command).toContain(define)
  rmSync(join(copy, 'build'), { recursive: true })
})

// All of it is compiled once more: minutes. `npm run soak` does it.
it.runIf(process.env['TERSOR_FULL_BUILD'])('node-gyp builds from binding.gyp what cmake-js builds from CMakeLists.txt', () => {
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
