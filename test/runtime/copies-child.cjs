/** Two copies of the library with an addon each in one process, and the same library loaded twice; argv: folder dist/cjs, two files of the addon. */
'use strict'
const path = require('node:path')
const [, , dist, ...addons] = process.argv

/** The library anew: nothing of it stays in the cache of modules. */
function load(addon) {
  for (const file of Object.keys(require.cache)) if (file.startsWith(dist)) delete require.cache[file]
  process.env.TERSOR_ADDON_PATH = addon
  const library = require(path.join(dist, 'index.js'))
  library.memory() // the addon is loaded at first use
  return library
}

const double = ({ session, tensor, ops }) => {
  const w = tensor([[2]])
  return session((x) => ops.matmul(x, w))
}

async function main() {
  const libraries = [load(addons[0]), load(addons[1]), load(addons[0])]
  const sessions = libraries.map(double)
  const found = await Promise.all(
    sessions.flatMap((s, i) => [1, 2, 3].map(async (n) => (await s.run({ data: Float32Array.of(n + i), shape: [1, 1] })).output.data[0])),
  )
  const before = libraries.map(({ memory }) => memory().tensors)
  const t = libraries[0].tensor([1, 2, 3])
  const grown = libraries.map(({ memory }, i) => memory().tensors - before[i])
  // A handle of one copy means nothing to another one: a typed error or a refusal, never a foreign tensor.
  let foreign = 'taken'
  try {
    libraries[1].ops.add(t, t).read()
  } catch (error) {
    foreign = error.code
  }
  for (const s of sessions) s.dispose()
  console.log(JSON.stringify({ found, grown, foreign }))
}
main()
