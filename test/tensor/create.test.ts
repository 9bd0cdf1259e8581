/** Making tensors, reading and writing them, views. */
import { describe, expect, it } from 'vitest'
import { dtypes } from '../../ts/base/dtype.js'
import { fromRaw, full, ones, scope, tensor, toRaw, zeros, type Tensor } from '../../ts/tensor/index.js'
import { code } from './code.js'

describe('tensor()', () => {
  it('takes numbers, nested lists and typed arrays', () =>
    scope(() => {
      expect(tensor(3).shape).toEqual([])
      expect(tensor(3).item()).toBe(3)
      expect(
        tensor([
          [1, 2, 3],
          [4, 5, 6],
        ]).toString(),
      ).toBe('f32[2,3]')
      expect(tensor([1, 2, 3, 4], [2, 2]).toArray()).toEqual([
        [1, 2],
        [3, 4],
      ])
      expect(tensor(new Int32Array([1, 2])).dtype).toBe('i32')
      expect(tensor(new BigInt64Array([2n ** 40n])).toArray()).toEqual([2 ** 40])
      expect(tensor([[1.5]], undefined, 'f64').dtype).toBe('f64')
      expect(tensor([]).shape).toEqual([0])
      expect(tensor([[], []]).shape).toEqual([2, 0])
    }))

  it('copies: later changes of the source do not show', () =>
    scope(() => {
      const source = new Float32Array([1, 2])
      const t = tensor(source)
      source[0] = 9
      expect(t.toArray()).toEqual([1, 2])
      const out = t.read()
      out[0] = 7
      expect(t.toArray()).toEqual([1, 2])
    }))

  it.each([
    ['ragged lists', () => tensor([[1, 2], [3]]), 'ERR_SHAPE'],
    ['a list where a number should be', () => tensor([1, [2]] as never), 'ERR_SHAPE'],
    ['too few elements', () => tensor([1, 2, 3], [2, 2]), 'ERR_SHAPE'],
    ['a typed array of another length', () => tensor(new Float32Array(3), [2, 2]), 'ERR_SHAPE'],
    ['a typed array of another class', () => tensor(new Float32Array(3), [3], 'i32'), 'ERR_DTYPE'],
    ['an array class without dtype', () => tensor(new Uint32Array(3) as never), 'ERR_DTYPE'],
    ['a DataView', () => tensor(new DataView(new ArrayBuffer(4)) as never), 'ERR_DTYPE'],
    ['an unknown dtype', () => zeros([1], 'f99' as never), 'ERR_DTYPE'],
    ['rank 9', () => zeros([1, 1, 1, 1, 1, 1, 1, 1, 1]), 'ERR_SHAPE'],
    ['a negative dimension', () => zeros([-1]), 'ERR_SHAPE'],
    ['a fractional dimension', () => zeros([1.5]), 'ERR_SHAPE'],
    ['NaN as dimension', () => zeros([NaN]), 'ERR_SHAPE'],
    ['a string as dimension', () => zeros(['4' as never]), 'ERR_SHAPE'],
    ['a BigInt as dimension', () => zeros([4n as never]), 'ERR_SHAPE'],
    ['2^53 elements', () => zeros([2 ** 27, 2 ** 27]), 'ERR_SHAPE'],
    ['no list', () => zeros(4 as never), 'ERR_SHAPE'],
  ] as const)('refuses %s', (_, make, expected) => {
    expect(make).toThrowError(code(expected))
  })

  it('makes every dtype, zero-filled and full', () =>
    scope(() => {
      for (const dtype of dtypes) {
        expect(zeros([2, 2], dtype).toArray(), dtype).toEqual([
          [0, 0],
          [0, 0],
        ])
        expect(full([3], 5, dtype).toArray(), dtype).toEqual([5, 5, 5])
      }
      expect(ones([2]).toArray()).toEqual([1, 1])
      expect(zeros([0, 3]).read().length).toBe(0)
      expect(zeros([1, 1, 1, 1, 1, 1, 1, 1]).rank).toBe(8)
    }))

  it('goes to bytes and back, also from odd offsets', () =>
    scope(() => {
      const t = tensor(
        [
          [1.5, -2],
          [0, 4],
        ],
        undefined,
        'f64',
      )
      const raw = toRaw(t)
      expect(raw).toMatchObject({ dtype: 'f64', shape: [2, 2] })
      const shifted = new Uint8Array(33)
      shifted.set(raw.data, 1)
      expect(fromRaw({ ...raw, data: shifted.subarray(1) }).toArray()).toEqual([
        [1.5, -2],
        [0, 4],
      ])
      expect(() => fromRaw({ ...raw, data: shifted })).toThrowError(code('ERR_SHAPE'))
    }))
})

describe('views', () => {
  const grid = (): Tensor =>
    tensor([
      [1, 2, 3],
      [4, 5, 6],
    ])

  it('share memory', () =>
    scope(() => {
      const t = grid()
      const row = t.view([3], [1], 3)
      const column = t.view([2], [3], 1)
      const turned = t.view([3, 2], [1, 3])
      expect(row.toArray()).toEqual([4, 5, 6])
      expect(column.toArray()).toEqual([2, 5])
      expect(turned.toArray()).toEqual([
        [1, 4],
        [2, 5],
        [3, 6],
      ])
      expect(turned.contiguous).toBe(false)
      t.write(new Float32Array([9, 8, 7, 6, 5, 4]))
      expect(row.toArray()).toEqual([6, 5, 4])
      expect(turned.toArray()).toEqual([
        [9, 6],
        [8, 5],
        [7, 4],
      ])
      expect(t.reshapeView([3, 2]).toArray()).toEqual([
        [9, 8],
        [7, 6],
        [5, 4],
      ])
    }))

  it('outlive the tensor they came from', () => {
    const t = grid()
    const a = t.alias()
    t.dispose()
    expect(a.toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ])
    a.dispose()
  })

  it.each([
    ['beyond the end', (t: Tensor) => t.view([7], [1])],
    ['beyond the end by offset', (t: Tensor) => t.view([3], [1], 4)],
    ['before the start', (t: Tensor) => t.view([1], [1], -1)],
    ['with negative strides', (t: Tensor) => t.view([2], [-1], 1)],
    ['with strides of another length', (t: Tensor) => t.view([2, 3], [3])],
    ['that overflow', (t: Tensor) => t.view([2 ** 40, 2 ** 40], [2 ** 40, 1])],
    ['of another size by reshape', (t: Tensor) => t.reshapeView([5])],
    ['by reshape of a strided tensor', (t: Tensor) => t.view([3, 2], [1, 3]).reshapeView([6])],
    ['item of several elements', (t: Tensor) => t.item()],
  ])('are refused %s', (_, make) =>
    scope(() => {
      expect(() => make(grid())).toThrowError(code('ERR_SHAPE'))
    }),
  )

  it('cannot be written when strided', () =>
    scope(() => {
      expect(() => grid().view([3, 2], [1, 3]).write(new Float32Array(6))).toThrowError(code('ERR_SHAPE'))
    }))
})
