/**
 * What Electron does with addons of an archive: a path into app.asar that ends in .node means the copy in app.asar.unpacked. The rest of the archive stands here as
 * a folder of that name, without its .node files. Loaded with --require before the app.
 */
'use strict'
const fs = require('node:fs')
const Module = require('node:module')

const outside = (file) => (/app\.asar[\\/].*\.node$/.test(file) ? file.replace(/app\.asar(?=[\\/])/, 'app.asar.unpacked') : file)

const find = Module._findPath
Module._findPath = (request, ...rest) => {
  const copy = outside(request)
  return copy !== request && fs.existsSync(copy) ? request : find(request, ...rest)
}
const open = process.dlopen
process.dlopen = (module, file, ...rest) => open.call(process, module, outside(file), ...rest)
