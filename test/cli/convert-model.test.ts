/** Whole models of `tersor convert`, in this process: what goes where, and what is refused. */
import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { checkOptions, convertModel, goesWhole, inputKind, type OutputKind } from '../../ts/cli/convert-model.js'
import type { Ui } from '../../ts/cli/ui.js'
import { convertTensors, openTensorSet } from '../../ts/models/convert.js'
import { readNpz, readOnnx } from '../../ts/formats/index.js'
import { session, type SessionInput } from '../../ts/index.js'
import { loadModel } from '../../ts/models/index.js'
import { scope, tensor } from '../../ts/tensor/index.js'
import { close, folderOf } from '../models/huggingface-lib.js'
import { errorOf, tempDir } from '../formats/lib.js'
import { constant, model, node, random, value } from '../graph/build.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const ui = { say: () => undefined, signal: new AbortController().signal } as unknown as Ui
const convert = async (from: string, to: OutputKind, out: string, quantize?: 'int8'): Promise<void> =>
  void (await convertModel(from, at(out), to, { check: false, onTensor: () => undefined, ...(quantize ? { quantize } : {}) }, ui))
const ids = tensor(new Int32Array([1, 2, 3, 4, 5]), [1, 5])
const mask = tensor([[1, 1, 1, 1, 1]])

it('folder -> onnx -> safetensors: the same scores; int8 is smaller; tensors of onnx as npz', async () => {
  const folder = folderOf('gpt2')
  const want = scope(() => loadModel(folder).forward({ ids, mask }).read() as Float32Array)
  await convert(folder, 'onnx', 'a.onnx')
  await convert(at('a.onnx'), 'safetensors', 'a.safetensors')
  expect([inputKind(folder, true), inputKind(at('a.onnx'), false), inputKind(at('a.safetensors'), false)]).toEqual([
    'Hugging Face folder',
    'ONNX model',
    'Tersor model',
  ])
  const got = scope(() => loadModel(at('a.safetensors')).forward({ input_ids: ids, attention_mask: mask }).read() as Float32Array)
  close(got, Array.from(want), 'scores')
  await convert(folder, 'onnx', 'q.onnx', 'int8')
  expect(fs.statSync(at('q.onnx')).size).toBeLessThan(0.7 * fs.statSync(at('a.onnx')).size)
  const set = openTensorSet(at('a.onnx'), false)
  convertTensors(set, at('a.npz'), 'npz', false)
  expect(readNpz(at('a.npz')).size).toBe(set.tensors.size)
})

it('.onnx -> .onnx by the inputs that the file declares: names, types and open sizes stay, or are fixed', async () => {
  const table = constant('table', [10, 8], random(1)(80))
  const nodes = [
    node('Gather', ['table', 'ids'], ['t']),
    node('Cast', ['mask'], ['m'], { to: 1 }),
    node('Unsqueeze', ['m', 'axes'], ['u']),
    node('Mul', ['t', 'u'], ['e']),
    node('Neg', ['e'], ['n']),
  ]
  const inputs = [value('ids', ['batch', 'tokens'], 'i64'), value('mask', ['batch', 'tokens'], 'i64')]
  const file = model({
    input: inputs,
    output: [value('e'), value('n')],
    node: nodes,
    initializer: [table, constant('axes', [1], [-1], 'i64')],
  })
  fs.writeFileSync(at('two.onnx'), file)
  await convert(at('two.onnx'), 'onnx', 'again.onnx')
  const run = async (name: string): Promise<number[]> => {
    const s = session(at(name))
    const out = (await s.run({ ids: wide(1, 2, 3, 4, 5, 6), mask: wide(1, 1, 0, 1, 1, 0) })) as Record<string, { data: Float32Array }>
    s.dispose()
    return [...out.e!.data, ...out.n!.data]
  }
  const wide = (...list: number[]): SessionInput => ({ data: BigInt64Array.from(list, BigInt), shape: [2, 3] })
  expect(await run('again.onnx')).toEqual(await run('two.onnx'))
  const shapes = (name: string): unknown => readOnnx(at(name)).graph.inputs.map((v) => [v.name, v.dtype, v.shape])
  expect(shapes('again.onnx')).toEqual(shapes('two.onnx'))
  const fix = (sizes: Record<string, number>): Promise<unknown> =>
    convertModel(at('two.onnx'), at('fixed.onnx'), 'onnx', { check: false, sizes, onTensor: () => undefined }, ui)
  await fix({ tokens: 7 })
  expect(shapes('fixed.onnx')).toEqual([
    ['ids', 'i64', ['batch', 7]],
    ['mask', 'i64', ['batch', 7]],
  ])
  await expect(fix({ height: 7 })).rejects.toThrow(/no open size of an input is named "height"; there are: batch, tokens/)
  // One whose batch is fixed, with a name of its own for the image.
  const conv = [node('Conv', ['image', 'w'], ['c'], { kernel_shape: [3, 3] }), node('Reshape', ['c', 's'], ['y'])]
  const constants = [constant('w', [2, 1, 3, 3], random(2)(18)), constant('s', [2], [1, -1], 'i64')]
  fs.writeFileSync(
    at('one.onnx'),
    model({ input: [value('image', [1, 1, 5, 5])], output: [value('y')], node: conv, initializer: constants }),
  )
  await convert(at('one.onnx'), 'onnx', 'one-again.onnx')
  expect(shapes('one-again.onnx')).toEqual(shapes('one.onnx'))
})

