/** A worker thread that looks like Electron's utility process: `process.parentPort` with `{ data, ports }` in its events, arguments behind the file. */
const { parentPort, workerData } = require('node:worker_threads')
const { PortMain } = require('./fake-electron.cjs')

const { file, args, before } = workerData
if (before) require(before)
process.argv = [process.execPath, file, ...args]
process.parentPort = new PortMain(parentPort)
process.parentPort.start()
require(file)
