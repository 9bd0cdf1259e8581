/** The packed package as a user meets it: what is inside, how it installs into an empty folder, require, import, TypeScript, the command. */
import { execFileSync, spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { root } from '../../tools/problems.js'
import { Workplace, has, manifestOf } from './workplace.js'

const prebuilt = `prebuilds/${process.platform}-${process.arch}/tersor.node`
const SUBPATHS = ['', '/kernels', '/nn', '/data', '/formats']

/** Makes a tensor natively and reads it back; prints the values and where the names came from. */
const USE = `const t = tensor([[1, 2], [3, 4]]); console.log(JSON.stringify({ shape: t.shape, data: [...t.read()], bytes: memory().tensorBytes > 0 })); t.dispose()`
const RIGHT = { shape: [2, 2], data: [1, 2, 3, 4], bytes: true }

/** The CUDA library on the processor stands in for the one that nvcc makes: the package around it is the same. */
const emulated = join(root, 'build/Release/tersor_cuda_emulated.so')

const cached = spawnSync('ccache', ['--version']).status === 0

describe('the packed package', () => {
  let place: Workplace
  let app: string
  beforeAll(async () => {
    place = await Workplace.open()
    app = await place.install('app')
  })
  afterAll(() => place.close())

  it('has no install script and no binding.gyp, so npm builds nothing on the user’s machine', () => {
    const manifest = manifestOf(app)
    const scripts = manifest['scripts'] as Record<string, string>
    for (const name of ['preinstall', 'install', 'postinstall']) expect(scripts[name]).toBeUndefined()
    expect(manifest['gypfile']).toBe(false)
    expect(has(app, 'binding.gyp')).toBe(false)
    expect(has(app, 'build')).toBe(false)
  })

  it('carries the prebuilt addon of this platform, both builds, types, licence and readme, and nothing of the workshop', () => {
    for (const file of [
      prebuilt,
      'dist/esm/index.js',
      'dist/cjs/index.js',
      'dist/esm/index.d.ts',
      'dist/cjs/index.d.ts',
      'LICENSE',
      'README.md',
    ]) {
      expect([file, has(app, file)]).toEqual([file, true])
    }
    for (const file of ['ts', 'test', 'bench', 'node_modules', 'native/test', '.ci', 'docs'])
      expect([file, has(app, file)]).toEqual([file, false])
  })

  it('works through require, and every subpath resolves', async () => {
    expect(JSON.parse(await place.node(app, '-e', `const { tensor, memory } = require('tersor'); ${USE}`))).toEqual(RIGHT)
    for (const sub of SUBPATHS) await place.node(app, '-e', `if (!Object.keys(require('tersor${sub}')).length) throw new Error('empty')`)
  })

  it('works through import, and every subpath resolves', async () => {
    const esm = (text: string): Promise<string> => place.node(app, '--input-type=module', '-e', text)
    expect(JSON.parse(await esm(`import { tensor, memory } from 'tersor'; ${USE}`))).toEqual(RIGHT)
    for (const sub of SUBPATHS) await esm(`import * as all from 'tersor${sub}'; if (!Object.keys(all).length) throw new Error('empty')`)
  })

  it('shares one addon between require and import: a tensor made by one is counted by the other', async () => {
    const text = `
      import { createRequire } from 'node:module'; import { memory } from 'tersor'
      const cjs = createRequire(import.meta.url)('tersor'); const before = memory().tensors
      const t = cjs.tensor([1, 2, 3]); console.log(memory().tensors - before)`
    writeFileSync(join(app, 'both.mjs'), text)
    expect(await place.node(app, 'both.mjs')).toBe('1')
  })

  it('prints nothing and writes nothing when it is imported', async () => {
    expect(await place.node(app, '-e', `require('tersor')`)).toBe('')
    expect(readdirSync(app).filter((name) => name.startsWith('.') || name === 'build')).toEqual([])
  })

  it('is found by the addon loader below the installed package', async () => {
    const text = `console.log(require(require.resolve('tersor/package.json').replace('package.json', 'dist/cjs/native/load.cjs')).loadAddon().addonPath)`
    expect(await place.node(app, '-e', text)).toBe(join(app, 'node_modules/tersor', prebuilt))
  })

  it('has a working command', async () => {
    const { stdout } = await place.npm(app, 'exec', '--offline', '--', 'tersor', '--version')
    expect(stdout.trim()).toBe(manifestOf(app)['version'])
    expect((await place.npm(app, 'exec', '--offline', '--', 'tersor', 'devices')).stdout).toMatch(/scalar/)
  })

  it('survives npm rebuild and npm ci, which run node-gyp where a binding.gyp is found', async () => {
    await place.npm(app, 'rebuild')
    await place.npm(app, 'ci')
    expect(has(app, 'build')).toBe(false)
    expect(JSON.parse(await place.node(app, '-e', `const { tensor, memory } = require('tersor'); ${USE}`))).toEqual(RIGHT)
  })

  it('compiles and runs in a TypeScript project, as ESM and as CommonJS, library types checked', async () => {
    const project = await place.install('typed', ['typescript@6.0.3', '@types/node@20.19.43'])
    const use = `import { tensor, memory, type Tensor } from 'tersor'\nconst t: Tensor = tensor([[1, 2], [3, 4]])\nconst shape: readonly number[] = t.shape\n`
    const print = `console.log(JSON.stringify({ shape, data: [...t.read()], bytes: memory().tensorBytes > 0 }))\n`
    const subpaths = SUBPATHS.slice(1).map((sub, i) => `import * as sub${i} from 'tersor${sub}'\nvoid sub${i}\n`)
    for (const [kind, extension] of [
      ['module', 'mts'],
      ['commonjs', 'cts'],
    ] as const) {
      writeFileSync(join(project, `${kind}.${extension}`), use + print + subpaths.join(''))
      const options = [
        '--strict',
        '--skipLibCheck',
        'false',
        '--target',
        'es2022',
        '--lib',
        'es2023,esnext.disposable',
        '--module',
        'nodenext',
        '--types',
        'node',
      ]
      await place.node(project, 'node_modules/typescript/bin/tsc', ...options, `${kind}.${extension}`)
      expect(JSON.parse(await place.node(project, `${kind}.${extension.replace('t', 'j')}`))).toEqual(RIGHT)
    }
  })

  it('says what to do on a platform without a prebuilt binary, and what it says works', async () => {
    const bare = await place.install('bare')
    const tersor = join(bare, 'node_modules/tersor')
    rmSync(join(tersor, 'prebuilds'), { recursive: true })
    const script = `try { require('tersor').tensor([1]); console.log('loaded') } catch (e) { console.log(e.code, e.message) }`
    const message = await place.node(bare, '-e', script)
    expect(message).toMatch(/^ERR_NATIVE .*none of these files exists/)
    expect(message).toContain(`npx cmake-js build --directory "${tersor}"`)
    await place.npm(bare, 'install', '--save-dev', 'cmake-js@8', 'node-addon-api@8', 'node-api-headers@1')
    // Asked is whether it builds and loads. With ccache the project's own build has the objects already, if paths count from the package's folder.
    if (cached) process.env['CCACHE_BASEDIR'] = bare
    const quick = ['--parallel', '2', ...(cached ? [] : ['--CDTERSOR_OPTIMIZATION=-O0'])]
    await place.node(bare, 'node_modules/cmake-js/bin/cmake-js', 'build', '--directory', tersor, '--log-level', 'error', ...quick)
    expect(await place.node(bare, '-e', script)).toBe('loaded')
  })

  it('runs out of an Electron archive whose addons were left outside, as the example packs it', async () => {
    const { createPackageWithOptions, extractAll, listPackage, statFile } = await import('@electron/asar')
    const [archive, resources] = [join(place.folder, 'packed.asar'), join(place.folder, 'resources')]
    const use = `const { session, tensor, ops, isa } = require('tersor'); const w = tensor([[2]]); const s = session((x) => ops.matmul(x, w))
      s.run({ data: Float32Array.of(21), shape: [1, 1] }).then(({ output }) => { console.log(output.data[0], require.resolve('tersor')); s.dispose() })`
    writeFileSync(join(app, 'main.cjs'), use)
    await createPackageWithOptions(app, archive, { unpack: '**/*.node' })
    const addons = listPackage(archive, { isPack: false }).filter((file) => file.endsWith('.node'))
    expect(addons).toEqual([`/node_modules/tersor/${prebuilt}`])
    expect(statFile(archive, addons[0]!.slice(1))).toMatchObject({ unpacked: true })
    // The archive as Electron shows it: a folder of its name, and the addon only beside it.
    extractAll(archive, join(resources, 'app.asar'))
    const beside = join(resources, 'app.asar.unpacked', 'node_modules/tersor', prebuilt)
    mkdirSync(join(beside, '..'), { recursive: true })
    copyFileSync(join(`${archive}.unpacked`, addons[0]!), beside)
    rmSync(join(resources, 'app.asar', addons[0]!))
    const text = await place.node(resources, '--require', join(root, 'test/packaging/asar-host.cjs'), 'app.asar/main.cjs')
    expect(text).toBe(`42 ${join(resources, 'app.asar', 'node_modules/tersor/dist/cjs/index.js')}`)
    await expect(place.node(resources, 'app.asar/main.cjs')).rejects.toThrow(/none of these files exists/) // the stand-in is what makes it run
  })

  it.runIf(process.platform === 'linux' && existsSync(emulated))(
    'finds the optional package with the CUDA library, refuses one of another version, and does without devices',
    async () => {
      const packed = await place.node(root, 'tools/pack-cuda.cjs', `--library=${emulated}`, `--out=${place.folder}`)
      const { file } = JSON.parse(packed) as { file: string }
      const gpu = await place.install('gpu', [file])
      const own = join(gpu, 'node_modules', `tersor-linux-${process.arch}-cuda`)
      expect(readdirSync(own).sort()).toEqual(['LICENSE', 'README.md', 'package.json', 'tersor_cuda.so'])
      const manifest = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as Record<string, unknown>
      expect(manifest).toMatchObject({ version: manifestOf(gpu)['version'], peerDependencies: { tersor: manifestOf(gpu)['version'] } })
      const ask = `const t = require('tersor'); const d = t.devices(); const x = d[1] ? t.tensor([1, 2]).to(d[1]) : t.tensor([1, 2])
        console.log(JSON.stringify({ devices: d.map(String), why: t.deviceProblem(), sum: [...t.ops.add(x, x).to(t.cpu).read()] }))`
      const found = async (devices?: string): Promise<unknown> =>
        JSON.parse(await place.node(gpu, '-e', devices ? `process.env.TERSOR_CUDA_EMULATE_DEVICES = '${devices}'; ${ask}` : ask))
      expect(await found('1')).toEqual({ devices: ['cpu', 'cuda:0'], sum: [2, 4] })
      expect(await found('0')).toEqual({
        devices: ['cpu'],
        why: expect.stringContaining('no device: none is visible') as string,
        sum: [2, 4],
      })
      expect(await found('-1')).toMatchObject({ devices: ['cpu'], why: expect.stringContaining('driver is older') as string, sum: [2, 4] })
      writeFileSync(join(own, 'package.json'), JSON.stringify({ ...manifest, version: '0.0.1' }))
      const why = expect.stringMatching(
        /no library for cuda was found.*cuda 0\.0\.1 does not go with tersor \d.*: install the same version of both/s,
      ) as string
      expect(await found()).toEqual({ devices: ['cpu'], why, sum: [2, 4] })
    },
  )

  it('pleases publint --strict and attw', async () => {
    await place.node(root, 'node_modules/publint/src/cli.js', 'run', '--strict', '--pack', 'false', join(app, 'node_modules/tersor'))
    await place.node(root, 'node_modules/@arethetypeswrong/cli/dist/index.js', place.tarball)
  })

  it.runIf(process.platform === 'linux')(
    'asks for nothing but Node-API, libc and libstdc++ of known versions: one binary for every Node',
    () => {
      const text = execFileSync('nm', ['-D', '--undefined-only', join(app, 'node_modules/tersor', prebuilt)], { encoding: 'utf8' })
      const names = text.split('\n').flatMap((line) => /\sU (\S+)/.exec(line)?.[1] ?? [])
      expect(names.filter((name) => !/^napi_|@(GLIBC|GLIBCXX|CXXABI|GCC)_/.test(name))).toEqual([])
      expect(names.filter((name) => name.includes('napi_create_external_'))).toEqual([]) // Electron forbids external buffers
      const highest = (prefix: string): number[] =>
        names
          .flatMap((name) => new RegExp(`@${prefix}_([0-9.]+)$`).exec(name)?.[1] ?? [])
          .map((version) => version.split('.').map(Number))
          .sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0) || (a[2] ?? 0) - (b[2] ?? 0))
          .at(-1) ?? []
      expect(highest('GLIBC')[1]).toBeLessThanOrEqual(34)
      expect(highest('GLIBCXX')[2]).toBeLessThanOrEqual(30)
    },
  )
})
