/**
 * ONNX's conformance data, fetched once into the cache folder: the files of Debian's libonnx-testdata (ONNX 1.12: opsets up to 17), and what the generators in PyPI's
 * onnx wheel write (ONNX 1.23: every operator in its newest version). Archives must have the known SHA-256. What cannot be fetched on a machine is absent, with the reason.
 */
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import path from 'node:path'
import { cacheDir } from '../ts/data/cache.js'
import { tempName } from '../ts/formats/temp-names.js'

export interface Source {
  readonly name: string
  /** Folder with one folder per test, or why there is none. */
  readonly folder?: string
  readonly absent?: string
}

const checksums: Readonly<Record<string, string>> = {
  'libonnx-testdata_1.12.0-2_all.deb': '7dc0912e02f79ece102331411a751b091bc0e191c9fb1287f8cdfbe5530f6027',
  'onnx-1.23.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl':
    'dc6085a10f4cb61d132f395535f7cf6399664b0f44dd2fcf144ce66b0f859c8d',
}

function run(command: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env): void {
  execFileSync(command, args, { cwd, env, stdio: ['ignore', 'ignore', 'pipe'] })
}

/** The one archive of that ending in a folder, checked. */
function verified(folder: string, ending: string): string {
  const file = readdirSync(folder).find((f) => f.endsWith(ending)) ?? ''
  const expected = checksums[file]
  if (expected === undefined) throw new Error(`${file || `no ${ending}`} is not a file whose SHA-256 is known`)
  const found = createHash('sha256')
    .update(readFileSync(path.join(folder, file)))
    .digest('hex')
  if (found !== expected) throw new Error(`${file} has SHA-256 ${found}, expected ${expected}`)
  return path.join(folder, file)
}

function debian(work: string, out: string): void {
  run('apt-get', ['download', 'libonnx-testdata=1.12.0-2'], work)
  run('dpkg-deb', ['-x', verified(work, '.deb'), path.join(work, 'unpacked')], work)
  renameSync(path.join(work, 'unpacked/usr/share/libonnx-testdata/data/node'), out)
}

function wheel(work: string, out: string): void {
  const pip = ['-m', 'pip', '--disable-pip-version-check', '--no-input']
  run('python3', [...pip, 'download', '--no-deps', '--only-binary', ':all:', '-d', work, 'onnx==1.23.1'], work)
  const site = path.join(work, 'site')
  run('python3', [...pip, 'install', '--no-deps', '--target', site, verified(work, '.whl')], work)
  run('python3', [...pip, 'install', '--target', site, 'protobuf>=6.31.1', 'ml_dtypes>=0.5.4', 'typing_extensions', 'numpy>=1.23.2'], work)
  const generated = path.join(work, 'node')
  mkdirSync(generated)
  run('python3', [path.join(import.meta.dirname, 'conformance-dump.py'), generated], work, { ...process.env, PYTHONPATH: site })
  renameSync(generated, out)
}

/** All sources, fetched where they are not there yet. */
export function conformanceData(): Source[] {
  const root = cacheDir()
  return [
    { name: 'onnx 1.12 (Debian)', folder: 'onnx-conformance-1.12.0', make: debian },
    { name: 'onnx 1.23.1 (PyPI)', folder: 'onnx-conformance-1.23.1', make: wheel },
  ].map(({ name, folder, make }): Source => {
    const out = path.join(root, folder)
    if (existsSync(out)) return { name, folder: out }
    const work = path.join(root, tempName())
    try {
      mkdirSync(work, { recursive: true })
      make(work, out)
      return { name, folder: out }
    } catch (error) {
      return { name, absent: error instanceof Error ? error.message.split('\n')[0]! : String(error) }
    } finally {
      rmSync(work, { recursive: true, force: true })
    }
  })
}
