/** A bundler that drops files nobody names a value of keeps those that register something by being there (`sideEffects` of package.json). */
import { build } from 'esbuild'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { graphFromOnnx } from '../../ts/graph/index.js'
import { onnxOps } from '../../ts/graph/define.js'

const root = join(import.meta.dirname, '../..')

it('a bundle of what loads models has every operator, kind of module, kind of weight and reader of text', async () => {
  const { outputFiles, metafile } = await build({
    stdin: { contents: `export { load } from './ts/index.js'`, resolveDir: root, loader: 'ts' },
    ...{ bundle: true, write: false, metafile: true, platform: 'node', format: 'esm', target: 'node20', logLevel: 'error' },
    external: ['*.cjs'],
  })
  const text = outputFiles[0]!.text
  expect(graphFromOnnx).toBeTypeOf('function') // what defines the operators here
  const names = onnxOps().map(({ name }) => name.split('.').at(-1)!)
  expect(names.length).toBeGreaterThan(100)
  expect(names.filter((name) => !text.includes(`"${name}"`) && !text.includes(`${name}:`))).toEqual([])

  const [bundle] = Object.values(metafile.outputs)
  const kept = new Set(Object.entries(bundle!.inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [resolve(file)] : [])))
  const files = readdirSync(join(root, 'ts'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
  const registers = /^(export )?(const \w+ = )?(defineModule|defineWeightKind|defineOnnxOp|registerTextEncoder)\b/m
  const needed = files.map((name) => join(root, 'ts', name)).filter((file) => registers.test(readFileSync(file, 'utf8')))
  expect(needed.length).toBeGreaterThan(40)
  expect(needed.filter((file) => !kept.has(file)).map((file) => file.slice(root.length))).toEqual([])
})
