/**
 * Compiles ts/ twice: dist/esm and dist/cjs.
 *   node tools/build-ts.cjs [--if-stale]
 * Built beside and renamed into place, so a failed build leaves the old dist/ whole.
 */
const fs = require('node:fs')
const path = require('node:path')
const { root, quietly, binOf, stampOf, readStamp, writeStamp } = require('./lib.cjs')

const dist = path.join(root, 'dist')
const inputs = ['ts', 'tsconfig.base.json', 'tsconfig.esm.json', 'tsconfig.cjs.json', 'package.json', 'tools/build-ts.cjs']
const stamp = stampOf(inputs)
if (process.argv.includes('--if-stale') && fs.existsSync(dist) && readStamp('ts') === stamp) process.exit(0)

const fresh = path.join(root, `dist.${process.pid}`)
process.on('exit', () => fs.rmSync(fresh, { recursive: true, force: true }))
for (const kind of ['esm', 'cjs']) {
  const out = path.join(fresh, kind)
  quietly(`tsc (${kind})`, process.execPath, [binOf('typescript', 'tsc'), '-p', `tsconfig.${kind}.json`, '--outDir', out])
  const plain = ['native/load', 'data/loader/worker-file', 'runtime/worker/worker-file'].flatMap((file) => [`${file}.cjs`, `${file}.d.cts`])
  for (const file of plain) {
    fs.mkdirSync(path.dirname(path.join(out, file)), { recursive: true })
    fs.copyFileSync(path.join(root, 'ts', file), path.join(out, file))
  }
}
fs.writeFileSync(path.join(fresh, 'cjs', 'package.json'), '{ "type": "commonjs" }\n')
const cli = path.join(fresh, 'esm', 'cli', 'main.js')
if (fs.existsSync(cli)) fs.chmodSync(cli, 0o755)
fs.rmSync(dist, { recursive: true, force: true })
fs.renameSync(fresh, dist)
writeStamp('ts', stamp)
