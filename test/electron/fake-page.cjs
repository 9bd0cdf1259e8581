/** A page without a browser: runs the scripts of an HTML file in a context of their own, with a canvas that lines can be drawn on. */
const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')

class Element {
  constructor(attributes = {}) {
    Object.assign(this, { textContent: '', children: [], listeners: {} }, attributes)
  }
  addEventListener(type, listener) {
    ;(this.listeners[type] ??= []).push(listener)
  }
  dispatch(type, event = {}) {
    for (const listener of this.listeners[type] ?? []) listener(event)
  }
  replaceChildren(...children) {
    this.children = children
  }
  /** 2d: round lines of full ink. */
  getContext() {
    const { width, height } = this
    const ink = new Uint8ClampedArray(4 * width * height)
    let [at, to] = [[0, 0], [0, 0]] // prettier-ignore
    return {
      beginPath: () => undefined,
      moveTo: (...p) => (at = p),
      lineTo: (...p) => (to = p),
      clearRect: () => ink.fill(0),
      getImageData: () => ({ data: ink.slice() }),
      stroke() {
        const [[ax, ay], [bx, by]] = [at, to]
        const r = this.lineWidth / 2
        for (let y = Math.max(0, Math.floor(Math.min(ay, by) - r)); y < Math.min(height, Math.max(ay, by) + r); y++)
          for (let x = Math.max(0, Math.floor(Math.min(ax, bx) - r)); x < Math.min(width, Math.max(ax, bx) + r); x++) {
            const [dx, dy] = [bx - ax, by - ay]
            const t = Math.max(0, Math.min(1, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)))
            if (Math.hypot(x - ax - t * dx, y - ay - t * dy) <= r) ink.fill(255, 4 * (y * width + x), 4 * (y * width + x) + 4)
          }
      },
    }
  }
}

class FakePage {
  constructor(file) {
    this.html = fs.readFileSync(file, 'utf8')
    this.folder = path.dirname(file)
    this.elements = Object.fromEntries(
      [...this.html.matchAll(/<(\w+)[^>]* id="(\w+)"([^>]*)>/g)].map(([, , id, more]) => [
        id,
        new Element(Object.fromEntries([...more.matchAll(/(\w+)="(\d+)"/g)].map(([, name, value]) => [name, Number(value)]))),
      ]),
    )
    this.window = new Element()
    // What a page has: no require, no process, no module.
    const document = { getElementById: (id) => this.elements[id], createElement: () => new Element() }
    this.context = vm.createContext({ window: this.window, document })
  }
  run() {
    for (const [, file] of this.html.matchAll(/<script src="([^"]+)"/g))
      vm.runInContext(fs.readFileSync(path.join(this.folder, file), 'utf8'), this.context, { filename: file })
  }
  /** Draws lines (points in pixels) with the pointer. */
  draw(lines) {
    const { pad } = this.elements
    for (const [[x, y], ...rest] of lines) {
      pad.dispatch('pointerdown', { offsetX: x, offsetY: y })
      for (const [offsetX, offsetY] of rest) pad.dispatch('pointermove', { offsetX, offsetY })
      this.window.dispatch('pointerup')
    }
  }
}

module.exports = { FakePage }
