/**
 * Results of a long job on disk, step by step: a step that is already done (same key, its files still as they were) is not done again, so an
 * interrupted run goes on where it stopped and a second run only reads. Keys hold everything that a step depends on.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Json } from '../../base/json-types.js'
import { writeFileAtomic } from '../../formats/index.js'

interface Entry {
  readonly key: string
  /** Size and sha256 of each file that the step wrote, by name. */
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>
  readonly result: Json
}

export class StepStore {
  readonly #entries: Record<string, Entry>
  readonly #file: string

  constructor(readonly dir: string) {
    mkdirSync(dir, { recursive: true })
    this.#file = join(dir, 'state.json')
    this.#entries = existsSync(this.#file) ? readState(this.#file) : {}
  }

  path(name: string): string {
    return join(this.dir, name)
  }

  /**
   * The result of the step `name`: from disk when `inputs` and `files` are unchanged, else by running `work`, which writes `files`.
   */
  async step<R extends Json>(
    name: string,
    inputs: Json,
    files: readonly string[],
    work: () => R | Promise<R>,
  ): Promise<{ readonly result: R; readonly cached: boolean }> {
    const key = createHash('sha256').update(JSON.stringify(inputs)).digest('hex')
    const old = this.#entries[name]
    if (old?.key === key && files.every((f) => this.#unchanged(f, old))) return { result: old.result as R, cached: true }
    const result = await work()
    this.#entries[name] = { key, files: Object.fromEntries(files.map((f) => [f, fingerprint(this.path(f))])), result }
    writeFileAtomic(this.#file, [new TextEncoder().encode(JSON.stringify(this.#entries))])
    return { result, cached: false }
  }

  #unchanged(file: string, entry: Entry): boolean {
    const was = entry.files[file]
    const path = this.path(file)
    return was !== undefined && existsSync(path) && statSync(path).size === was.bytes && fingerprint(path).sha256 === was.sha256
  }
}

function fingerprint(path: string): { bytes: number; sha256: string } {
  const data = readFileSync(path)
  return { bytes: data.length, sha256: createHash('sha256').update(data).digest('hex') }
}

// A state file that cannot be read costs time, never the run: everything is done again.
function readState(file: string): Record<string, Entry> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Record<string, Entry>
  } catch {
    return {}
  }
}
