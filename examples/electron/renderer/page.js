/** The window: a pad to draw on, and what the model thinks of it while one draws. Knows nothing but `window.digits` of the preload script. */
const pad = document.getElementById('pad')
const pen = pad.getContext('2d', { willReadFrequently: true })
const show = (id, text) => (document.getElementById(id).textContent = text)

Object.assign(pen, { lineWidth: 22, lineCap: 'round', lineJoin: 'round', strokeStyle: '#fff' })
document.getElementById('scores').replaceChildren(...Array.from({ length: 10 }, () => document.createElement('li')))

async function classify() {
  const { data } = pen.getImageData(0, 0, pad.width, pad.height)
  const digit = toDigit(
    Float32Array.from({ length: pad.width * pad.height }, (_, i) => data[4 * i] / 255),
    pad.width,
  )
  if (!digit) return
  const { ok, value, error } = await window.digits.classify(digit)
  if (!ok) {
    if (error.code !== 'ERR_ABORTED') show('status', `${error.code}: ${error.message}`)
    return
  }
  show('digit', value.digit)
  show('status', `${value.ms.toFixed(2)} ms`)
  ;[...document.getElementById('scores').children].forEach((item, i) => (item.textContent = `${(100 * value.scores[i]).toFixed(1)} %`))
}

let from = null
pad.addEventListener('pointerdown', ({ offsetX, offsetY }) => (from = [offsetX, offsetY]))
pad.addEventListener('pointermove', ({ offsetX, offsetY }) => {
  if (!from) return
  pen.beginPath()
  pen.moveTo(...from)
  pen.lineTo(offsetX, offsetY)
  pen.stroke()
  from = [offsetX, offsetY]
  void classify()
})
window.addEventListener('pointerup', () => (from = null))
document.getElementById('clear').addEventListener('click', () => {
  pen.clearRect(0, 0, pad.width, pad.height)
  show('digit', '?')
})

window.digits.info().then(({ ok, value, error }) => {
  show('status', ok ? `${value.name}, ${(value.bytes / 1024).toFixed(0)} KiB` : `${error.code}: ${error.message}`)
})
