/**
 * Finds and loads the compiled addon. One plain CommonJS file, copied as it is into both builds: the ESM and the CJS entry then share one
 * addon instance (Node caches it by the path of the binary), and `__dirname` exists.
 *
 * Order: TERSOR_ADDON_PATH (a file; nothing else is tried) > build/Release > build/Debug > prebuilds/<platform>-<arch>. What was compiled
 * on this machine wins over what came in the package. A failure throws an Error with code ERR_NATIVE that lists what was tried.
 */
'use strict'
const fs = require('node:fs')
const path = require('node:path')
const bindings = require('bindings')

/** The folder of the package: the nearest one above whose package.json is ours, else (bundled code) the nearest with prebuilds. */
function findRoot(from) {
  let withPrebuilds
  for (let dir = from; ; dir = path.dirname(dir)) {
    try {
      if (JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8')).name === 'tersor') return dir
    } catch {
      // no package.json here, or one that is not ours to judge
    }
    if (!withPrebuilds && fs.existsSync(path.join(dir, 'prebuilds'))) withPrebuilds = dir
    if (dir === path.dirname(dir)) return withPrebuilds ?? from
  }
}

/** Which C library this Node was linked with: its ELF interpreter stands in the first page (process.report would take 6 ms). */
function isMusl() {
  if (process.platform !== 'linux') return false
  const head = Buffer.alloc(4096)
  try {
    const file = fs.openSync(process.execPath, 'r')
    fs.readSync(file, head, 0, head.length, 0)
    fs.closeSync(file)
  } catch {
    return false
  }
  return head.includes('ld-musl')
}

const root = findRoot(__dirname)
const tuple = `${process.platform}${isMusl() ? 'musl' : ''}-${process.arch}`
const tried = [
  ['build', 'Release'],
  ['build', 'Debug'],
  ['prebuilds', tuple],
]

function advice(error) {
  if (error.code === 'ERR_DLOPEN_DISABLED') return 'Node was started with addons disabled: drop --no-addons, or add --allow-addons.'
  if (error.tries) {
    return (
      `This package carries no binary for ${tuple}. Build it once (needs a C++17 compiler and cmake >= 3.19):\n` +
      `  npm install --save-dev cmake-js@8 node-addon-api@8 node-api-headers@1\n` +
      `  npx cmake-js build --directory ${JSON.stringify(root)}`
    )
  }
  return 'The binary was found but could not be loaded: it may be truncated, or need a newer C++ library than this machine has.'
}

exports.loadAddon = function loadAddon() {
  const own = process.env.TERSOR_ADDON_PATH
  try {
    if (own) return { native: require(path.resolve(own)), addonPath: path.resolve(own) }
    const addonPath = bindings({
      bindings: 'tersor',
      module_root: root,
      path: true,
      try: tried.map((folders) => ['module_root', ...folders, 'bindings']),
    })
    return { native: require(addonPath), addonPath }
  } catch (cause) {
    const files = own ? [path.resolve(own)] : tried.map((folders) => path.join(root, ...folders, 'tersor.node'))
    const reason = cause.tries ? 'none of these files exists' : cause.message
    const error = new Error(
      `tersor: the native addon did not load (${tuple}, node ${process.version}): ${reason}\n` +
        `Tried${own ? ' (TERSOR_ADDON_PATH)' : ''}:\n${files.map((file) => `  ${file}`).join('\n')}\n${advice(cause)}`,
      { cause },
    )
    error.code = 'ERR_NATIVE'
    error.tried = files
    throw error
  }
}

/**
 * Files that may be the library for a kind of device ("cuda"): TERSOR_CUDA_PATH (a file; nothing else is tried) > beside the addon > the optional npm package
 * tersor-<platform>-<arch>-<kind> of our own version. `files` exist, `tried` is all of them, with the reason where one was found and is not to be loaded.
 */
exports.deviceFiles = function deviceFiles(kind) {
  const own = process.env[`TERSOR_${kind.toUpperCase()}_PATH`]
  const name = `tersor_${kind}${{ win32: '.dll', darwin: '.dylib' }[process.platform] ?? '.so'}`
  const places = own
    ? [{ file: path.resolve(own) }]
    : [{ file: path.join(path.dirname(exports.loadAddon().addonPath), name) }, packaged(`tersor-${tuple}-${kind}`, name)]
  return {
    files: places.filter(({ file, why }) => file && !why && fs.existsSync(file)).map(({ file }) => file),
    tried: places.map(({ file, why }) => (why ? `${file ? `${file}: ` : ''}${why}` : file)),
    own: Boolean(own),
  }
}

const manifestOf = (file) => JSON.parse(fs.readFileSync(file, 'utf8'))

/** The file in an npm package that can be reached from ours; why there is none, or why it is not ours. */
function packaged(name, file) {
  let manifest
  try {
    manifest = require.resolve(`${name}/package.json`, { paths: [root] })
  } catch {
    return { why: `${name} (npm package)` }
  }
  const found = path.join(path.dirname(manifest), file)
  try {
    const [theirs, ours] = [manifestOf(manifest), manifestOf(path.join(root, 'package.json'))]
    if (theirs.version !== ours.version) return { file: found, why: `${name} ${theirs.version} does not go with tersor ${ours.version}: install the same version of both` }
  } catch {
    // Bundled code has no package.json: the interface and its hash decide.
  }
  return { file: found }
}
