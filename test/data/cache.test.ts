import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { cacheDir, fetchPackage, type FetchProgress } from '../../ts/data/cache.js'
import { knownPackages, type KnownPackage } from '../../ts/data/known-packages.js'
import { filesIn, rejectionOf, tempDir } from '../formats/lib.js'

/**
 * A package of our own and a command in the place of npm, since what is tested here (no network, a wrong file, a download that hangs) cannot be had
 * from the real one at will. real.test.ts fetches the real packages with the real npm.
 */
function makePackage(files: Record<string, string>): { archive: string; pkg: KnownPackage } {
  const dir = tempDir()
  for (const [name, content] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, 'package', name)), { recursive: true })
    fs.writeFileSync(path.join(dir, 'package', name), content)
  }
  const archive = path.join(dir, 'test-data-1.0.0.tgz')
  execFileSync('tar', ['czf', archive, '-C', dir, 'package'])
  return { archive, pkg: describePackage(archive) }
}

function describePackage(archive: string): KnownPackage {
  const bytes = fs.readFileSync(archive)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  return { name: 'test-data', version: '1.0.0', sha256, bytes: bytes.length, licence: 'none', what: 'a test' }
}

/** A program that is called as npm; `$0.log` counts its calls. */
function npm(script: string): string {
  const file = path.join(tempDir(), 'npm')
  fs.writeFileSync(file, `#!/bin/sh\necho "$@" >> ${file}.log\n${script}\n`, { mode: 0o755 })
  return file
}
const calls = (file: string): string[] => (fs.existsSync(`${file}.log`) ? fs.readFileSync(`${file}.log`, 'utf8').trim().split('\n') : [])

const { archive, pkg } = makePackage({ 'data/a.txt': 'hello', 'data/b.json': '{}', LICENSE: 'free' })
const copying = (from = archive): string => npm(`cp ${from} test-data-1.0.0.tgz`)

describe('a package', () => {
  test('is downloaded once, without scripts, and then found', async () => {
    const dir = tempDir()
    const command = copying()
    const progress: FetchProgress[] = []
    const at = await fetchPackage(pkg, { cacheDir: dir, npm: command, onProgress: (p) => progress.push(p) })
    expect(fs.readFileSync(path.join(at, 'data/a.txt'), 'utf8')).toBe('hello')
    expect(filesIn(dir)).toEqual([path.basename(at)])
    expect(await fetchPackage(pkg, { cacheDir: dir, npm: command })).toBe(at)
    expect(calls(command)).toHaveLength(1)
    expect(calls(command)[0]).toMatch(/^pack test-data@1\.0\.0 --ignore-scripts /)
    expect(new Set(progress.map((p) => p.phase))).toEqual(new Set(['download', 'verify', 'unpack']))
    expect(progress.at(-1)).toMatchObject({ package: 'test-data@1.0.0', bytes: pkg.bytes, total: pkg.bytes })
  })

  test('is unpacked in part where only a part is wanted', async () => {
    const at = await fetchPackage({ ...pkg, include: /^data\/.*\.txt$/ }, { cacheDir: tempDir(), npm: copying() })
    expect(filesIn(path.join(at, 'data'))).toEqual(['a.txt'])
    expect(filesIn(at)).toEqual(['data'])
  })

  test('is taken from an archive that was put into the cache by hand', async () => {
    const dir = tempDir()
    fs.copyFileSync(archive, path.join(dir, 'test-data-1.0.0.tgz'))
    const command = npm('exit 1')
    const at = await fetchPackage(pkg, { cacheDir: dir, npm: command })
    expect(fs.existsSync(path.join(at, 'data/a.txt'))).toBe(true)
    expect(calls(command)).toEqual([])
  })

  test('fetched by two at once arrives once', async () => {
    const options = { cacheDir: tempDir(), npm: copying() }
    const [a, b] = await Promise.all([fetchPackage(pkg, options), fetchPackage(pkg, options)])
    expect(a).toBe(b)
    expect(filesIn(options.cacheDir)).toEqual([path.basename(a)])
  })
})

