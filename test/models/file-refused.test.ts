/** Model files that must be refused: damaged, incomplete, or saying nonsense. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import { encodeSafetensors, readSafetensors, writeNpy, writeSafetensors } from '../../ts/formats/index.js'
import { loadModel, saveModel } from '../../ts/models/index.js'
import { memory } from '../../ts/native/devices.js'
import { tempDir } from '../formats/lib.js'
import { code, leavesNothing } from '../nn/lib.js'
import { mixed } from './lib.js'

const dir = tempDir()
const at = (name: string): string => path.join(dir, name)
const rewrite = (file: string, change: (tensors: Map<string, RawTensor>, header: any) => void): string => {
  const { tensors, metadata } = readSafetensors(file)
  const header = JSON.parse(metadata.get('tersor')!)
  change(tensors, header)
  writeSafetensors(at('changed.safetensors'), tensors, { metadata: { tersor: JSON.stringify(header) } })
  return at('changed.safetensors')
}

describe('loading refuses', () => {
  const model = mixed()
  saveModel(model, at('good'))
  model.dispose()
  const rejects = (file: string, c: string, message: RegExp): void => {
    leavesNothing(() => expect(() => loadModel(file)).toThrowError(code(c, message)))
  }

  it('files that are missing, empty, or something else', () => {
    rejects(at('missing'), 'ERR_IO', /ENOENT/)
    fs.writeFileSync(at('empty'), '')
    rejects(at('empty'), 'ERR_MODEL_FORMAT', /no known format/)
    writeNpy(at('x.npy'), { dtype: 'f32', shape: [1], data: new Uint8Array(4) })
    rejects(at('x.npy'), 'ERR_UNSUPPORTED', /npy files hold tensors, not models/)
    writeSafetensors(at('foreign'), [['w', { dtype: 'f32', shape: [1], data: new Uint8Array(4) }]], { checksums: false })
    rejects(at('foreign'), 'ERR_UNSUPPORTED', /no architecture/)
    fs.mkdirSync(at('folder'))
    rejects(at('folder'), 'ERR_IO', /model\.json/)
    fs.writeFileSync(at('folder/model.json'), JSON.stringify({ modelTopology: {}, weightsManifest: [] }))
    rejects(at('folder'), 'ERR_UNSUPPORTED', /neither a graph nor layers/)
    expect(() => loadModel(3 as unknown as string)).toThrowError(code('ERR_OPTION'))
  })

  it('every flipped byte and every truncation', () => {
    const bytes = fs.readFileSync(at('good'))
    const before = memory().tensors
    const codes = new Set<string>()
    const tries = (changed: Uint8Array, what: string): void => {
      fs.writeFileSync(at('hurt'), changed)
      try {
        loadModel(at('hurt'))
      } catch (error) {
        codes.add((error as { code: string }).code)
        return
      }
      throw new Error(`${what} was accepted`)
    }
    for (let i = 0; i < bytes.length; i += i < 4000 ? 19 : 7) {
      const changed = Uint8Array.from(bytes)
      changed[i]! ^= 1 << (i % 8)
      tries(changed, `byte ${i} flipped`)
    }
    for (let n = 0; n < bytes.length; n += 151) tries(bytes.subarray(0, n), `${n} of ${bytes.length} bytes`)
    expect(
      [...codes].every((c) => ['ERR_MODEL_FORMAT', 'ERR_LIMIT', 'ERR_DTYPE', 'ERR_UNSUPPORTED'].includes(c)),
      [...codes].join(),
    ).toBe(true)
    expect(memory().tensors).toBe(before)
  })

  it('tensors that are missing, left over, or do not fit', () => {
    rejects(
      rewrite(at('good'), (t) => t.delete('fc1.bias')),
      'ERR_MODEL_FORMAT',
      /tensor "fc1\.bias" is missing/,
    )
    rejects(
      rewrite(at('good'), (t) => t.delete('conv.weight:scale')),
      'ERR_MODEL_FORMAT',
      /weight "conv\.weight".*"q", "scale"/,
    )
    rejects(
      rewrite(at('good'), (t) => t.delete('norm.mean')),
      'ERR_MODEL_FORMAT',
      /"norm\.mean" is missing/,
    )
    rejects(
      rewrite(at('good'), (t) => t.delete('extra:notes')),
      'ERR_MODEL_FORMAT',
      /"extra:notes" is missing/,
    )
    const u8 = { dtype: 'u8', shape: [1], data: new Uint8Array(1) } as const
    rejects(
      rewrite(at('good'), (t) => t.set('surplus', u8)),
      'ERR_MODEL_FORMAT',
      /belong to nothing.*"surplus"/,
    )
    rejects(
      rewrite(at('good'), (t) => t.set('fc1.bias:mask', u8)),
      'ERR_MODEL_FORMAT',
      /belong to nothing.*"fc1\.bias:mask"/,
    )
    rejects(
      rewrite(at('good'), (t) => t.set('fc1.bias', u8)),
      'ERR_MODEL_FORMAT',
      /"fc1\.bias" must be floating \[16\], got u8\[1\]/,
    )
    rejects(
      rewrite(at('good'), (t) => t.set('conv.bias', { ...t.get('conv.bias')!, shape: [2, 2] })),
      'ERR_MODEL_FORMAT',
      /must be floating \[4\], got f32\[2, 2\]/,
    )
  })

  it('headers that say nonsense', () => {
    const header = (change: (h: any) => void): string => rewrite(at('good'), (_, h) => change(h))
    rejects(
      header((h) => (h.format = 2)),
      'ERR_UNSUPPORTED',
      /format 2, this version of Tersor reads up to 1/,
    )
    rejects(
      header((h) => (h.format = '1')),
      'ERR_MODEL_FORMAT',
      /header: format/,
    )
    rejects(
      header((h) => (h.colour = 1)),
      'ERR_MODEL_FORMAT',
      /colour/,
    )
    rejects(
      header((h) => delete h.info),
      'ERR_MODEL_FORMAT',
      /info/,
    )
    rejects(
      header((h) => delete h.info.history),
      'ERR_MODEL_FORMAT',
      /history/,
    )
    rejects(
      header((h) => (h.info.task = 'dance')),
      'ERR_MODEL_FORMAT',
      /info\.task/,
    )
    rejects(
      header((h) => (h.architecture.kind = 'perceptron')),
      'ERR_MODEL_FORMAT',
      /unknown kind "perceptron"; known: .*linear/,
    )
    rejects(
      header((h) => (h.architecture.children.fc1.config.out = -1)),
      'ERR_MODEL_FORMAT',
      /linear: out/,
    )
    rejects(
      header((h) => (h.architecture.children.fc1.config.in = 145)),
      'ERR_MODEL_FORMAT',
      /"fc1\.weight" is \[16, 144\], the architecture asks for \[16, 145\]/,
    )
    rejects(
      header((h) => delete h.architecture.children.fc2),
      'ERR_MODEL_FORMAT',
      /"fc2\.weight"/,
    )
    rejects(
      header((h) => (h.weights['fc2.weight'].kind = 'holographic')),
      'ERR_MODEL_FORMAT',
      /unknown kind "holographic"/,
    )
    rejects(
      header((h) => (h.weights['conv.weight'].config.bits = 4)),
      'ERR_MODEL_FORMAT',
      /weight "conv\.weight": .*must have shape/,
    )
    rejects(
      header((h) => (h.weights.more = { kind: 'dense', config: {}, shape: [] })),
      'ERR_MODEL_FORMAT',
      /does not have: "more"/,
    )
    const deep = rewrite(at('good'), () => undefined)
    const { tensors } = readSafetensors(deep)
    const nested = '{"a":'.repeat(100) + '1' + '}'.repeat(100)
    fs.writeFileSync(at('deep'), Buffer.concat(encodeSafetensors(tensors, { metadata: { tersor: `{"format":1,"info":${nested}}` } })))
    rejects(at('deep'), 'ERR_LIMIT', /depth|deep/i)
  })

  it('a history that is not one', () => {
    const gzipped = (text: string): RawTensor => {
      const data = new Uint8Array(Buffer.from(text))
      return { dtype: 'u8', shape: [data.length], data }
    }
    rejects(
      rewrite(at('good'), (t) => t.set(':history', gzipped('not gzip'))),
      'ERR_MODEL_FORMAT',
      /":history".*damaged/,
    )
    rejects(
      rewrite(at('good'), (t) => t.set(':history', { dtype: 'f32', shape: [1], data: new Uint8Array(4) })),
      'ERR_MODEL_FORMAT',
      /must be u8/,
    )
  })
})
