/** Values against those of torch 1.13, stored by test/golden/make-torch-ops.py, which names the same calls. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { sizeOf } from '../../ts/base/shape.js'
import * as ops from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'

/** Element i is sin(1.3 i + k). */
const wave = (k: number, ...shape: number[]): Tensor =>
  tensor(
    Float32Array.from({ length: sizeOf(shape) }, (_, i) => Math.sin(1.3 * i + k)),
    shape,
  )

const convolutions: Record<string, () => Tensor> = {
  'conv2d groups': () => ops.conv2d(wave(0, 2, 4, 5, 6), wave(1, 6, 2, 3, 2), wave(2, 6), { stride: [2, 1], padding: [1, 2], groups: 2 }),
  'conv2d depthwise same': () => ops.conv2d(wave(0, 1, 3, 6, 5), wave(1, 3, 1, 3, 4), null, { padding: 'same', groups: 3 }),
  'conv2d dilated': () =>
    ops.conv2d(wave(0, 1, 2, 7, 8), wave(1, 3, 2, 3, 2), wave(2, 3), {
      padding: [
        [1, 2],
        [3, 0],
      ],
      dilation: [2, 3],
    }),
  conv1d: () => ops.conv1d(wave(0, 2, 4, 9), wave(1, 4, 2, 3), wave(2, 4), { stride: 2, padding: 2, dilation: 2, groups: 2 }),
  'conv1d causal': () => ops.conv1d(wave(0, 1, 2, 6), wave(1, 2, 1, 3), null, { padding: 'causal', dilation: 2, groups: 2 }),
  convTranspose2d: () =>
    ops.convTranspose2d(wave(0, 2, 4, 3, 4), wave(1, 4, 3, 3, 2), wave(2, 6), {
      stride: [2, 3],
      padding: [1, 0],
      outputPadding: [1, 2],
      groups: 2,
    }),
  'convTranspose2d dilated': () => ops.convTranspose2d(wave(0, 1, 2, 3, 3), wave(1, 2, 2, 2, 3), null, { dilation: [2, 1] }),
  convTranspose1d: () => ops.convTranspose1d(wave(0, 1, 2, 5), wave(1, 2, 3, 4), wave(2, 3), { stride: 2, padding: 1 }),
}

const pools: Record<string, () => Tensor> = {
  maxPool2d: () => ops.maxPool2d(wave(0, 2, 2, 7, 6), [3, 2], { stride: [2, 3], padding: [1, 0], ceil: true }),
  avgPool2d: () => ops.avgPool2d(wave(0, 1, 2, 7, 6), 3, { stride: 2, padding: 1, ceil: true }),
  'avgPool2d over data only': () => ops.avgPool2d(wave(0, 1, 2, 7, 6), 3, { stride: 2, padding: 1, ceil: true, countPadding: false }),
  maxPool1d: () => ops.maxPool1d(wave(0, 2, 3, 8), 3, { stride: 2, padding: 1 }),
  avgPool1d: () => ops.avgPool1d(wave(0, 2, 3, 8), 3, { stride: 2, ceil: true }),
  adaptiveAvgPool2d: () => ops.adaptiveAvgPool2d(wave(0, 2, 2, 5, 7), [3, 4]),
  'adaptiveAvgPool2d to one': () => ops.adaptiveAvgPool2d(wave(0, 2, 2, 5, 7), 1),
  adaptiveMaxPool2d: () => ops.adaptiveMaxPool2d(wave(0, 2, 2, 5, 7), [3, 4]),
}

const golden = JSON.parse(readFileSync(new URL('../golden/torch-ops.json', import.meta.url), 'utf8')) as Readonly<
  Record<string, { shape: number[]; values: (number | string)[] }>
>
const cases: Readonly<Record<string, () => Tensor>> = { ...convolutions, ...pools }

it('covers what is stored', () => expect(Object.keys(cases).sort()).toEqual(Object.keys(golden).sort()))

describe.each(Object.entries(cases))('%s', (name, run) => {
  it('gives the values of torch', () =>
    scope(() => {
      const y = run()
      const want = golden[name]!
      expect(y.shape).toEqual(want.shape)
      numbers(y).forEach((v, i) => {
        const w = Number(want.values[i])
        if (Number.isFinite(w)) expect(Math.abs(v - w), `element ${i}: ${v}, torch ${w}`).toBeLessThan(2e-5 * (1 + Math.abs(w)))
        else expect(v).toBe(w)
      })
    }))
})
