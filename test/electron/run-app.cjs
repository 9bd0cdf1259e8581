/**
 * Runs the example app in a folder with a stand-in for Electron: draws ten digits, ends the service under way, draws again.
 * argv: APP_FOLDER [--in-main]. Prints one line of JSON. FAKE_BEFORE: a module that is loaded first, here and in the service.
 */
const Module = require('node:module')
const path = require('node:path')
const electron = require('./fake-electron.cjs')

if (process.env.FAKE_BEFORE) require(process.env.FAKE_BEFORE)
const folder = path.resolve(process.argv[2])
const load = Module._load
Module._load = (name, ...rest) => (name === 'electron' ? electron : load(name, ...rest))
require(path.join(folder, 'main.cjs'))

const lines = {
  0: [[[140, 30], [85, 60], [65, 140], [85, 220], [140, 250], [195, 220], [215, 140], [195, 60], [140, 30]]],
  1: [[[105, 70], [145, 30], [145, 250]]],
  4: [[[170, 250], [170, 30], [60, 180], [225, 180]]],
  7: [[[65, 35], [215, 35], [120, 250]]],
} // prettier-ignore

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
async function until(what, holds) {
  const end = Date.now() + 20_000
  while (!holds()) {
    if (Date.now() > end) throw new Error(`still waiting: ${what}`)
    await wait(5)
  }
}

async function drawAll(page) {
  const seen = {}
  for (const [digit, drawing] of Object.entries(lines)) {
    page.elements.clear.dispatch('click')
    page.elements.status.textContent = ''
    page.draw(drawing)
    await until(`digit ${digit}`, () => page.elements.status.textContent !== '')
    await wait(20) // the last of its drawings
    seen[digit] = String(page.elements.digit.textContent)
  }
  return seen
}

async function main() {
  const { app, BrowserWindow, children } = electron
  await until('a window', () => BrowserWindow.getAllWindows()[0]?.page)
  const [window] = BrowserWindow.getAllWindows()
  const { page } = window
  await until('info', () => page.elements.status.textContent !== 'starting' && page.elements.status.textContent !== '')
  const result = { status: page.elements.status.textContent, processes: children.size, first: await drawAll(page) }
  const bad = await page.window.digits.classify(new Float32Array(3))
  result.error = bad.error
  if (children.size) {
    const [child] = children
    const asked = Array.from({ length: 20 }, () => page.window.digits.classify(new Float32Array(784)))
    child.kill()
    result.lost = [...new Set((await Promise.all(asked)).map(({ ok, error }) => (ok ? 'ok' : error.code)))].sort()
    result.restarted = !children.has(child) && children.size === 1
    result.second = await drawAll(page)
  }
  window.close() // the last one: the app quits
  await until('the end of the service', () => children.size === 0)
  console.log(JSON.stringify(result))
  // Ports would keep the process: Electron quits without asking them.
  process.exit(0)
}
void main()
