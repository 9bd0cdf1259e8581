/** Cases of the list that the tables of single formats leave out: names and depth of an index and of vocabularies, NaN in the weights of graphs. */
import fs from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { openSharded } from '../../ts/formats/safetensors-shards.js'
import { readTfjs } from '../../ts/formats/tfjs.js'
import { parseOnnx } from '../../ts/formats/onnx/index.js'
import { graphFromOnnx } from '../../ts/graph/index.js'
import { loadHuggingFace } from '../../ts/models/index.js'
import { writeSafetensors } from '../../ts/formats/index.js'
import { errorOf, tempDir } from '../formats/lib.js'
import { cpuClock } from '../cpu-time.js'
import { constant, model, node, value } from '../graph/build.js'

const deep = (open: string): string => open.repeat(200_000)

test('F08: an index with names of Object keeps them, and changes none', () => {
  const dir = tempDir()
  const names = ['__proto__', 'constructor', 'toString']
  writeSafetensors(
    path.join(dir, 'a'),
    names.map((name) => [name, { dtype: 'i8', shape: [1], data: new Uint8Array(1) }] as const),
  )
  const map = `{${names.map((name) => `${JSON.stringify(name)}:"a"`).join(',')}}`
  fs.writeFileSync(path.join(dir, 'i.json'), `{"metadata":{"__proto__":{"polluted":true}},"weight_map":${map}}`)
  const file = openSharded(path.join(dir, 'i.json'))
  expect([...file.tensors.keys()].sort()).toEqual([...names].sort())
  file.close()
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
})

test('F09: 200,000 levels in an index, in the settings and the vocabulary of a folder', () => {
  const dir = tempDir()
  fs.writeFileSync(path.join(dir, 'i.json'), `{"weight_map":${deep('{"a":')}`)
  const ms = cpuClock()
  expect(errorOf(() => openSharded(path.join(dir, 'i.json'))).code).toBe('ERR_LIMIT')
  const hub = path.join(import.meta.dirname, '../golden/huggingface/gpt2')
  for (const file of ['config.json', 'vocab.json', 'tokenizer_config.json']) {
    const copy = tempDir()
    fs.cpSync(hub, copy, { recursive: true })
    fs.writeFileSync(path.join(copy, file), deep('['))
    expect(errorOf(() => loadHuggingFace(copy)).code, file).toMatch(/^ERR_(LIMIT|MODEL_FORMAT)$/)
  }
  expect(ms()).toBeLessThan(1500)
})

test('F27: NaN, infinities and the smallest numbers in weights of graphs keep their bits', () => {
  const list = [NaN, Infinity, -Infinity, 1.401298464324817e-45, -0]
  const bits = (bytes: Uint8Array): number[] => Array.from(new Uint32Array(bytes.slice().buffer))
  const want = bits(new Uint8Array(Float32Array.from(list).buffer))
  const onnx = model({
    input: [value('x', [5])],
    output: [value('y')],
    initializer: [constant('w', [5], list)],
    node: [node('Add', ['x', 'w'], ['y'])],
  })
  expect(bits(graphFromOnnx(parseOnnx(onnx)).constants.get('w')!.read())).toEqual(want)
  const dir = tempDir()
  fs.writeFileSync(path.join(dir, 'shard'), Float32Array.from(list))
  const weights = [{ name: 'w', shape: [5], dtype: 'float32' }]
  fs.writeFileSync(path.join(dir, 'model.json'), JSON.stringify({ modelTopology: {}, weightsManifest: [{ paths: ['shard'], weights }] }))
  expect(bits(readTfjs(path.join(dir, 'model.json')).tensors.get('w')!.data)).toEqual(want)
})
