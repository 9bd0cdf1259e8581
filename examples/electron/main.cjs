/**
 * Main: starts the service, opens the window and joins the two with a MessageChannel; requests and answers then pass main by.
 * `--in-main` runs the session in main itself: simpler, and runs are off its thread all the same, but a crash of native code would end the app.
 */
const path = require('node:path')
const { app, BrowserWindow, MessageChannelMain, utilityProcess } = require('electron')

const modelFile = path.join(__dirname, 'model', 'digits.safetensors')

/** `connect(port)` gives a port to the service; `onRestart` is called when a service came back that had died. */
function serviceInMain() {
  const service = require('./service.cjs').createService(modelFile)
  return { connect: (port) => service.attach(port), stop: () => service.close() }
}

function serviceInUtility(onRestart) {
  let child
  let stopped = false
  const start = (then) => {
    child = utilityProcess.fork(path.join(__dirname, 'utility.cjs'), [modelFile], { serviceName: 'tersor' })
    let ready = false
    child.once('message', () => {
      ready = true
      then?.()
    })
    child.once('exit', (code) => {
      if (stopped) return
      console.error(`the service ended (${code})`)
      if (ready) start(onRestart) // one that never was ready would only fail again
    })
  }
  start()
  return {
    connect: (port) => child.postMessage('connect', [port]), // kept until the process listens
    stop() {
      stopped = true
      child.kill()
    },
  }
}

function open(service) {
  const window = new BrowserWindow({
    width: 720,
    height: 460,
    webPreferences: { preload: path.join(__dirname, 'preload.cjs'), contextIsolation: true, sandbox: true, nodeIntegration: false },
  })
  window.webContents.on('did-finish-load', () => join(service, window))
  void window.loadFile(path.join(__dirname, 'renderer', 'index.html'))
}

function join(service, window) {
  const { port1, port2 } = new MessageChannelMain()
  service.connect(port1)
  window.webContents.postMessage('service', null, [port2])
}

app.whenReady().then(() => {
  const rejoin = () => BrowserWindow.getAllWindows().forEach((window) => join(service, window))
  const service = process.argv.includes('--in-main') ? serviceInMain() : serviceInUtility(rejoin)
  open(service)
  app.on('activate', () => {
    if (BrowserWindow.getAllWindows().length === 0) open(service)
  })
  app.on('will-quit', () => service.stop())
})
app.on('window-all-closed', () => {
  if (process.platform !== 'darwin') app.quit()
})
