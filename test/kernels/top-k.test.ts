/** Top-k masks from the kernel-level API. */
import { describe, expect, it } from 'vitest'
import { maskApply, maskCount, maskUnpack, scope, tensor, topKMask, zeros, type TopKOptions, type Tensor } from '../../ts/kernels/index.js'
import { numbers } from '../laws/cases.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const run = (name: string, f: () => void): void => it(name, () => scope(f))

describe('top-k masks', () => {
  run('keep exactly the k largest, ties by position, NaN last', () => {
    const scores = tensor([1, NaN, 3, 3, -Infinity, 3, 2])
    const kept = (k: number): number[] => {
      const mask = topKMask(scores, k)
      expect(Number(maskCount(mask, 7).item())).toBe(k)
      return numbers(maskApply(tensor([1, 2, 3, 4, 5, 6, 7]), mask)).filter((v) => v !== 0)
    }
    expect([0, 1, 2, 3, 4, 5, 6, 7].map(kept)).toEqual([
      [],
      [3],
      [3, 4],
      [3, 4, 6],
      [3, 4, 6, 7],
      [1, 3, 4, 6, 7],
      [1, 3, 4, 5, 6, 7],
      [1, 2, 3, 4, 5, 6, 7],
    ])
  })
})

describe('topKMask', () => {
  const w = (): Tensor =>
    tensor([
      [1, -4, 3, 0],
      [2, 0, -5, 1],
    ])

  run('keeps the largest magnitudes, values or scores, of all, of rows, of groups, from a threshold on', () => {
    const kept = (o: TopKOptions): unknown => maskApply(w(), topKMask(w(), o)).toArray()
    expect(kept({ k: 3 })).toEqual([
      [0, -4, 3, 0],
      [0, 0, -5, 0],
    ])
    expect(kept({ k: 3, scores: 'value' })).toEqual([
      [1, 0, 3, 0],
      [2, 0, 0, 0],
    ])
    expect(kept({ perRow: 1 })).toEqual([
      [0, -4, 0, 0],
      [0, 0, -5, 0],
    ])
    expect(kept({ nm: [2, 4] })).toEqual([
      [0, -4, 3, 0],
      [2, 0, -5, 0],
    ])
    expect(kept({ nm: [1, 2], scores: 'value' })).toEqual([
      [1, 0, 3, 0],
      [2, 0, 0, 1],
    ])
    expect(kept({ threshold: 3 })).toEqual([
      [0, -4, 3, 0],
      [0, 0, -5, 0],
    ])
    const scores = tensor([
      [0, 0, 9, 0],
      [0, 0, 0, 9],
    ])
    expect(kept({ k: 2, scores })).toEqual([
      [0, 0, 3, 0],
      [0, 0, 0, 1],
    ])
    expect(topKMask(w(), 3).toArray()).toEqual(topKMask(w(), { k: 3, scores: 'value' }).toArray())
  })

  run('counts one k over a list, ties in the order of the list', () => {
    const s = sampler(9, 'f32')
    const list = [s.normal(3, 5), s.normal(7), tensor(new Float32Array(0)), s.normal(11, 13)]
    for (const k of [0, 1, 40, 165]) {
      const all = list.flatMap((t) => numbers(t).map(Math.abs))
      const cut = [...all].sort((a, b) => b - a)
      const masks = topKMask(list, { k })
      const bits = masks.flatMap((m, i) => numbers(maskUnpack(m, [list[i]!.size])))
      expect(bits.reduce((a, b) => a + b, 0)).toBe(k)
      bits.forEach((b, i) => {
        expect(b).toBe(k > 0 && all[i]! >= cut[k - 1]! ? 1 : 0)
      })
    }
    const ties = topKMask([tensor([1, 1, 1]), tensor([1, 1])], { k: 4 })
    expect(ties.map((m) => numbers(m))).toEqual([[7], [1]])
    expect(topKMask([w(), tensor([9, -9])], { nm: [1, 2] }).map((m) => numbers(m))).toEqual([[0b01010110], [1]])
    expect(topKMask([], { k: 0 })).toEqual([])
  })

  run('refuses what makes no sense', () => {
    const bad = (o: unknown): void => expect(() => topKMask(w(), o as TopKOptions)).toThrowError(code('ERR_OPTION'))
    for (const k of [-1, 9, 0.5, NaN, 2 ** 32 + 1]) bad({ k })
    for (const perRow of [-1, 5, NaN]) bad({ perRow })
    for (const nm of [
      [3, 2],
      [-1, 4],
      [2, 0],
      [2, 65],
      [NaN, 4],
    ])
      bad({ nm })
    bad({ threshold: NaN })
    bad({})
    bad({ k: 1, perRow: 1 })
    bad({ k: 1, scores: 'size' })
    bad({ k: 1, scores: [w(), w()] })
    expect(() => topKMask(w(), { nm: [1, 3] })).toThrowError(code('ERR_SHAPE'))
    expect(() => topKMask(w(), { k: 1, scores: zeros([8]) })).toThrowError(code('ERR_SHAPE'))
    expect(() => topKMask([w()], { k: 9 })).toThrowError(code('ERR_OPTION'))
    expect(() => topKMask([w()], 1 as unknown as TopKOptions)).toThrowError(code('ERR_OPTION'))
    expect(() => topKMask([w(), zeros([2], 'f64')], { k: 1 })).toThrowError()
  })
})
