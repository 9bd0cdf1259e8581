/** The golden folders of Hugging Face (test/golden/make-huggingface.py) and changed copies of them. */
import fs from 'node:fs'
import path from 'node:path'
import { expect } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import { readSafetensors, writeSafetensors } from '../../ts/formats/index.js'
import type { Model } from '../../ts/nn/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { tempDir } from '../formats/lib.js'

export const golden = path.join(import.meta.dirname, '../golden/huggingface')
export const types = ['bert', 'roberta', 'albert', 'distilbert', 'gpt2'] as const
export const folderOf = (type: string): string => path.join(golden, type)

export interface Expected {
  readonly ids: number[][]
  readonly mask: number[][]
  readonly types?: number[][]
  readonly labels: number[]
  readonly outputs: Readonly<Record<string, number[]>>
  readonly tokenClassifier: Readonly<Record<string, { shape: number[]; values: number[] }>>
  readonly loss?: Readonly<Record<string, number>>
  readonly gradientNorms?: Readonly<Record<string, Record<string, number>>>
  readonly texts: readonly { text: string; ids: number[]; decoded: string }[]
  readonly greedy?: number[]
}
export const expectedOf = (type: string): Expected =>
  JSON.parse(fs.readFileSync(path.join(folderOf(type), 'expected.json'), 'utf8')) as Expected

export const ints = (rows: number[][]): Tensor => tensor(Int32Array.from(rows.flat()), [rows.length, rows[0]!.length])
export const inputs = (e: Expected): Record<string, Tensor> => ({
  ids: ints(e.ids),
  mask: tensor(e.mask),
  ...(e.types ? { types: ints(e.types) } : {}),
})

export function output(model: Model, e: Expected): Float32Array {
  return scope(() => model.forward(inputs(e)).read() as Float32Array)
}

export function close(got: ArrayLike<number>, want: readonly number[], what: string): void {
  expect(got.length, what).toBe(want.length)
  const scale = want.reduce((m, v) => Math.max(m, Math.abs(v)), 1)
  const worst = want.reduce((m, v, i) => Math.max(m, Math.abs(v - got[i]!)), 0)
  expect(worst / scale, what).toBeLessThan(1e-5)
}

/** A changed copy of a golden folder. */
export function changed(
  type: string,
  change: (tensors: Map<string, RawTensor>, config: Record<string, unknown>) => void,
  drop: readonly string[] = [],
): string {
  const out = tempDir()
  for (const name of fs.readdirSync(folderOf(type)))
    if (name !== 'expected.json' && !drop.includes(name)) fs.copyFileSync(path.join(folderOf(type), name), path.join(out, name))
  const { tensors } = readSafetensors(path.join(out, 'model.safetensors'))
  const config = JSON.parse(fs.readFileSync(path.join(out, 'config.json'), 'utf8')) as Record<string, unknown>
  change(tensors, config)
  writeSafetensors(path.join(out, 'model.safetensors'), tensors, { metadata: { format: 'pt' }, checksums: false })
  fs.writeFileSync(path.join(out, 'config.json'), JSON.stringify(config))
  return out
}
