/** Hugging Face folders against transformers itself (test/golden/make-huggingface.py). */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { valueAndGrad } from '../../ts/autograd/index.js'
import { readSafetensors, writeSafetensors } from '../../ts/formats/index.js'
import { nameOf } from '../../ts/models/huggingface/names.js'
import { familyOfType } from '../../ts/models/huggingface/families.js'
import { loadHuggingFace, loadModel, saveHuggingFace, saveModel, tokenizerOf, type HuggingFaceOptions } from '../../ts/models/index.js'
import type { Model } from '../../ts/nn/index.js'
import { cast, crossEntropy, reshape, slice } from '../../ts/ops/index.js'
import { fromRaw, scope, tensor, toRaw, type Tensor } from '../../ts/tensor/index.js'
import { errorOf, tempDir } from '../formats/lib.js'
import { changed, close, expectedOf, folderOf, inputs, ints, output, types } from './huggingface-lib.js'

const load = (type: string, options?: HuggingFaceOptions): Model => loadHuggingFace(folderOf(type), options)

it('makes the folder that it writes to; what is in the way is ERR_IO', () => {
  const dir = tempDir()
  const model = load('bert')
  saveHuggingFace(model, path.join(dir, 'new', 'folder'))
  expect(loadHuggingFace(path.join(dir, 'new', 'folder')).parameters()).toBe(model.parameters())
  fs.writeFileSync(path.join(dir, 'file'), '')
  expect(errorOf(() => saveHuggingFace(model, path.join(dir, 'file', 'x'))).code).toBe('ERR_IO')
})

