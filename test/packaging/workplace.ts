/** Packs Tersor once, and makes empty folders to install it into. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { binOfNpm } from '../../tools/npm-cli.js'
import { root } from '../../tools/problems.js'
import { startRegistry, type Registry } from './registry.js'

const run = promisify(execFile)

export interface Result {
  readonly stdout: string
  readonly stderr: string
}

export class Workplace {
  private constructor(
    readonly folder: string,
    readonly tarball: string,
    private readonly registry: Registry,
  ) {}

  /** `npm pack` with its prepare step: dist/ and prebuilds/ are made as a release makes them. */
  static async open(): Promise<Workplace> {
    const folder = realpathSync(mkdtempSync(join(tmpdir(), 'tersor-pack-')))
    const { stdout } = await run(process.execPath, [binOfNpm(), 'pack', '--json', '--pack-destination', folder], {
      cwd: root,
      maxBuffer: 1 << 26,
    })
    const [pack] = JSON.parse(stdout.slice(stdout.indexOf('['))) as { filename: string }[]
    return new Workplace(folder, join(folder, pack?.filename ?? ''), await startRegistry(root))
  }

  async close(): Promise<void> {
    await this.registry.close()
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** An empty folder with the tarball (and more packages) installed; install scripts are allowed, so that one would be seen to run. */
  async install(name: string, more: readonly string[] = [], flags: readonly string[] = []): Promise<string> {
    const app = join(this.folder, name)
    mkdirSync(app)
    writeFileSync(join(app, 'package.json'), JSON.stringify({ name, version: '1.0.0', private: true }))
    await this.npm(app, 'install', ...flags, this.tarball, ...more)
    return app
  }

  npm(cwd: string, command: string, ...args: string[]): Promise<Result> {
    const own = [`--registry=${this.registry.url}`, `--cache=${join(this.folder, 'cache')}`, '--no-audit', '--no-fund', '--loglevel=error']
    return run(process.execPath, [binOfNpm(), command, ...own, ...args], { cwd, maxBuffer: 1 << 26 })
  }

  async node(cwd: string, ...args: string[]): Promise<string> {
    try {
      return (await run(process.execPath, args, { cwd, maxBuffer: 1 << 26 })).stdout.trim()
    } catch (error) {
      const { stdout = '', stderr = '' } = error as Partial<Result> // a compiler complains on stdout
      throw new Error(`node ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error })
    }
  }
}

export const manifestOf = (app: string): Record<string, unknown> =>
  JSON.parse(readFileSync(join(app, 'node_modules/tersor/package.json'), 'utf8')) as Record<string, unknown>

export const has = (app: string, file: string): boolean => existsSync(join(app, 'node_modules/tersor', file))
