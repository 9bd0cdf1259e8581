/** `tersor convert`: formats by name and content, whole models, refusals. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeGguf, openGguf, openSharded, readNpz, readSafetensors, writeSafetensors } from '../../ts/formats/index.js'
import { folderOf } from '../models/huggingface-lib.js'
import { succeeds, tempDir, tersor } from './lib.js'

const dir = tempDir()
const values = Float32Array.from({ length: 128 }, (_, i) => Math.sin(i))
const source = path.join(dir, 'x.safetensors')
writeSafetensors(source, [
  ['w', { dtype: 'f32', shape: [2, 64], data: new Uint8Array(values.buffer) }],
  ['n', { dtype: 'i32', shape: [2], data: new Uint8Array(8) }],
])
const at = (name: string): string => path.join(dir, name)

describe('tensors', () => {
  it('safetensors -> npz -> gguf -> safetensors: the same values', async () => {
    const { stdout } = await succeeds(['convert', source, at('a.npz'), '--json'])
    expect(JSON.parse(stdout)).toMatchObject({ what: '2 tensors', files: [at('a.npz')], bytes: fs.statSync(at('a.npz')).size })
    expect(readNpz(at('a.npz')).get('w')!.data).toEqual(new Uint8Array(values.buffer))
    await succeeds(['convert', at('a.npz'), at('a.gguf')])
    await succeeds(['convert', at('a.gguf'), at('b.safetensors')])
    expect(readSafetensors(at('b.safetensors')).tensors).toEqual(readSafetensors(source).tensors)
  })

  it('types and blocks; blocks stay as they are from GGUF to GGUF', async () => {
    await succeeds(['convert', source, at('q.gguf'), '--quantize', 'q8_0'])
    await succeeds(['convert', at('q.gguf'), at('r.gguf')])
    expect(fs.readFileSync(at('r.gguf')).equals(fs.readFileSync(at('q.gguf')))).toBe(true)
    const file = openGguf(at('q.gguf'))
    expect([...file.tensors.values()].map((t) => t.type)).toEqual(['q8_0', 'i32'])
    file.close()
    await succeeds(['convert', at('q.gguf'), at('h.safetensors'), '--dtype', 'f16'])
    expect([...readSafetensors(at('h.safetensors')).tensors.values()].map((t) => t.dtype)).toEqual(['f16', 'i32'])
  })

  it('a folder of shards, and back', async () => {
    const { stdout } = await succeeds(['convert', source, `${at('shards')}/`, '--shard', '512', '--json'])
    expect((JSON.parse(stdout) as { files: string[] }).files).toHaveLength(3)
    const open = openSharded(at('shards/model.safetensors.index.json'))
    expect([...open.tensors.keys()]).toEqual(['w', 'n'])
    open.close()
    await succeeds(['convert', at('shards'), at('whole.safetensors')])
    expect(readSafetensors(at('whole.safetensors')).tensors).toEqual(readSafetensors(source).tensors)
  })
})

it('a GPT-2 folder to GGUF, and back to a folder with the same tensors', async () => {
  await succeeds(['convert', folderOf('gpt2'), at('gpt2.gguf')])
  const file = openGguf(at('gpt2.gguf'))
  expect(file.text('tokenizer.ggml.model')).toBe('gpt2')
  file.close()
  await succeeds(['convert', at('gpt2.gguf'), at('gpt2')])
  const [a, b] = [folderOf('gpt2'), at('gpt2')].map((f) => readSafetensors(path.join(f, 'model.safetensors')).tensors)
  for (const [name, t] of b!) expect(a!.get(name) ?? a!.get(name.replace('transformer.', '')), name).toEqual(t)
  expect(fs.existsSync(at('gpt2/tokenizer.json'))).toBe(true)
})

it('refusals: one line, and no file', async () => {
  const odd = at('odd.gguf')
  fs.writeFileSync(odd, encodeGguf([['t', { type: 'iq2_xxs', shape: [256], data: new Uint8Array(66) }]]))
  const cases: [string[], RegExp][] = [
    [[source, at('no.bin')], /".bin" is no format to write/],
    [[source, at('no.npz'), '--quantize', 'q8_0'], /quantize is for GGUF/],
    [[source, at('no.gguf'), '--shard', 'many'], /must be a size like/],
    [[odd, at('no.npz')], /ERR_UNSUPPORTED.*"t".*iq2_xxs/],
  ]
  for (const [args, message] of cases) {
    const run = await tersor(['convert', ...args])
    expect(run.code, args.join(' ')).not.toBe(0)
    expect(run.stderr).toMatch(message)
  }
  expect(fs.readdirSync(dir).filter((f) => f.startsWith('no'))).toEqual([])
}, 60_000)
