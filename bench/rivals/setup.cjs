/**
 * npm run bench:rivals: makes the rivals of the bench ready, outside of what git tracks.
 *   npm packages by their lock into bench/rivals/node_modules; one executable per C++ library into bench/rivals/build.
 * What a C++ rival needs stands in its first lines: BUILD (flags), VARIANTS (name:flags,flags ...), DEBIAN (packages). A library that is
 * not there is reported with its Debian package; nothing is installed outside this folder. Options: --no-npm, --only=NAME,NAME.
 */
const cp = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const source = path.join(__dirname, 'native')
const build = path.join(__dirname, 'build')
const only = process.argv
  .find((arg) => arg.startsWith('--only='))
  ?.slice(7)
  .split(',')
const compiler = process.env.CXX || 'g++'
let missing = 0

function say(name, what) {
  console.log(`${name.padEnd(18)} ${what}`)
}

/** What follows `word:` in the head of a source file, up to three spaces or the end of the line. */
function head(text, word) {
  return new RegExp(`${word}: (.*?)(?:   |\\n)`).exec(text)?.[1].trim() ?? ''
}

function isCurrent(target, file) {
  if (!fs.existsSync(target)) return false
  const made = fs.statSync(target).mtimeMs
  return [file, path.join(source, 'contender.h')].every((one) => fs.statSync(one).mtimeMs < made)
}

function compile(name) {
  const file = path.join(source, `${name}.cc`)
  const text = fs.readFileSync(file, 'utf8')
  const flags = head(text, 'BUILD').split(' ')
  const variants = head(text, 'VARIANTS').split(' ').filter(Boolean)
  for (const variant of variants.length ? variants : ['']) {
    const [suffix, extra = ''] = variant.split(':')
    const target = path.join(build, suffix ? `${name}-${suffix}` : name)
    if (isCurrent(target, file)) {
      say(path.basename(target), 'up to date')
      continue
    }
    const args = ['-std=c++17', '-O3', '-DNDEBUG', ...extra.split(',').filter(Boolean), '-o', target, file, ...flags]
    const done = cp.spawnSync(compiler, args, { encoding: 'utf8' })
    if (done.status === 0) say(path.basename(target), 'built')
    else {
      missing++
      fs.rmSync(target, { force: true })
      const why = done.error?.message ?? /error: (.*)|cannot find (.*)/.exec(done.stderr)?.[0] ?? done.stderr.split('\n')[0]
      say(path.basename(target), `absent: ${why}; Debian: apt-get install ${head(text, 'DEBIAN')}`)
    }
  }
}

function checkPython(file) {
  const name = file.replace('_contender.py', '')
  const python = process.env.TERSOR_BENCH_PYTHON || '/usr/bin/python3'
  const done = cp.spawnSync(python, ['-c', `import ${name}; print(${name}.__version__)`], { encoding: 'utf8' })
  if (done.status === 0) return say(name, done.stdout.trim())
  missing++
  const packages = head(fs.readFileSync(path.join(__dirname, 'python', file), 'utf8').replaceAll('"""', '   '), 'DEBIAN')
  return say(name, `absent: ${done.error?.message ?? done.stderr.trim().split('\n').pop()}; Debian: apt-get install ${packages}`)
}

function installNpm() {
  const done = cp.spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: __dirname, encoding: 'utf8' })
  if (done.status === 0) return say('npm packages', 'installed by their lock')
  missing++
  return say('npm packages', `absent: ${done.error?.message ?? done.stderr.trim().split('\n')[0]}`)
}

fs.mkdirSync(build, { recursive: true })
const wanted = (name) => !only || only.includes(name)
if (!process.argv.includes('--no-npm') && !only) installNpm()
for (const file of fs.readdirSync(source).sort()) {
  if (file.endsWith('.cc') && wanted(file.slice(0, -3))) compile(file.slice(0, -3))
}
for (const file of fs.readdirSync(path.join(__dirname, 'python')).sort()) {
  if (file.endsWith('_contender.py') && wanted(file.replace('_contender.py', ''))) checkPython(file)
}
if (missing) console.log(`${missing} absent: the bench lists them as absent`)
