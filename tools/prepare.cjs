/** `npm ci`, `npm pack` and git dependencies run this: everything that a packed tersor carries, built where it is stale. */
const { quietly } = require('./lib.cjs')

quietly('TypeScript build', process.execPath, ['tools/build-ts.cjs', '--if-stale'])
quietly('native build', process.execPath, ['tools/build-native.cjs', '--stage'])
