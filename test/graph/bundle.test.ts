/** A bundler that drops files nobody names a value of keeps those that define operators (`sideEffects` of package.json). */
import { build } from 'esbuild'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { graphFromOnnx } from '../../ts/graph/index.js'
import { onnxOps } from '../../ts/graph/define.js'

it('a bundle of what imports graphs has every operator', async () => {
  const { outputFiles } = await build({
    stdin: { contents: `export { load } from './ts/index.js'`, resolveDir: join(import.meta.dirname, '../..'), loader: 'ts' },
    ...{ bundle: true, write: false, platform: 'node', format: 'esm', target: 'node20', logLevel: 'error' },
    external: ['*.cjs'],
  })
  const text = outputFiles[0]!.text
  expect(graphFromOnnx).toBeTypeOf('function') // what defines the operators here
  const names = onnxOps().map(({ name }) => name.split('.').at(-1)!)
  expect(names.length).toBeGreaterThan(100)
  expect(names.filter((name) => !text.includes(`"${name}"`) && !text.includes(`${name}:`))).toEqual([])
})
