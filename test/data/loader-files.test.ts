/** Loaders over files larger than memory: blocks, exact resume, what is refused. The workers are those of the build (dist). */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import type * as data from '../../ts/data/index.js'
import { openLoader, streamData } from '../../ts/data/index.js'
import { encodeIdx, encodeNpy } from '../../ts/formats/index.js'
import { rejectionOf, tempDir } from '../formats/lib.js'
import { built, keep, take, write } from './loader-lib.js'

describe('files in blocks', () => {
  const dir = tempDir()
  fs.writeFileSync(
    path.join(dir, 'train-images-idx3-ubyte'),
    encodeIdx({ dtype: 'u8', shape: [50, 2, 3], data: Uint8Array.from({ length: 300 }, (_, i) => i % 251) }),
  )
  fs.writeFileSync(
    path.join(dir, 'train-labels-idx1-ubyte'),
    encodeIdx({ dtype: 'u8', shape: [50], data: Uint8Array.from({ length: 50 }, (_, i) => i % 4) }),
  )
  const values = Float32Array.from({ length: 120 }, (_, i) => Math.sin(i))
  const npy = {
    x: write('x.npy', encodeNpy({ dtype: 'f32', shape: [40, 3], data: new Uint8Array(values.buffer) })),
    y: write('y.npy', encodeNpy({ dtype: 'u8', shape: [40], data: new Uint8Array(40).fill(2) })),
  }
  const csv = `a,b,species\n${Array.from({ length: 40 }, (_, i) => `${values[3 * i]},"${i}",${i % 2 ? 'x' : 'y'}`).join('\r\n')}`
  const jsonl = Array.from({ length: 40 }, (_, i) =>
    JSON.stringify({
      pixels: [
        [i, 2],
        [3, 4],
      ],
      kind: i % 2,
    }),
  ).join('\n')

  test.each([
    ['idx', `idx:${dir}`, {}, [1, 2, 3], 50],
    ['npy', `npy:${npy.x},y=${npy.y}`, {}, [3], 40],
    ['csv', `csv:${write('t.csv', csv)},label=species`, { classes: ['x', 'y'] }, [2], 40],
    ['jsonl', `jsonl:${write('t.jsonl', jsonl)},x=pixels,label=kind`, {}, [2, 2], 40],
  ] as const)('%s: every row once, shuffled by blocks, the same from anywhere', async (_, spec, more, shape, size) => {
    const stream = await built.streamData(spec, { ...more, blockRows: 3 })
    expect([stream.size, stream.inputShape]).toEqual([size, shape])
    const options = { batchSize: 7, seed: 4, windowBlocks: 2 }
    const here = keep(built.openLoader(stream, { ...options, workers: 0 }))
    const epoch = (await take(here, here.batchesPerEpoch)) as data.LoadedNumbers[]
    expect(epoch.flatMap((b) => [...b.indices]).sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (__, i) => i))
    const there = keep(built.openLoader(stream, { ...options, workers: 2, from: { ...here.position(), epoch: 0, batch: 3 } }))
    expect(await take(there, here.batchesPerEpoch - 3)).toEqual(epoch.slice(3))
    const row = (index: number): Float32Array => {
      const b = epoch.find((e) => e.indices.includes(index))!
      const at = b.indices.indexOf(index)
      const n = b.x.length / b.indices.length
      return b.x.slice(at * n, (at + 1) * n)
    }
    const expected = {
      idx: Float32Array.from([66, 67, 68, 69, 70, 71], (v) => v / 255),
      npy: values.slice(33, 36),
      csv: Float32Array.of(values[33]!, 11),
      jsonl: Float32Array.of(11, 2, 3, 4),
    }
    expect(row(11)).toEqual(expected[_])
  })

  test('what is wrong in a file is an error that says where', async () => {
    const loadAll = async (spec: string, more: data.StreamOptions = {}): Promise<unknown> => {
      const stream = await streamData(spec, more)
      return take(keep(openLoader(stream as data.StreamData & { input: 'numbers' }, { batchSize: 2, workers: 0, order: 'sequential' })), 3)
    }
    const cases: [string, string, string, RegExp][] = [
      ['csv', 'a,label\n1,0\n2,0,5\n', 'ERR_DATA', /row 1: 3 columns, the others have 2/],
      ['csv', 'a,label\n1,0\nNaN,0\n', 'ERR_DATA', /row 1: column 0: "NaN" is not a finite number/],
      ['csv', 'a,label\n1,0\n2,1.5\n', 'ERR_DATA', /row 1: labels must be integers/],
      ['csv', 'a,label\n1,"0\n2,1\n', 'ERR_DATA', /quote is not closed/],
      ['csv', 'a,label\n1,0\na"b,0\n', 'ERR_DATA', /quote is not closed/],
      ['csv', 'a,label\n', 'ERR_DATA', /no samples/],
      ['csv', '', 'ERR_DATA', /no samples/],
      ['csv', `a,label\n${'9'.repeat(17 * 2 ** 20)},0\n`, 'ERR_DATA', /more than 16777216 bytes/],
      ['jsonl', '{"x": 1, "label": 0}\nnot json\n', 'ERR_DATA', /row 1: not JSON/],
      ['jsonl', '{"x": [1, 2], "label": 0}\n{"x": [[1], [2]], "label": 0}\n', 'ERR_DATA', /shape \[2, 1\], those of the first row \[2\]/],
      ['jsonl', '{"x": [[1], [2, 3]], "label": 0}', 'ERR_DATA', /ragged/],
      ['jsonl', '{"x": [1e99], "label": 0}', 'ERR_DATA', /not a finite number/],
      ['jsonl', '{"x": [1]}', 'ERR_DATA', /there is no "label"/],
      ['jsonl', '[1]', 'ERR_DATA', /not a JSON object/],
      ['idx', 'nothing', 'ERR_IO', /ENOTDIR|EISDIR|ENOENT/],
    ]
    for (const [format, content, code, message] of cases) {
      const error = await rejectionOf(() => loadAll(`${format}:${write(`bad.${format}`, content)}`))
      expect(error.code, content.slice(0, 40)).toBe(code)
      expect(error.message).toMatch(message)
    }
    const raw = fs.readFileSync(npy.x)
    expect((await rejectionOf(() => loadAll(`npy:${write('cut.npy', raw.subarray(0, 100))},y=${npy.y}`))).code).toBe('ERR_MODEL_FORMAT')
    expect((await rejectionOf(() => loadAll(`npy:${write('magic.npy', 'x'.repeat(200))},y=${npy.y}`))).code).toBe('ERR_MODEL_FORMAT')
    const nan = encodeNpy({ dtype: 'f32', shape: [2, 1], data: new Uint8Array(Float32Array.of(1, NaN).buffer) })
    const two = write('two.npy', encodeNpy({ dtype: 'u8', shape: [2], data: new Uint8Array(2) }))
    expect((await rejectionOf(() => loadAll(`npy:${write('nan.npy', nan)},y=${two}`))).message).toMatch(/row 1, column 0 is NaN/)
    expect((await rejectionOf(() => loadAll(`npy:${npy.x}`))).code).toBe('ERR_OPTION')
    expect((await rejectionOf(() => streamData('npz:x'))).code).toBe('ERR_OPTION')
    for (const bad of [{ blockRows: 0 }, { maxLength: NaN }, { pad: -1 }])
      expect((await rejectionOf(() => streamData(`npy:${npy.x},y=${npy.y}`, bad))).code).toBe('ERR_OPTION')
  })

  test('a file that changes in use', async () => {
    const file = write('t.csv', csv)
    const stream = await streamData(`csv:${file},label=species`, { classes: ['x', 'y'], blockRows: 4 })
    const loader = keep(openLoader(stream as data.StreamData & { input: 'numbers' }, { batchSize: 4, workers: 0, order: 'sequential' }))
    await loader.next()
    fs.appendFileSync(file, '\n1,2,x')
    expect((await rejectionOf(() => loader.next())).message).toMatch(/changed while it was in use/)
  })
})
