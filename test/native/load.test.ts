/** The loader: finds the addon from the sources and from a built package, and says what to do when it cannot. */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { loadAddon } from '../../ts/native/load.cjs'
import { root } from '../../tools/problems.js'

const { native, addonPath } = loadAddon()
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tersor-load-')))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A package that holds the loader, `bindings`, and no addon. */
function emptyPackage(name: string): string {
  const base = join(folder, name)
  mkdirSync(join(base, 'dist/esm/native'), { recursive: true })
  writeFileSync(join(base, 'package.json'), '{ "name": "tersor", "type": "module" }')
  cpSync(join(root, 'ts/native/load.cjs'), join(base, 'dist/esm/native/load.cjs'))
  symlinkSync(join(root, 'node_modules'), join(base, 'node_modules'))
  return base
}

/** Loads in a process of its own and prints what came out. */
function load(base: string, env: Record<string, string> = {}, flags: string[] = []): Record<string, string> {
  const script = `
    try { const { addonPath, native } = require('./dist/esm/native/load.cjs').loadAddon(); console.log(JSON.stringify({ addonPath, type: typeof native })) }
    catch (e) { console.log(JSON.stringify({ code: e.code, message: e.message, cause: e.cause?.code ?? e.cause?.message, tried: e.tried })) }`
  const text = execFileSync(process.execPath, [...flags, '-e', script], { cwd: base, encoding: 'utf8', env: { ...process.env, ...env } })
  return JSON.parse(text) as Record<string, string>
}

describe('the addon loader', () => {
  it('finds the addon of this checkout when the test runner imports the sources', () => {
    expect(typeof native).toBe('object')
    expect(addonPath.startsWith(root)).toBe(true)
  })

  it('prefers what was built here over the prebuilt binary', () => {
    const base = emptyPackage('both')
    const prebuilt = join(base, 'prebuilds', `${process.platform}-${process.arch}`)
    mkdirSync(prebuilt, { recursive: true })
    cpSync(addonPath, join(prebuilt, 'tersor.node'))
    expect(load(base).addonPath).toBe(join(prebuilt, 'tersor.node'))
    mkdirSync(join(base, 'build/Release'), { recursive: true })
    cpSync(addonPath, join(base, 'build/Release/tersor.node'))
    expect(load(base).addonPath).toBe(join(base, 'build/Release/tersor.node'))
  })

  it('lists every place and the build command when there is no binary', () => {
    const base = emptyPackage('none')
    const error = load(base)
    expect(error.code).toBe('ERR_NATIVE')
    expect(error.message).toContain('none of these files exists')
    for (const place of ['build/Release', 'build/Debug', `prebuilds/${process.platform}-${process.arch}`]) {
      expect(error.message).toContain(join(base, place, 'tersor.node'))
    }
    expect(error.message).toContain('npx cmake-js build')
  })

  it('does not fall back silently when the binary is broken', () => {
    const base = emptyPackage('broken')
    const prebuilt = join(base, 'prebuilds', `${process.platform}-${process.arch}`)
    mkdirSync(prebuilt, { recursive: true })
    cpSync(addonPath, join(prebuilt, 'tersor.node'))
    mkdirSync(join(base, 'build/Release'), { recursive: true })
    writeFileSync(join(base, 'build/Release/tersor.node'), 'not a library')
    const error = load(base)
    expect(error.code).toBe('ERR_NATIVE')
    expect(error.cause).toBe('ERR_DLOPEN_FAILED')
    expect(error.message).toContain('found but could not be loaded')
  })

  it('says that addons are switched off when Node was told so', () => {
    const base = emptyPackage('disabled')
    mkdirSync(join(base, 'build/Release'), { recursive: true })
    cpSync(addonPath, join(base, 'build/Release/tersor.node'))
    const error = load(base, {}, ['--no-addons'])
    expect(error.code).toBe('ERR_NATIVE')
    expect(error.message).toContain('drop --no-addons')
  })

  it('TERSOR_ADDON_PATH is the only place when it is set', () => {
    const base = emptyPackage('own')
    expect(load(base, { TERSOR_ADDON_PATH: addonPath }).addonPath).toBe(addonPath)
    const error = load(base, { TERSOR_ADDON_PATH: '/nowhere/tersor.node' })
    expect(error.code).toBe('ERR_NATIVE')
    expect(error.tried).toEqual(['/nowhere/tersor.node'])
  })

  it('prints nothing and leaves the process as it was', () => {
    const script = `
      const before = [process.report.excludeNetwork, Object.keys(globalThis).length, process.listenerCount('exit')]
      require('./ts/native/load.cjs').loadAddon()
      const after = [process.report.excludeNetwork, Object.keys(globalThis).length, process.listenerCount('exit')]
      process.exitCode = JSON.stringify(before) === JSON.stringify(after) ? 0 : 3`
    const run = spawnSync(process.execPath, ['-e', script], { cwd: root, encoding: 'utf8' })
    expect([run.status, run.stdout, run.stderr]).toEqual([0, '', ''])
  })
})
