/**
 * The one list of native source files, read by CMakeLists.txt and by binding.gyp.
 *   node tools/sources.cjs core|shared|hooked|addon|test [--cmake]   prints paths relative to the root, one a line (--cmake: ';' between)
 *
 * A file joins the build by standing in its folder. The order is the byte order of the paths, so two machines link alike.
 * `core` = `shared` + `hooked`: hooked files ask for TERSOR_TESTING (failure injection) and are compiled once more for the native test
 * runner; the shared ones are compiled once for both.
 */
const fs = require('node:fs')
const path = require('node:path')

const root = path.join(__dirname, '..')
const CORE = ['base', 'cpu', 'simd', 'kernels', 'codecs', 'tensor', 'ops', 'plan', 'backend']
const FOLDERS = { core: CORE, addon: ['bindings'], test: ['test'] }

/** All files below `folder` whose name ends in `ext`, as paths relative to the root with '/'. */
function filesBelow(folder, ext) {
  const full = path.join(root, folder)
  if (!fs.existsSync(full)) return []
  return fs.readdirSync(full, { withFileTypes: true }).flatMap((entry) => {
    const name = `${folder}/${entry.name}`
    if (entry.isDirectory()) return filesBelow(name, ext)
    return entry.name.endsWith(ext) ? [name] : []
  })
}

function sources(kind) {
  if (kind === 'shared' || kind === 'hooked') {
    return sources('core').filter((file) => isHooked(file) === (kind === 'hooked'))
  }
  const folders = FOLDERS[kind]
  if (!folders) throw new Error(`sources: kind must be core, shared, hooked, addon or test, got ${kind}`)
  return folders.flatMap((folder) => filesBelow(`native/${folder}`, '.cc')).sort((a, b) => (a < b ? -1 : 1))
}

function isHooked(file) {
  return fs.readFileSync(path.join(root, file), 'utf8').includes('TERSOR_TESTING')
}

module.exports = { sources, filesBelow }

if (require.main === module) {
  process.stdout.write(sources(process.argv[2]).join(process.argv.includes('--cmake') ? ';' : '\n') + '\n')
}
