/**
 * Compiles ts/ into dist/esm and dist/cjs.
 *   node tools/build-ts.cjs [--if-stale]
 * Types are checked once, and the declarations of both are that run's; JavaScript is written file by file (`isolatedModules`), without comments, which
 * stand in the declarations. Built beside and renamed into place, so a failed build leaves the old dist/ whole.
 */
const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')
const { root, quietly, binOf, stampOf, readStamp, writeStamp, listFiles } = require('./lib.cjs')

const dist = path.join(root, 'dist')
const inputs = ['ts', 'tsconfig.base.json', 'tsconfig.esm.json', 'package.json', 'tools/build-ts.cjs']
const stamp = stampOf(inputs)
if (process.argv.includes('--if-stale') && fs.existsSync(dist) && readStamp('ts') === stamp) process.exit(0)

const fresh = path.join(root, `dist.${process.pid}`)
process.on('exit', () => fs.rmSync(fresh, { recursive: true, force: true }))
const esm = path.join(fresh, 'esm')
quietly('tsc', process.execPath, [binOf('typescript', 'tsc'), '-p', 'tsconfig.esm.json', '--emitDeclarationOnly', '--outDir', esm])
fs.cpSync(esm, path.join(fresh, 'cjs'), { recursive: true })

const ts = require('typescript')
const { options } = ts.parseJsonConfigFileContent(ts.readConfigFile(path.join(root, 'tsconfig.base.json'), ts.sys.readFile).config, ts.sys, root)
const kinds = { esm: ts.ModuleKind.ES2022, cjs: ts.ModuleKind.CommonJS }
for (const file of listFiles(['ts'])) {
  const source = fs.readFileSync(path.join(root, file), 'utf8')
  for (const [kind, module] of Object.entries(kinds)) {
    const out = path.join(fresh, kind, path.relative('ts', file))
    fs.mkdirSync(path.dirname(out), { recursive: true })
    if (/\.d\.cts$|\.cjs$/.test(file)) fs.copyFileSync(path.join(root, file), out)
    else if (file.endsWith('.ts')) {
      const compilerOptions = { ...options, module, moduleResolution: ts.ModuleResolutionKind.Bundler, declaration: false, removeComments: true }
      const { outputText } = ts.transpileModule(source, { fileName: file, compilerOptions })
      // What only modules may say (import.meta, await outside functions) is an error here, not in the application that requires it.
      if (kind === 'cjs') new vm.Script(`(function () {${outputText.replace(/^#!.*/, '')}\n})`, { filename: file })
      fs.writeFileSync(out.replace(/\.ts$/, '.js'), outputText)
    }
  }
}
fs.writeFileSync(path.join(fresh, 'cjs', 'package.json'), '{ "type": "commonjs" }\n')
const cli = path.join(fresh, 'esm', 'cli', 'main.js')
if (fs.existsSync(cli)) fs.chmodSync(cli, 0o755)
fs.rmSync(dist, { recursive: true, force: true })
fs.renameSync(fresh, dist)
writeStamp('ts', stamp)
