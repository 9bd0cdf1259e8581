/** `tersor run` and `tersor bench`: outputs as files, profile and trace, the speed gate's exit code. */
import fs from 'node:fs'
import path from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { readNpy, writeNpy } from '../../ts/formats/index.js'
import { loadModel, saveModel } from '../../ts/models/index.js'
import { session, type LayerSpeed } from '../../ts/index.js'
import { compress, quantize, recipe } from '../../ts/compress/index.js'
import type { StartTimes } from '../../ts/cli/start-times.js'
import { mlp } from '../compress/toys.js'
import { model as onnxModel, node, value, type GraphInit } from '../graph/build.js'
import { json, root, succeeds, tempDir, tersor } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)

beforeAll(async () => {
  saveModel(mlp(), at('net.safetensors'))
  saveModel((await compress(mlp(), recipe([[quantize.dynamic()]]))).model, at('int8.safetensors'))
  writeNpy(at('x.npy'), { dtype: 'f32', shape: [2, 8], data: new Uint8Array(Float32Array.from({ length: 16 }, (_, i) => i / 8).buffer) })
})

describe('tersor run', () => {
  it('writes what a session gives, with a trace', async () => {
    const args = ['run', at('net.safetensors'), '--input', at('x.npy'), '--out', at('y.npy'), '--trace', at('trace.json')]
    const found = await json<{ class: { planned: boolean; steps: number }; profile: { steps: unknown[] }; files: string[] }>(args)
    expect(found.class.planned).toBe(true)
    expect(found.profile.steps).toHaveLength(found.class.steps)
    expect(found.files).toEqual([at('y.npy')])
    expect((JSON.parse(fs.readFileSync(at('trace.json'), 'utf8')) as { traceEvents: unknown[] }).traceEvents.length).toBeGreaterThan(0)
    const model = loadModel(at('net.safetensors'))
    const s = session(model)
    const { data, shape } = s.runSync({ data: Float32Array.from({ length: 16 }, (_, i) => i / 8), shape: [2, 8] }).output!
    const y = readNpy(at('y.npy'))
    expect(y.shape).toEqual(shape)
    expect([...y.data]).toEqual([...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)])
    s.dispose()
    model.dispose()
  }, 60_000)

  it('and bench say how long loading, the plan, the first output and later runs take', async () => {
    for (const command of ['run', 'bench']) {
      const { times } = await json<{ times: StartTimes }>([command, at('net.safetensors'), '--input', at('x.npy')])
      expect(times.loadMs).toBeGreaterThan(0)
      expect(times.planMs).toBeGreaterThan(0)
      expect(times.firstOutputMs).toBeGreaterThan(times.loadMs + times.planMs)
      expect(times.steadyMs).toBeGreaterThan(0)
      expect(times.steadyRuns).toBeGreaterThan(0)
      const { stdout, stderr } = await tersor([command, at('net.safetensors'), '--input', at('x.npy')])
      expect(stdout + stderr).toMatch(/load .* first output after .* a run/)
    }
    expect((await tersor(['bench', at('net.safetensors'), '--require-speedup', 'much'])).stderr).toContain('must be a number')
  }, 60_000)

  it('makes inputs as a model names them: token ids of language models, several inputs of a graph', async () => {
    const gpt2 = path.join(root, 'test/golden/huggingface/gpt2')
    const found = await json<{ outputs: Record<string, { shape: number[] }>; class: { planned: boolean } }>(['run', gpt2, '--size', 'tokens=7', '--batch', '3']) // prettier-ignore
    expect(Object.values(found.outputs)[0]!.shape.slice(0, 2)).toEqual([3, 7])
    expect(found.class.planned).toBe(true)
    expect((await tersor(['run', gpt2, '--size', 'height=7'])).stderr).toContain('there are: batch, tokens')
    const graph: GraphInit = { input: [value('a', ['N', 4]), value('b', ['N', 4])], output: [value('y', ['N', 4])], node: [node('Add', ['a', 'b'], ['y'])] } // prettier-ignore
    fs.writeFileSync(at('two.onnx'), onnxModel(graph))
    expect((await json<{ outputs: object }>(['run', at('two.onnx'), '--size', 'N=5'])).outputs).toMatchObject({ y: { shape: [5, 4] } })
  }, 60_000)

  it('says what is wrong with inputs', async () => {
    const run = (...args: string[]): Promise<{ code: number | null; stderr: string }> => tersor(['run', at('net.safetensors'), ...args])
    expect((await run('--input', at('nothing.npy'))).code).not.toBe(0)
    expect((await run('--input', at('x.npy'), '--input', 'a=b')).stderr).toContain('name=file')
    expect((await run('--text', 'words')).stderr).toContain('does not read text')
  }, 60_000)
})

describe('tersor bench', () => {
  it('times compressed layers beside dense twins; --require-speedup decides the exit code', async () => {
    const found = await json<{ layers: LayerSpeed[]; whole: LayerSpeed; missed: string[] }>([
      'bench',
      at('int8.safetensors'),
      '--rounds',
      '2',
    ])
    expect(found.layers.map((l) => l.layer)).toEqual(['fc1', 'fc2', 'fc3'])
    for (const l of [...found.layers, found.whole]) expect(l.speedup).toBeCloseTo(l.denseMs / l.compressedMs)
    expect(found.layers[0]!.weight).toContain('dynamic u8 input')
    const impossible = await tersor(['bench', at('int8.safetensors'), '--rounds', '1', '--require-speedup', '1e6'])
    expect(impossible.code).toBe(1)
    expect(impossible.stdout).toContain('fc1, fc2, fc3')
    await succeeds(['bench', at('int8.safetensors'), '--rounds', '1', '--require-speedup', '1e-6', '--batch', '2'])
  }, 60_000)
})