it('folder -> onnx -> onnx: still a function of the ids, also where the file narrows them', async () => {
  await convert(folderOf('bert'), 'onnx', 'b.onnx')
  await convert(at('b.onnx'), 'onnx', 'c.onnx')
  const wide = (list: number[]): SessionInput => ({ data: BigInt64Array.from(list, BigInt), shape: [1, list.length] })
  const run = async (name: string, list: number[]): Promise<number[]> => {
    const s = session(at(name))
    const inputs = { input_ids: wide(list), attention_mask: wide(list.map(() => 1)), token_type_ids: wide(list.map(() => 0)) }
    const { logits } = await s.run(inputs)
    expect(s.info().classes[0]!.planned).toBe(true)
    s.dispose()
    return Array.from(logits!.data as Float32Array)
  }
  for (const list of [
    [2, 24, 25, 3],
    [2, 30, 6, 31, 5, 3],
  ]) {
    const model = loadModel(folderOf('bert'))
    const row = tensor(Int32Array.from(list), [1, list.length])
    const want = Array.from(scope(() => model.forward({ ids: row, mask: tensor([list.map(() => 1)]) }).read() as Float32Array))
    close(await run('b.onnx', list), want, 'once')
    close(await run('c.onnx', list), want, 'twice')
  }
})

it('pairs and options that are refused say what is possible', () => {
  expect(errorOf(() => goesWhole('x.npz', 'npz', 'onnx')).message).toMatch(
    /holds tensors.*it can become: \.safetensors, \.gguf, \.npz, a folder/,
  )
  expect(errorOf(() => goesWhole('x.onnx', 'ONNX model', 'gguf')).message).toMatch(/cannot become \.gguf; it can become: \.safetensors/)
  expect(goesWhole('x', 'Hugging Face folder', 'onnx')).toBe(true)
  expect(goesWhole('x', 'GGUF model', 'npz')).toBe(false)
  expect(goesWhole('x', 'Hugging Face folder', 'safetensors')).toBe(false)
  expect(goesWhole('x', 'Hugging Face folder', 'safetensors', 'int8')).toBe(true)
  for (const [to, whole, options] of [
    ['onnx', true, { quantize: 'q8_0' }],
    ['npz', false, { quantize: 'int8' }],
    ['gguf', true, { quantize: 'int8' }],
    ['onnx', true, { shard: 1 }],
    ['onnx', true, { dtype: 'bf16' }],
    ['safetensors', true, { dtype: 'f16' }],
  ] as const)
    expect(errorOf(() => checkOptions(to, whole, options)).code, to).toBe('ERR_OPTION')
  checkOptions('onnx', true, { quantize: 'int4' })
})
