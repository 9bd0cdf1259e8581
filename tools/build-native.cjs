/**
 * Builds the addon into build/Release, incrementally.
 *   node tools/build-native.cjs [--builder=cmake|gyp] [--tests] [--stage] [--dry-run]
 * cmake-js is the default: it takes its headers from npm packages and downloads nothing. node-gyp is the fallback where there is no cmake.
 * --dry-run prints what node-gyp would have make do, and builds nothing.
 * --tests also builds tersor_test and, on Linux, the emulated CUDA library with its own (cmake only); --stage copies the stripped addon to prebuilds/<platform>-<arch>/.
 */
const cp = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { root, quietly, binOf, withLock } = require('./lib.cjs')
const { sources } = require('./sources.cjs')

const build = path.join(root, 'build')
const emulates = process.platform === 'linux' // its threads are fibers, its memory has guard pages
const jobs = String(Math.max(1, os.availableParallelism()))

const tests = ['tersor_test', ...(emulates ? ['tersor_cuda_emulated', 'tersor_cuda_test_emulated', 'tersor_cuda_bench_emulated'] : [])]

function has(command) {
  return cp.spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0
}

function buildWithCmake(targets) {
  const cmakeJs = [binOf('cmake-js'), '--out', 'build', '--log-level', 'error', '--CDTERSOR_TESTS=ON', `--CDTERSOR_CUDA_EMULATE=${emulates ? 'ON' : 'OFF'}`]
  const cache = path.join(build, 'CMakeCache.txt')
  // A folder from before there was the emulated library knows no such target.
  if (!fs.existsSync(cache) || (emulates && !/^TERSOR_CUDA_EMULATE:\w+=ON$/m.test(fs.readFileSync(cache, 'utf8')))) quietly('cmake-js configure', process.execPath, [cmakeJs[0], 'configure', ...cmakeJs.slice(1)])
  quietly('native build', 'cmake', ['--build', 'build', '--config', 'Release', '--parallel', jobs, '--target', ...targets])
}

function buildWithGyp(dryRun) {
  // Headers: the ones that stand beside this node, where it has them; else npm's nodedir or node-gyp's own cache.
  const prefix = path.resolve(fs.realpathSync(process.execPath), '..', '..')
  const ownHeaders = fs.existsSync(path.join(prefix, 'include', 'node', 'node_api.h'))
  const headers = ownHeaders && !process.env.npm_config_nodedir ? [`--nodedir=${prefix}`] : []
  const gyp = binOf('node-gyp')
  quietly('node-gyp configure', process.execPath, [gyp, 'configure', ...headers]) // each time: the source list may have changed
  if (dryRun) return process.stdout.write(quietly('make', 'make', ['--dry-run', '--directory', 'build', 'V=1', 'BUILDTYPE=Release']).stdout)
  quietly('node-gyp build', process.execPath, [gyp, 'build', '--jobs', jobs])
}

/** Copies the addon to where `npm pack` takes it from (npm's own pack of a git dependency loses build/). */
function stage() {
  const musl = process.platform === 'linux' && fs.readFileSync(process.execPath).subarray(0, 4096).includes('ld-musl')
  const arch = process.env.npm_config_target_arch || process.arch
  const to = path.join(root, 'prebuilds', `${process.platform}${musl ? 'musl' : ''}-${arch}`, 'tersor.node')
  const temporary = `${to}.${process.pid}`
  fs.mkdirSync(path.dirname(to), { recursive: true })
  fs.copyFileSync(path.join(build, 'Release', 'tersor.node'), temporary)
  if (process.platform === 'linux') cp.spawnSync('strip', ['--strip-unneeded', temporary], { stdio: 'ignore' })
  fs.renameSync(temporary, to) // a process that has the old file mapped keeps it
}

function main(args) {
  const asked = args.find((arg) => arg.startsWith('--builder='))?.slice('--builder='.length) || process.env.TERSOR_BUILDER
  const builder = asked || (has('cmake') ? 'cmake' : 'gyp')
  if (builder !== 'cmake' && builder !== 'gyp') throw new Error(`build-native: builder must be cmake or gyp, got ${builder}`)
  if (!sources('addon').length) throw new Error('build-native: no addon sources in native/bindings')
  // Both builders write build/Release and a build/Makefile: what the other one left has to go.
  const owner = fs.existsSync(path.join(build, 'CMakeCache.txt')) ? 'cmake' : fs.existsSync(path.join(build, 'config.gypi')) ? 'gyp' : ''
  if (owner && owner !== builder) fs.rmSync(build, { recursive: true, force: true })
  if (builder === 'gyp') buildWithGyp(args.includes('--dry-run'))
  else buildWithCmake(['tersor', ...(args.includes('--tests') ? tests : [])])
  if (args.includes('--stage')) stage()
}

withLock('native', () => main(process.argv.slice(2)))