describe('what goes wrong leaves an empty cache', () => {
  test.each([
    ['no network', 'echo "npm error code ENOTFOUND" >&2; echo "npm error network request failed" >&2; exit 1', 'ERR_IO', 'ENOTFOUND'],
    ['no such version', 'echo "npm error code ETARGET" >&2; exit 1', 'ERR_IO', 'ETARGET'],
    ['npm says nothing', 'exit 7', 'ERR_IO', '7'],
    ['npm makes no file', 'exit 0', 'ERR_IO', '0'],
    ['npm is killed', 'kill -9 $$', 'ERR_IO', 'SIGKILL'],
  ])('%s: a typed error with the command to run', async (_, script, code, errno) => {
    const dir = tempDir()
    const error = await rejectionOf(() => fetchPackage(pkg, { cacheDir: dir, npm: npm(script) }))
    expect(error).toMatchObject({ code, details: { errno, committed: false, command: 'npm pack test-data@1.0.0 --ignore-scripts' } })
    expect(error.message).toContain(
      'With a network run `npm pack test-data@1.0.0 --ignore-scripts` and put test-data-1.0.0.tgz into ' + dir,
    )
    expect(filesIn(dir)).toEqual([])
  })

  test('there is no npm', async () => {
    const error = await rejectionOf(() => fetchPackage(pkg, { cacheDir: tempDir(), npm: '/no/such/npm' }))
    expect(error).toMatchObject({ code: 'ERR_IO', details: { errno: 'ENOENT' } })
  })

  test('another content than expected', async () => {
    const dir = tempDir()
    const error = await rejectionOf(() => fetchPackage({ ...pkg, sha256: '0'.repeat(64) }, { cacheDir: dir, npm: copying() }))
    expect(error).toMatchObject({ code: 'ERR_DATA', details: { reason: 'checksum', found: pkg.sha256 } })
    expect(filesIn(dir)).toEqual([])
  })

  test.each([
    ['is no archive', (file: string) => fs.writeFileSync(file, 'not a tarball')],
    ['is cut off', (file: string) => fs.writeFileSync(file, fs.readFileSync(archive).subarray(0, 150))],
  ])('an archive with the right checksum that %s', async (_, make) => {
    const bad = path.join(tempDir(), 'bad.tgz')
    make(bad)
    const dir = tempDir()
    const error = await rejectionOf(() => fetchPackage(describePackage(bad), { cacheDir: dir, npm: copying(bad) }))
    expect(['ERR_IO', 'ERR_DATA']).toContain(error.code)
    expect(filesIn(dir)).toEqual([])
  })

  test('an archive with a link in it', async () => {
    const work = tempDir()
    fs.mkdirSync(path.join(work, 'package'))
    fs.symlinkSync('/etc/passwd', path.join(work, 'package', 'link'))
    const bad = path.join(work, 'bad.tgz')
    execFileSync('tar', ['czf', bad, '-C', work, 'package'])
    const dir = tempDir()
    const error = await rejectionOf(() => fetchPackage(describePackage(bad), { cacheDir: dir, npm: copying(bad) }))
    expect(error.code).toBe('ERR_DATA')
    expect(error.message).toContain('is a SymbolicLink')
    expect(filesIn(dir)).toEqual([])
  })

  test('an archive that climbs out of its folder', async () => {
    const work = tempDir()
    fs.mkdirSync(path.join(work, 'package'))
    fs.writeFileSync(path.join(work, 'evil'), 'evil')
    const bad = path.join(work, 'bad.tgz')
    execFileSync('tar', ['czPf', bad, '-C', path.join(work, 'package'), '--transform', 's,^,package/../../,', '../evil'], {
      stdio: 'ignore',
    })
    const dir = tempDir()
    const error = await rejectionOf(() => fetchPackage(describePackage(bad), { cacheDir: dir, npm: copying(bad) }))
    expect(['ERR_IO', 'ERR_DATA']).toContain(error.code)
    expect(filesIn(dir)).toEqual([])
  })

  test('cancelled before, and in the middle of a download that hangs', async () => {
    const dir = tempDir()
    const command = npm('exec sleep 60')
    expect(await rejectionOf(() => fetchPackage(pkg, { cacheDir: dir, npm: command, signal: AbortSignal.abort() }))).toMatchObject({
      code: 'ERR_ABORTED',
      name: 'AbortError',
    })
    expect(calls(command)).toEqual([])
    const start = performance.now()
    expect(await rejectionOf(() => fetchPackage(pkg, { cacheDir: dir, npm: command, signal: AbortSignal.timeout(300) }))).toMatchObject({
      code: 'ERR_ABORTED',
    })
    expect(performance.now() - start).toBeLessThan(10_000)
    expect(filesIn(dir)).toEqual([])
  })

  test('a cache folder that is a file', async () => {
    const file = path.join(tempDir(), 'file')
    fs.writeFileSync(file, '')
    expect((await rejectionOf(() => fetchPackage(pkg, { cacheDir: file, npm: copying() }))).code).toBe('ERR_IO')
  })

  test.each([
    ['name', 'a; rm -rf /'],
    ['name', '../x'],
    ['name', '--registry'],
    ['version', '^1.0.0'],
    ['version', 'latest'],
    ['sha256', 'x'],
  ])('a %s of %j is refused', async (key, value) => {
    expect(await rejectionOf(() => fetchPackage({ ...pkg, [key]: value }, { cacheDir: tempDir() }))).toMatchObject({ code: 'ERR_OPTION' })
  })
})

test('what a killed process left is removed by the next, and never counts as complete', async () => {
  const dir = tempDir()
  const { tempName } = await import('../../ts/formats/temp-names.js')
  const deadPid = Number(execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }))
  const orphan = tempName().replace(`-${process.pid}-`, `-${deadPid}-`)
  fs.mkdirSync(path.join(dir, orphan, 'unpacked'), { recursive: true })
  fs.writeFileSync(path.join(dir, orphan, 'unpacked', 'half'), '')
  const at = await fetchPackage(pkg, { cacheDir: dir, npm: copying() })
  expect(filesIn(dir)).toEqual([path.basename(at)])
})

test('where the cache is', () => {
  const before = process.env.TERSOR_CACHE
  try {
    delete process.env.TERSOR_CACHE
    expect(cacheDir()).toBe(path.resolve('.cache/tersor'))
    process.env.TERSOR_CACHE = '/tmp/other'
    expect(cacheDir()).toBe('/tmp/other')
    expect(cacheDir({ cacheDir: '/tmp/third' })).toBe('/tmp/third')
  } finally {
    if (before === undefined) delete process.env.TERSOR_CACHE
    else process.env.TERSOR_CACHE = before
  }
})

test('the known packages are complete', () => {
  for (const known of Object.values(knownPackages)) {
    expect(known.sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(known.version).toMatch(/^\d+\.\d+\.\d+$/)
    expect(known.licence.length).toBeGreaterThan(2)
    expect(known.bytes).toBeGreaterThan(1e5)
  }
})
