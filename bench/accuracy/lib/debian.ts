/** Debian packages that hold data (fonts, recordings), unpacked once into the cache folder: exact version, known SHA-256. Needs apt-get and dpkg-deb. */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { cacheDir } from '../../../ts/data/index.js'

export interface DebianPackage {
  readonly name: string
  readonly version: string
  /** Of the .deb file. */
  readonly sha256: string
  readonly licence: string
}

export const debianPackages = {
  liberation: {
    name: 'fonts-liberation',
    version: '1:1.07.4-11',
    sha256: 'efd381517f958b01969343634ffcbdd60056be7779af84c6f53a005090430204',
    licence: 'GPL-2 with font exception',
  },
  dejavu: {
    name: 'fonts-dejavu-core',
    version: '2.37-6',
    sha256: '8892669e51aab4dc56682c8e39d8ddb7d70fad83c369344e1e240bf3ca22bb76',
    licence: 'Bitstream Vera',
  },
  speech: {
    name: 'asterisk-core-sounds-en-wav',
    version: '1.6.1-1',
    sha256: '2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d',
    licence: 'CC BY-SA 3.0',
  },
  music: {
    name: 'asterisk-moh-opsound-wav',
    version: '2.03-1.1',
    sha256: '8f9d808a729d305c2d3343993f21ca5e6829e411682618dc8ea7aa8bc24a566c',
    licence: 'CC BY-SA 3.0',
  },
} as const satisfies Readonly<Record<string, DebianPackage>>

/** The folder with the package's files as they lie below `/`. */
export function fetchDebian({ name, version, sha256 }: DebianPackage): string {
  const root = cacheDir()
  const target = path.join(root, `${name}-${version.replace(/^\d+:/, '')}-${sha256.slice(0, 12)}`)
  if (existsSync(target)) return target
  mkdirSync(root, { recursive: true })
  const temp = mkdtempSync(path.join(root, '.debian-'))
  try {
    execFileSync('apt-get', ['-q', 'download', `${name}=${version}`], { cwd: temp, stdio: ['ignore', 'ignore', 'pipe'] })
    const file = path.join(
      temp,
      readdirSync(temp).find((f) => f.endsWith('.deb'))!,
    )
    const found = createHash('sha256').update(readFileSync(file)).digest('hex')
    if (found !== sha256) throw new Error(`${name}=${version} has SHA-256 ${found}, expected ${sha256}`)
    execFileSync('dpkg-deb', ['-x', file, path.join(temp, 'files')])
    renameSync(path.join(temp, 'files'), target)
    return target
  } finally {
    rmSync(temp, { recursive: true, force: true })
  }
}

/** Files below a folder whose names fit, sorted. */
export function filesIn(folder: string, name: RegExp): string[] {
  return (readdirSync(folder, { recursive: true }) as string[])
    .filter((f) => name.test(f))
    .sort()
    .map((f) => path.join(folder, f))
}
