/**
 * Stands in for the `electron` module as far as the example uses it: ports and processes are those of worker_threads, windows are vm contexts. Kept from
 * the real one is what restricts: values cross ports, processes and the context bridge by structured clone only; a port begins with start(); a sandboxed
 * preload script has no modules but Electron's; the page sees nothing but what the bridge shows.
 */
const { EventEmitter } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')
const { MessageChannel, Worker } = require('node:worker_threads')
const { FakePage } = require('./fake-page.cjs')

/** MessagePortMain over a port of worker_threads. */
class PortMain extends EventEmitter {
  constructor(port) {
    super()
    this.port = port
  }
  start() {
    this.port.on('message', ({ data, ports }) => this.emit('message', { data, ports: ports.map((p) => new PortMain(p)) }))
    this.port.on('close', () => this.emit('close'))
  }
  postMessage(data, ports = []) {
    const inner = ports.map((p) => p.port)
    this.port.postMessage({ data, ports: inner }, inner) // as the real one: ports are transferred, buffers copied
  }
  close() {
    this.port.close()
  }
}

class MessageChannelMain {
  constructor() {
    const { port1, port2 } = new MessageChannel()
    this.port1 = new PortMain(port1)
    this.port2 = new PortMain(port2)
  }
}

const children = new Set()
const utilityProcess = {
  fork(file, args, options) {
    const child = new EventEmitter()
    const worker = new Worker(path.join(__dirname, 'utility-process.cjs'), { workerData: { file, args, before: process.env.FAKE_BEFORE } })
    const port = new PortMain(worker)
    port.start()
    port.on('message', ({ data }) => child.emit('message', data))
    worker.on('error', (error) => console.error(error))
    worker.on('exit', (code) => {
      children.delete(child)
      child.emit('exit', code)
    })
    child.postMessage = (data, ports) => port.postMessage(data, ports)
    child.kill = () => void worker.terminate()
    child.options = options
    children.add(child)
    return child
  },
}

/** What the bridge lets through: clones, and functions whose arguments and results are clones. */
function bridged(api) {
  // The promise is one of another realm: asked by what it can.
  const across = (f) => (...args) => {
    const given = f(...structuredClone(args))
    return typeof given?.then === 'function' ? given.then((value) => structuredClone(value)) : structuredClone(given)
  } // prettier-ignore
  return Object.fromEntries(Object.entries(api).map(([name, v]) => [name, typeof v === 'function' ? across(v) : structuredClone(v)]))
}

/** A port as the DOM has it. */
function domPort({ port }) {
  const own = { onmessage: null, postMessage: (data) => port.postMessage({ data, ports: [] }), close: () => port.close() }
  port.on('message', ({ data }) => own.onmessage?.({ data }))
  return own
}

const windows = new Set()
class BrowserWindow {
  static getAllWindows() {
    return [...windows]
  }
  constructor(options) {
    this.options = options
    this.webContents = new EventEmitter()
    this.ipcRenderer = new EventEmitter()
    this.webContents.postMessage = (channel, data, ports) =>
      this.ipcRenderer.emit(channel, { ports: ports.map(domPort) }, structuredClone(data))
    windows.add(this)
  }
  async loadFile(file) {
    await new Promise(setImmediate) // as loading does, it ends after the caller has its listeners
    this.page = new FakePage(file)
    const electron = {
      ipcRenderer: this.ipcRenderer,
      contextBridge: { exposeInMainWorld: (name, api) => (this.page.window[name] = bridged(api)) },
    }
    const require = (name) => {
      if (name !== 'electron') throw new Error(`a sandboxed preload script cannot load ${name}`)
      return electron
    }
    const { preload, sandbox, contextIsolation, nodeIntegration } = this.options.webPreferences
    if (!sandbox || !contextIsolation || nodeIntegration) throw new Error('the window is not isolated')
    vm.runInNewContext(fs.readFileSync(preload, 'utf8'), { require, module: { exports: {} } }, { filename: preload })
    this.page.run()
    this.webContents.emit('did-finish-load')
  }
  close() {
    windows.delete(this)
    if (windows.size === 0) app.emit('window-all-closed')
  }
}

const app = Object.assign(new EventEmitter(), {
  whenReady: () => Promise.resolve(),
  quit: () => app.emit('will-quit'),
})

module.exports = { app, BrowserWindow, MessageChannelMain, PortMain, utilityProcess, children }
