/**
 * What only CommonJS can say, for both builds: where the worker's program lies, and an import() that no compiler turns into require().
 * Copied into dist as it is.
 */
'use strict'
const path = require('node:path')

exports.workerFile = path.join(__dirname, 'job-worker.js')
exports.importModule = (url) => import(url)
