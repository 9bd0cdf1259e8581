/** Where npm's own JavaScript stands: started with this node, no shell, the same on every system. */
import { existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'

export function binOfNpm(): string {
  const own = process.env['npm_execpath']
  if (own && /npm-cli\.c?js$/.test(own)) return own
  const prefix = dirname(dirname(realpathSync(process.execPath)))
  const places = [join(prefix, 'lib/node_modules/npm/bin/npm-cli.js'), join(dirname(process.execPath), 'node_modules/npm/bin/npm-cli.js')]
  const found = places.find((place) => existsSync(place))
  if (!found) throw new Error(`npm not found beside node: looked at ${places.join(', ')}`)
  return found
}
