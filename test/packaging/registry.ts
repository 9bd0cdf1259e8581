/**
 * A package registry on the loopback interface that serves what stands in this checkout's node_modules, so that a packed Tersor can be
 * installed the way a user does it, with its dependencies and without a network.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'

interface Manifest {
  readonly name: string
  readonly version: string
  readonly [key: string]: unknown
}
interface Lock {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean; readonly optional?: boolean }>>
}

/** Every installed package, development ones too: TypeScript is installed beside Tersor in one of the tests. */
function installed(root: string): Map<string, Map<string, { manifest: Manifest; folder: string }>> {
  const all = new Map<string, Map<string, { manifest: Manifest; folder: string }>>()
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as Lock
  for (const place of Object.keys(lock.packages).filter(Boolean)) {
    const folder = join(root, place)
    let manifest: Manifest
    try {
      manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Manifest
    } catch {
      continue // an optional package of another platform
    }
    const versions = all.get(manifest.name) ?? new Map<string, { manifest: Manifest; folder: string }>()
    all.set(manifest.name, versions.set(manifest.version, { manifest, folder }))
  }
  return all
}

const tarball = (folder: string): Buffer =>
  execFileSync('tar', ['-czf', '-', '--exclude=./node_modules', '--transform=s,^\\.,package,', '-C', folder, '.'], { maxBuffer: 1 << 28 })

export interface Registry {
  readonly url: string
  close(): Promise<void>
}

export async function startRegistry(root: string): Promise<Registry> {
  const packages = installed(root)
  const server = createServer((request, response) => {
    const [name = '', version] = decodeURIComponent(request.url ?? '/')
      .slice(1)
      .split('/-/')
    const versions = packages.get(name)
    if (!versions) return void response.writeHead(404).end('{}')
    if (version) return void response.end(tarball(versions.get(version)?.folder ?? ''))
    const entries = [...versions].map(
      ([v, { manifest }]) => [v, { ...manifest, dist: { tarball: `${url}/${encodeURIComponent(name)}/-/${v}` } }] as const,
    )
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ name, 'dist-tags': { latest: entries.at(-1)?.[0] }, versions: Object.fromEntries(entries) }))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { url, close: () => new Promise((done, fail) => server.close((error) => (error ? fail(error) : done()))) }
}
