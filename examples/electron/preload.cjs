/**
 * Between the window and the service: keeps the port in the isolated world and shows the page two functions. Sandboxed, so it has no modules but
 * Electron's. Answers are `{ ok, value | error }`, because of an Error only the message crosses the bridge.
 */
const { contextBridge, ipcRenderer } = require('electron')

let port
let queue = [] // asked before the port came
let last = 0
const waiting = new Map()

const send = (request) => (port ? port.postMessage(request) : queue.push(request))
const ask = (op, more) =>
  new Promise((resolve) => {
    const id = ++last
    waiting.set(id, resolve)
    send({ id, op, ...more })
  })
const settle = ({ id, ...answer }) => {
  waiting.get(id)?.(answer)
  waiting.delete(id)
}

ipcRenderer.on('service', ({ ports }) => {
  // A second port: the first service is gone, and with it what it was asked.
  const lost = port ? [...waiting.keys()] : []
  for (const id of lost) settle({ id, ok: false, error: { code: 'ERR_SERVICE', message: 'the service ended and was started again' } })
  port = ports[0]
  port.onmessage = ({ data }) => settle(data)
  for (const request of queue) port.postMessage(request)
  queue = []
})

let drawing = 0
contextBridge.exposeInMainWorld('digits', {
  info: () => ask('info'),
  /** Pixels of the latest drawing only: one that still waits is cancelled. */
  classify: (pixels) => {
    if (waiting.has(drawing)) send({ op: 'cancel', of: drawing })
    const answer = ask('classify', { pixels })
    drawing = last
    return answer
  },
})