describe.each(types)('%s', (type) => {
  const e = expectedOf(type)
  const outputOf = (options: HuggingFaceOptions): Float32Array => {
    const model = load(type, options)
    const y = output(model, e)
    model.dispose()
    return y
  }

  it('gives what transformers gives, head by head', () => {
    close(outputOf({ head: 'embedding', output: 'tokens' }), e.outputs.hidden!, 'hidden')
    if (e.outputs.pooled) close(outputOf({ head: 'embedding', output: 'pooled' }), e.outputs.pooled, 'pooled')
    close(outputOf({ head: 'classifier' }), e.outputs.classifier!, 'classifier')
    const scores = outputOf({ head: 'language' })
    const [t, v] = [e.ids[0]!.length, e.outputs.language!.length / 2]
    close([...scores.subarray((t - 1) * v, t * v), ...scores.subarray((t + 2) * v, (t + 3) * v)], e.outputs.language!, 'language')
  })

  it('classifies tokens', () => {
    const folder = changed(type, (tensors) => {
      for (const [name, { shape, values }] of Object.entries(e.tokenClassifier))
        tensors.set(
          name,
          scope(() => toRaw(tensor(Float32Array.from(values), shape))),
        )
    })
    const model = loadHuggingFace(folder, { head: 'tokens' })
    expect(model.info).toMatchObject({ task: 'tokens', classes: ['ham', 'spam', 'else'] })
    close(output(model, e), e.outputs.tokens!, 'tokens')
    model.dispose()
  })

  it('load() takes the head that config.json names; file and folder keep everything', () => {
    const model = loadModel(folderOf(type))
    expect(model.info.task).toBe(type === 'gpt2' ? 'language' : 'classification')
    const dir = tempDir()
    const before = output(model, e)
    saveModel(model, path.join(dir, 'own.safetensors'))
    const own = loadModel(path.join(dir, 'own.safetensors'))
    expect(output(own, e)).toEqual(before)
    saveHuggingFace(own, dir)
    const back = loadModel(dir)
    expect(output(back, e)).toEqual(before)
    // Same names and bytes as transformers' own file, but for the heads that this model does not have.
    const [ours, theirs] = [
      readSafetensors(path.join(dir, 'model.safetensors')).tensors,
      readSafetensors(path.join(folderOf(type), 'model.safetensors')).tensors,
    ]
    for (const [name, raw] of ours) expect(raw, name).toEqual(theirs.get(name))
    expect([...theirs.keys()].filter((name) => !ours.has(name)).sort()).toEqual(
      ((model.info.unused ?? []) as string[]).filter((n) => theirs.has(n)),
    )
    const config = JSON.parse(fs.readFileSync(path.join(folderOf(type), 'config.json'), 'utf8')) as object
    expect(JSON.parse(fs.readFileSync(path.join(dir, 'config.json'), 'utf8'))).toMatchObject(config)
    expect(tokenizerOf(back).encode('the dog')).toEqual(tokenizerOf(model).encode('the dog'))
    for (const m of [model, own, back]) m.dispose()
  })

  it('tokenizes as transformers does', () => {
    const model = loadModel(folderOf(type))
    const tokenizer = tokenizerOf(model)
    for (const { text, ids, decoded } of e.texts) {
      expect(tokenizer.encode(text), text).toEqual(ids)
      expect(tokenizer.decode(ids), text).toBe(decoded)
    }
    model.dispose()
  })

  it('names without prefix, f16 and bf16 values, shards', () => {
    const prefix = Object.values(familyOfType('', type).types)[0]!
    const bare = changed(type, (tensors) => {
      for (const [name, raw] of [...tensors]) {
        tensors.delete(name)
        if (name.startsWith(`${prefix}.`)) tensors.set(name.slice(prefix.length + 1), raw)
      }
    })
    const model = loadHuggingFace(bare, { head: 'embedding', output: 'tokens' })
    close(output(model, e), e.outputs.hidden!, 'bare')
    model.dispose()
    for (const [dtype, tolerance] of [
      ['f16', 0.02],
      ['bf16', 0.15],
    ] as const) {
      const half = changed(type, (tensors) => {
        for (const [name, raw] of tensors)
          tensors.set(
            name,
            scope(() => toRaw(cast(fromRaw(raw), dtype))),
          )
      })
      const m = loadHuggingFace(half, { head: 'classifier' })
      expect(m.weights()[0]!.weight.description).toBe('f32')
      const got = output(m, e)
      e.outputs.classifier!.forEach((v, i) => expect(Math.abs(got[i]! - v)).toBeLessThan(tolerance))
      m.dispose()
    }
    const sharded = changed(type, () => undefined)
    const { tensors } = readSafetensors(path.join(sharded, 'model.safetensors'))
    fs.rmSync(path.join(sharded, 'model.safetensors'))
    const names = [...tensors.keys()]
    const map: Record<string, string> = {}
    for (const [i, part] of [names.slice(0, 5), names.slice(5)].entries()) {
      const file = `model-0000${i + 1}-of-00002.safetensors`
      writeSafetensors(
        path.join(sharded, file),
        part.map((name) => [name, tensors.get(name)!] as const),
      )
      for (const name of part) map[name] = file
    }
    fs.writeFileSync(path.join(sharded, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }))
    const s = loadHuggingFace(sharded, { head: 'classifier' })
    close(output(s, e), e.outputs.classifier!, 'shards')
    s.dispose()
  })

  if (e.gradientNorms)
    it('has the gradients of transformers', () => {
      for (const head of Object.keys(e.gradientNorms!) as ('classifier' | 'language')[]) {
        const model = load(type, { head })
        const leaves = [...model.leaves()]
        scope(() => {
          const x = inputs(e)
          const [b, t] = x.ids!.shape as [number, number]
          const loss = (): Tensor => {
            const y = model.forward(x)
            if (head === 'classifier') return crossEntropy(y, tensor(Int32Array.from(e.labels)))
            const shifted = ints(e.ids.map((row) => row.slice(1)))
            return crossEntropy(
              reshape(slice(y, [0, 0, 0], [b, t - 1, y.shape[2]!]), [b * (t - 1), y.shape[2]!]),
              reshape(shifted, [b * (t - 1)]),
            )
          }
          const { value, grads } = valueAndGrad(
            loss,
            leaves.map(([, leaf]) => leaf.value),
          )
          expect(value.item()).toBeCloseTo(e.loss![head]!, 5)
          const family = familyOfType('', type)
          const prefix = Object.values(family.types)[0]!
          const squares = new Map<string, number>()
          leaves.forEach(([name], i) => {
            const theirs = nameOf(family, head, name).name.replace('@', `${prefix}.`)
            squares.set(theirs, (squares.get(theirs) ?? 0) + (grads[i]!.read() as Float32Array).reduce((sum, g) => sum + g * g, 0))
          })
          const wanted = e.gradientNorms![head]!
          expect([...squares.keys()].sort()).toEqual(Object.keys(wanted).sort())
          const scale = Math.max(...Object.values(wanted))
          for (const [name, square] of squares) expect(Math.abs(Math.sqrt(square) - wanted[name]!) / scale, name).toBeLessThan(1e-5)
        })
        model.dispose()
      }
    })
})
