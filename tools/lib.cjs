/** What the build tools share: the root, child processes that speak only when they fail or warn, folder listings and stamps. */
const cp = require('node:child_process')
const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')

const root = path.join(__dirname, '..')

/** Runs a program to its end; its output is shown only when it fails (or with TERSOR_VERBOSE), else its warnings. Exits when it failed. */
function quietly(what, command, args, options = {}) {
  const verbose = Boolean(process.env.TERSOR_VERBOSE)
  const result = cp.spawnSync(command, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    stdio: verbose ? 'inherit' : 'pipe',
    ...options,
  })
  if (result.status === 0) {
    const warnings = verbose ? [] : `${result.stdout}${result.stderr}`.split('\n').filter((line) => /\bwarning:/i.test(line))
    if (warnings.length) process.stderr.write(`${warnings.join('\n')}\n`)
    return result
  }
  process.stderr.write(`${what} failed (${result.error?.message ?? `exit ${result.status ?? result.signal}`})\n`)
  if (!verbose) process.stderr.write(`${result.stdout ?? ''}${result.stderr ?? ''}\n`)
  process.exit(result.status || 1)
}

/** The executable JavaScript file of a dependency's bin. */
function binOf(name, bin = name) {
  const file = path.join(root, 'node_modules', name, 'package.json')
  const declared = JSON.parse(fs.readFileSync(file, 'utf8')).bin
  return path.join(path.dirname(file), typeof declared === 'string' ? declared : declared[bin])
}

/** All files below the given files and folders (relative to the root), in byte order. */
function listFiles(places) {
  const walk = (name) => {
    const full = path.join(root, name)
    if (!fs.existsSync(full)) return []
    if (!fs.statSync(full).isDirectory()) return [name]
    return fs.readdirSync(full).flatMap((entry) => walk(path.join(name, entry)))
  }
  return places.flatMap(walk).sort((a, b) => (a < b ? -1 : 1))
}

/** One hash over the contents of files: what a build was made from. */
function stampOf(places) {
  const hash = crypto.createHash('sha256')
  for (const file of listFiles(places))
    hash
      .update(`${file}\0`)
      .update(fs.readFileSync(path.join(root, file)))
      .update('\0')
  return hash.digest('hex')
}

const stampFile = (name) => path.join(root, 'node_modules', '.cache', 'tersor', name)

function readStamp(name) {
  return fs.existsSync(stampFile(name)) ? fs.readFileSync(stampFile(name), 'utf8') : ''
}

function writeStamp(name, text) {
  fs.mkdirSync(path.dirname(stampFile(name)), { recursive: true })
  fs.writeFileSync(stampFile(name), text)
}

/** Runs `work` while no other process of this checkout holds the lock of that name; one left by a dead process is taken over. */
function withLock(name, work) {
  const file = stampFile(`${name}.lock`)
  fs.mkdirSync(path.dirname(file), { recursive: true })
  for (;;) {
    try {
      fs.writeFileSync(file, String(process.pid), { flag: 'wx' })
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      if (!isAlive(file)) fs.rmSync(file, { force: true })
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
    }
  }
  process.once('exit', () => fs.rmSync(file, { force: true }))
  work()
}

function isAlive(file) {
  try {
    process.kill(Number(fs.readFileSync(file, 'utf8')), 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

module.exports = { root, withLock, quietly, binOf, listFiles, stampOf, readStamp, writeStamp }
