/** The programs of examples/electron against the types of Electron itself, whose npm package has them (its program is fetched from elsewhere and not asked for). */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { fetchPackage } from '../../ts/data/cache.js'
import type { KnownPackage } from '../../ts/data/known-packages.js'
import { root } from '../problems.js'

export const electron: KnownPackage = {
  name: 'electron',
  version: '45.4.1',
  sha256: '491e015b3653c81b2cbe0fb8808971cd15d007577a9d4a35a83dec722746437d',
  bytes: 210_479,
  licence: 'MIT',
  what: 'types of Electron',
  include: /^(electron\.d\.ts|package\.json)$/,
}

const settings = ['--noEmit', '--allowJs', '--checkJs', '--skipLibCheck', '--target', 'es2023', '--lib', 'es2023,dom', '--types', 'node']
/** JavaScript without annotations: what a parameter is, nobody says. */
const loose = ['--strict', 'false', '--module', 'node16', '--moduleResolution', 'node16']

/** What Electron starts; what they require is compiled with them. */
const programs = ['main.cjs', 'preload.cjs', 'utility.cjs']

/** What the compiler says; '' where all fits. Needs a build. */
export async function electronTypes(): Promise<string> {
  const types = await fetchPackage(electron, { cacheDir: path.join(root, '.cache', 'tersor') })
  const app = fs.mkdtempSync(path.join(os.tmpdir(), 'tersor-electron-'))
  try {
    fs.cpSync(path.join(root, 'examples', 'electron'), app, {
      recursive: true,
      filter: (file) => !/node_modules|model$|out$|dist$/.test(file),
    })
    fs.mkdirSync(path.join(app, 'node_modules'))
    for (const [name, to] of Object.entries({ electron: types, tersor: root, '@types': path.join(root, 'node_modules', '@types') }))
      fs.symlinkSync(to, path.join(app, 'node_modules', name), 'junction')
    const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc')
    const done = spawnSync(process.execPath, [tsc, ...settings, ...loose, ...programs], { cwd: app, encoding: 'utf8' })
    return done.status === 0 ? '' : done.stdout + done.stderr
  } finally {
    fs.rmSync(app, { recursive: true })
  }
}
