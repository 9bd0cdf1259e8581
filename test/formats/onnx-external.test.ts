/** Constants beside an ONNX file: read when asked for, so that a file larger than the memory loads. */
import fs from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { readOnnx } from '../../ts/formats/onnx/index.js'
import { loadOnnx } from '../../ts/graph/index.js'
import { tensor } from '../../ts/tensor/index.js'
import { model, node, typeNumber, value, type TensorInit } from '../graph/build.js'
import { tempDir } from './lib.js'

test('a sparse file of 5 GB: what is asked for is what memory grows by', () => {
  const dir = tempDir()
  const gib = 2 ** 30
  const outside = (name: string, dtype: 'u8' | 'f32', dims: readonly number[], offset: number, length: number): TensorInit => ({
    name,
    dims: dims.map(BigInt),
    dataType: typeNumber(dtype),
    dataLocation: 1,
    externalData: Object.entries({ location: 'weights', offset, length }).map(([key, v]) => ({ key, value: String(v) })),
  })
  const file = path.join(dir, 'model.onnx')
  const small = outside('small', 'f32', [1024, 4], 5 * gib, 16384)
  fs.writeFileSync(
    file,
    model({
      input: [value('x', [1, 1024])],
      output: [value('y', [1, 4])],
      initializer: [...Array.from({ length: 5 }, (_, i) => outside(`large${i}`, 'u8', [gib], i * gib, gib)), small],
      node: [node('MatMul', ['x', 'small'], ['y'])],
    }),
  )
  const weights = path.join(dir, 'weights')
  fs.writeFileSync(weights, '')
  fs.truncateSync(weights, 5 * gib)
  fs.appendFileSync(weights, new Uint8Array(Float32Array.from({ length: 4096 }, (_, i) => i % 4).buffer))
  const before = process.memoryUsage().rss
  const { initializers } = readOnnx(file).graph
  expect([...initializers.values()].reduce((n, t) => n + t.shape.reduce((a, b) => a * b, 1), 0)).toBe(5 * gib + 4096)
  expect(initializers.get('small')!.read()).toHaveLength(16384)
  const loaded = loadOnnx(file)
  const x = tensor(new Float32Array(1024).fill(1), [1, 1024])
  const y = loaded.predict(x)
  expect(y.toArray()).toEqual([[0, 1024, 2048, 3072]])
  expect(process.memoryUsage().rss - before).toBeLessThan(64 * 2 ** 20)
  for (const t of [x, y]) t.dispose()
  loaded.dispose()
})
