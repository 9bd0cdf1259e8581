/**
 * `npm run interop`: what Tersor writes, in the programs that it is for. Installs @huggingface/transformers and node-llama-cpp (exact versions, no scripts, about
 * 600 MB) into the cache once and runs test/interop with them. TERSOR_INTEROP names a folder whose node_modules has them already.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './problems.js'

const packages = { '@huggingface/transformers': '4.3.1', 'node-llama-cpp': '3.22.1' }

function run(program: string, args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = process.env): void {
  const { status } = spawnSync(program, args, { cwd, env, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) process.exit(status ?? 1)
}

const folder = process.env.TERSOR_INTEROP ?? join(root, '.cache', 'tersor', 'interop')
if (!Object.keys(packages).every((name) => existsSync(join(folder, 'node_modules', name)))) {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true, dependencies: packages }))
  run('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], folder)
}
run(process.execPath, [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run', 'test/interop'], root, {
  ...process.env,
  TERSOR_INTEROP: folder,
})
