/** The utility process: Tersor is loaded here and nowhere else, so that the windows and main stay free, and a crash of native code ends only this. */
const { createService } = require('./service.cjs')

const service = createService(process.argv[2])
process.parentPort.on('message', ({ data, ports }) => {
  if (data === 'connect') service.attach(ports[0])
})
process.parentPort.postMessage('ready')
