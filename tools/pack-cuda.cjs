/**
 * The optional npm package with the CUDA library: builds it for every target, strips it, looks at what it asks of a machine, and packs it.
 *   node tools/pack-cuda.cjs [--out=FOLDER] [--architectures=LIST] [--library=FILE]      also: npm run pack:cuda
 * --library packs a library that is built already. The package goes with one version of tersor, which refuses another one; interface and op table are compared
 * besides, when the library is loaded (native/backend). Prints one line of JSON: file, bytes, seconds.
 */
const cp = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { root, quietly } = require('./lib.cjs')

const NAME = `tersor-linux-${process.arch}-cuda`
const FOLDER = 'build-cuda-package'
const LIBRARY = 'tersor_cuda.so'

const read = (file) => fs.readFileSync(path.join(root, file), 'utf8')

function option(args, name) {
  return args.find((arg) => arg.startsWith(`--${name}=`))?.slice(name.length + 3)
}

function build(architectures) {
  // A third of the size, for time that only a release has.
  const options = [
    '-DTERSOR_ADDON=OFF',
    '-DTERSOR_CUDA=ON',
    '-DCMAKE_CUDA_FLAGS=-compress-mode=size',
    ...(architectures ? [`-DTERSOR_CUDA_ARCHITECTURES=${architectures}`] : []),
  ]
  quietly('cmake', 'cmake', ['-S', '.', '-B', FOLDER, ...options])
  quietly('nvcc build', 'cmake', ['--build', FOLDER, '--parallel', String(os.availableParallelism()), '--target', 'tersor_cuda'])
  return path.join(root, FOLDER, 'Release', LIBRARY)
}

/** What a library may ask of a machine: libc and libstdc++, as the addon, and no CUDA library, which a machine without a driver does not have. */
function foreignSymbols(library) {
  const list = (...flags) => cp.execFileSync('nm', ['-D', ...flags, library], { encoding: 'utf8', maxBuffer: 1 << 26 }).split('\n')
  if (!list('--defined-only').some((line) => line.endsWith(' tersor_backend')))
    throw new Error(`${library}: no device library (no tersor_backend)`)
  const needed = list('--undefined-only').flatMap((line) => /\sU (\S+)/.exec(line)?.[1] ?? [])
  return needed.filter((name) => !/@(GLIBC|GLIBCXX|CXXABI|GCC)_/.test(name))
}

function readme(version) {
  return `# ${NAME}

The CUDA library of [tersor](https://www.npmjs.com/package/tersor) ${version} for Linux (${process.arch}, glibc). Install it beside tersor, in the same version:

    npm install tersor@${version} ${NAME}@${version}
    npx tersor devices

It needs an NVIDIA driver for CUDA 13 (580 or newer) and a GPU of compute capability 7.5 or higher; CUDA's run time is linked in. On a machine without a driver it
loads and reports no device.
`
}

function manifest(version) {
  const { license, engines } = JSON.parse(read('package.json'))
  const abi = Number(/kBackendAbi = (\d+)/.exec(read('native/backend/backend.h'))?.[1])
  return {
    name: NAME,
    version,
    description: 'The CUDA library of tersor',
    license,
    os: ['linux'],
    cpu: [process.arch],
    libc: ['glibc'],
    engines,
    files: [LIBRARY],
    peerDependencies: { tersor: version },
    tersor: { abi },
  }
}

function main(args) {
  const begin = Date.now()
  if (process.platform !== 'linux') throw new Error(`pack-cuda: Linux only, this is ${process.platform}`)
  const { version } = JSON.parse(read('package.json'))
  const out = path.resolve(option(args, 'out') ?? FOLDER)
  const library = option(args, 'library') ?? build(option(args, 'architectures'))
  const foreign = foreignSymbols(library)
  if (foreign.length) throw new Error(`pack-cuda: ${library} needs more than libc and libstdc++: ${foreign.slice(0, 5).join(', ')}`)
  fs.mkdirSync(out, { recursive: true })
  const folder = fs.mkdtempSync(path.join(out, 'package-'))
  try {
    fs.copyFileSync(library, path.join(folder, LIBRARY))
    quietly('strip', 'strip', ['--strip-unneeded', path.join(folder, LIBRARY)])
    fs.writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest(version), null, 2)}\n`)
    fs.writeFileSync(path.join(folder, 'README.md'), readme(version))
    fs.copyFileSync(path.join(root, 'LICENSE'), path.join(folder, 'LICENSE'))
    const { stdout } = quietly('npm pack', 'npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', out], {
      cwd: folder,
      stdio: 'pipe',
    })
    const [pack] = JSON.parse(stdout.slice(stdout.indexOf('[')))
    const bytes = { packed: pack.size, library: fs.statSync(path.join(folder, LIBRARY)).size }
    console.log(JSON.stringify({ file: path.join(out, pack.filename), bytes, seconds: Math.round((Date.now() - begin) / 1000) }))
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

main(process.argv.slice(2))
