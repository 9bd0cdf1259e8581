/**
 * What answers the window: one session, requests in, answers out, over any number of ports. The same in a utility process and in main.
 *
 *   { id, op: 'info' }                  -> { id, ok: true, value: { name, bytes, planned } }
 *   { id, op: 'classify', pixels }      -> { id, ok: true, value: { digit, scores, ms } }       pixels: Float32Array(784) in [0, 1]
 *   { id, op: 'cancel', of }            no answer; the request `of` is answered with ERR_ABORTED where it was still waiting
 *   anything that fails                 -> { id, ok: false, error: { code, message } }
 *
 * Every message can be cloned (structured clone): nothing else crosses a process or the context bridge.
 */
const { statSync } = require('node:fs')
const { load, ops, session } = require('tersor')

const side = 28
const noPixels = { data: new Float32Array(side * side), shape: [1, 1, side, side] }

function createService(modelFile) {
  const model = load(modelFile)
  // Probabilities are part of the plan: one native call from pixels to scores.
  const s = session((x) => ops.softmax(model.forward(x)))
  const { planned } = s.prepare(noPixels) // now, not in the first request

  const handlers = {
    info: () => ({ name: model.info.name, bytes: statSync(modelFile).size, planned }),
    async classify({ pixels }, signal) {
      const began = performance.now()
      const { output } = await s.run({ data: pixels, shape: noPixels.shape }, { signal }) // not on this thread
      const scores = /** @type {Float32Array} */ (output.data) // softmax gives f32
      return { digit: scores.indexOf(Math.max(...scores)), scores, ms: performance.now() - began }
    },
  }

  async function answer(request, signal) {
    try {
      if (!Object.hasOwn(handlers, request?.op)) throw Object.assign(new Error(`no operation ${request?.op}`), { code: 'ERR_OPTION' })
      return { id: request.id, ok: true, value: await handlers[request.op](request, signal) }
    } catch ({ code = 'ERR_INTERNAL', message }) {
      return { id: request?.id, ok: false, error: { code, message } }
    }
  }

  return {
    /** Serves a MessagePortMain until its other end closes; what still waits then is cancelled. */
    attach(port) {
      const running = new Map()
      port.on('message', async ({ data: request }) => {
        if (request?.op === 'cancel') return void running.get(request.of)?.abort()
        const cancel = new AbortController()
        running.set(request?.id, cancel)
        port.postMessage(await answer(request, cancel.signal))
        running.delete(request?.id)
      })
      port.on('close', () => running.forEach((cancel) => cancel.abort()))
      port.start()
    },
    /** Runs in progress end well; the memory of the plan goes with the last one. */
    close() {
      s.dispose()
      model.dispose()
    },
  }
}

module.exports = { createService }
