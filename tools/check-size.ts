/**
 * Sizes that must not creep: lines per source file (aim 250, alarm above 400) and what npm would pack.
 * A number that has to grow is changed here, in the open, with the reason in the commit.
 */
import { execFileSync } from 'node:child_process'
import { binOfNpm } from './npm-cli.js'
import { filesBelow, readText, root, runAsCheck } from './problems.js'

export const MAX_LINES = 400
const FOLDERS = ['ts', 'native', 'tools', 'test', 'bench', 'examples']
const SOURCE = /\.([cm]?ts|[cm]?js|cc|h|inc|def|cu|cuh)$/

/** Bytes. A platform's addon, everything as a tarball, everything unpacked. */
export interface PackBudget {
  readonly addon: number
  readonly packed: number
  readonly unpacked: number
}
// The addon: 2.3 MB (0.8 compressed) with rows for six x64 levels of nineteen kernel families; a quarter of a megabyte is the marshalling of 130
// ops. Training took 0.3 MB: grouped convolutions, normalisations, activations, recurrent layers, each with its gradient; then augmentation, metrics and sparse rows in groups 0.1 MB. Eight
// platforms of that still fit `packed`. Blocks of GGUF files (search for scales, three x64 levels) 0.07 MB.
// 3.1 MB since convolutions for running came (60 KB: two vector rows of tiles up to 6 x 4 vectors, depthwise and pools, and the plan's rewriting).
// 3.2 MB: layers with twins (50 KB: three ops with fourteen tensors each, the loop over steps).
// Fake quantization for training (forward and backward): 8 KB.
// 3.3 MB: devices (40 KB: the loader of their libraries, queues, tensors that lie there).
export const BUDGET: PackBudget = { addon: 3.3e6, packed: 6e6, unpacked: 15e6 }

export interface PackList {
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string; readonly size: number }[]
}

export function checkLines(base: string): string[] {
  return FOLDERS.flatMap((folder) => filesBelow(base, folder))
    .filter((file) => SOURCE.test(file) && !/\.gen\.|\/rivals\//.test(file))
    .flatMap((file) => {
      const lines = readText(base, file).split('\n').length - 1
      return lines > MAX_LINES ? [`${file}: ${lines} lines, alarm at ${MAX_LINES}: split it`] : []
    })
}

export function checkPack(pack: PackList, budget: PackBudget): string[] {
  const problems: string[] = []
  const over = (what: string, bytes: number, limit: number): void => {
    if (bytes > limit) problems.push(`${what}: ${bytes} bytes, budget ${limit}`)
  }
  over('packed size', pack.size, budget.packed)
  over('unpacked size', pack.unpackedSize, budget.unpacked)
  for (const file of pack.files) if (file.path.endsWith('.node')) over(file.path, file.size, budget.addon)
  for (const file of pack.files) {
    if (file.path === 'binding.gyp') problems.push('binding.gyp is packed: npm would run node-gyp on every rebuild')
  }
  return problems
}

/** What `npm pack` would carry, from the files as they are (no build). */
export function packList(base: string): PackList {
  const text = execFileSync(process.execPath, [binOfNpm(), 'pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: base,
    encoding: 'utf8',
    stdio: 'pipe',
  })
  return (JSON.parse(text) as PackList[])[0] as PackList
}

runAsCheck(import.meta.url, () => [...checkLines(root), ...checkPack(packList(root), BUDGET)])
