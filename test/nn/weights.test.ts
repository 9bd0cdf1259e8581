/** Laws that every weight kind keeps, over a table of weights of each. */
import { describe, expect, it } from 'vitest'
import type { RawTensor } from '../../ts/base/dtype.js'
import {
  DenseWeight,
  MaskedWeight,
  maskWeight,
  QuantizedWeight,
  sparseFrom,
  sparseLayoutFrom,
  weightKind,
  withCoding,
  type QuantizedParts,
} from '../../ts/nn/index.js'
import { sgdStep } from '../../ts/ops/index.js'
import { callOp, scope, tensor, zeros } from '../../ts/tensor/index.js'
import { code, floats, leavesNothing, maxDifference, normal } from './lib.js'
import { source, pruned, type QuantizedCase, SPAN, quantized, input, sparseInt8, uses, table, sameRaw, inputs } from './weight-cases.js'

describe.each(table.map((c) => [c.name, c] as const))('%s', (_name, c) => {
  it('is restored exactly from its parts and configuration', () => {
    leavesNothing(() => {
      const w = c.make()
      expect(w.kind).toBe(c.kind)
      const parts = w.parts()
      const config = JSON.parse(JSON.stringify(w.config()))
      const again = weightKind(c.kind).restore(parts, config, w.shape)
      expect(again.config()).toEqual(w.config())
      expect(again.description).toBe(w.description)
      const second = again.parts()
      expect(Object.keys(second)).toEqual(Object.keys(parts))
      for (const name of Object.keys(parts)) sameRaw(second[name]!, parts[name]!)
      scope(() => {
        expect(Buffer.compare(Buffer.from(floats(again.dense()).buffer), Buffer.from(floats(w.dense()).buffer))).toBe(0)
      })
      w.dispose()
      again.dispose()
    })
  })

  it('says the bytes that a file holds', () => {
    const w = c.make()
    expect(w.bytes()).toBe(Object.values(w.parts()).reduce((n, raw) => n + raw.data.byteLength, 0))
    w.dispose()
  })

  it('stands for values near its source, with the nonzeros it counts', () => {
    leavesNothing(() =>
      scope(() => {
        const w = c.make()
        const dense = w.dense()
        expect(dense.shape).toEqual(w.shape)
        const kept = c.kept?.() ?? (c.kind === 'masked' || c.kind.startsWith('sparse') ? pruned(c.use).value : source(c.use))
        expect(maxDifference(dense, kept)).toBeLessThanOrEqual(c.error / 2)
        expect(w.nonzeros()).toBe(floats(dense).filter((v) => v !== 0).length)
        w.dispose()
      }),
    )
  })

  it('multiplies like its dense values', () => {
    leavesNothing(() => {
      const w = c.make()
      const { x: make, dense, apply } = inputs[c.use]
      scope(() => {
        const x = make()
        const got = apply(x, w)
        // A second call uses what the first one kept.
        expect(maxDifference(apply(x, w), got)).toBe(0)
        const rounding = w instanceof QuantizedWeight && w.input ? 0.02 * SPAN * 27 : 2e-5
        expect(maxDifference(got, dense(x, w.dense()))).toBeLessThan(rounding)
      })
      w.dispose()
    })
  })

  it('lets nothing else pass as its parts', () => {
    leavesNothing(() => {
      const w = c.make()
      const parts = w.parts()
      const config = w.config()
      const kind = weightKind(c.kind)
      const rejects = (p: Record<string, RawTensor>, why: string, given: unknown = config): void => {
        expect(() => kind.restore(p, given as never, w.shape), why).toThrowError(
          expect.objectContaining({ code: expect.stringMatching(/^ERR_(MODEL_FORMAT|SHAPE|DTYPE|OPTION|NUMERIC)$/) }),
        )
      }
      for (const name of Object.keys(parts)) {
        const { [name]: part, ...rest } = parts
        rejects(rest, `without ${name}`)
        rejects(
          {
            ...rest,
            [name]: { dtype: 'i64', shape: [part!.data.length / 8], data: part!.data.slice(0, 8 * Math.floor(part!.data.length / 8)) },
          },
          `${name} as i64`,
        )
        rejects({ ...rest, [name]: { dtype: part!.dtype, shape: [0], data: new Uint8Array(0) } }, `${name} empty`)
      }
      if (c.kind !== 'dense') rejects({ ...parts, more: Object.values(parts)[0]! }, 'a part too many')
      if (c.kind === 'quantized' || c.kind === 'sparse') rejects(parts, 'unknown configuration', { ...(config as object), colour: 1 })
      w.dispose()
    })
  })
})

describe('masked weights', () => {
  it('train with their zeros in place', () => {
    const w = pruned('matrix')
    const [leaf] = w.trainable()
    const velocity = zeros(w.shape)
    for (let i = 0; i < 5; i++)
      scope(() =>
        sgdStep(leaf!.value, normal(w.shape, i), velocity, leaf!.mask, { lr: 0.1, momentum: 0.9, weightDecay: 0.01, nesterov: false }),
      )
    const open = scope(() => floats(callOp('mask_unpack', [w.mask, w.shape])[0]!))
    floats(w.value).forEach((v, i) => expect(v === 0).toBe(open[i] === 0))
    expect(w.nonzeros()).toBe(w.kept())
    expect(w.description).toBe('f32 masked 30.0 %')
    velocity.dispose()
    w.dispose()
  })

  it('must be 0 where the mask is, with no bits behind the end', () => {
    const w = scope(() => maskWeight(new DenseWeight(normal([3, 3])), tensor(new Uint8Array([0b10101010, 1]))))
    const { value, mask } = w.parts()
    const restore = (v: RawTensor, m: RawTensor): unknown => weightKind('masked').restore({ value: v, mask: m }, {}, [3, 3])
    expect(() => restore(value!, { ...mask!, data: new Uint8Array([0b10101010, 0b11]) })).toThrowError(
      code('ERR_MODEL_FORMAT', /behind the last/),
    )
    expect(() => restore(value!, { ...mask!, data: new Uint8Array([0b00101010, 1]) })).toThrowError(
      code('ERR_MODEL_FORMAT', /wherever its mask/),
    )
    expect(() => new MaskedWeight(w.value, zeros([3], 'u8'))).toThrowError(code('ERR_SHAPE', /u8\[2\]/))
    w.dispose()
  })
})

describe('quantized weights', () => {
  it('keep half-precision scales only where they are exact', () => {
    const made = (): QuantizedWeight =>
      new QuantizedWeight({
        shape: [2, 2],
        q: tensor(new Int8Array(4), [2, 2]),
        scale: tensor([[0.1], [0.5]]),
        bits: 8,
        layout: 'channel',
        scaleDtype: 'f16',
      })
    scope(() => expect(made).toThrowError(code('ERR_NUMERIC', /f16/)))
  })

  it('refuse codes and options that do not fit', () => {
    scope(() => {
      const parts = { shape: [2, 4], q: tensor(new Int8Array(8), [2, 4]), scale: tensor([[1], [1]]), bits: 8, layout: 'channel' as const }
      const bad = (change: Partial<QuantizedParts>, c: string): void => {
        expect(() => new QuantizedWeight({ ...parts, ...change })).toThrowError(code(c))
      }
      bad({ bits: 1 }, 'ERR_OPTION')
      bad({ bits: 9 }, 'ERR_OPTION')
      bad({ bits: 4.5 }, 'ERR_OPTION')
      bad({ shape: [8] }, 'ERR_OPTION')
      bad({ shape: [4, 2] }, 'ERR_SHAPE')
      bad({ layout: 'tensor' }, 'ERR_SHAPE')
      bad({ zero: tensor([1, 1]) }, 'ERR_SHAPE')
      bad({ input, zero: tensor([[0], [0]]) }, 'ERR_OPTION')
      bad({ input, layout: 'group' }, 'ERR_OPTION')
      const tooLarge = new QuantizedWeight({ ...parts, q: tensor(new Int8Array([0, 1, 2, 3, 4, 5, 6, 7]), [2, 4]), bits: 3 })
      expect(() => tooLarge.parts()).toThrowError(code('ERR_OPTION', /\[-4, 3\]/))
    })
  })

  it('of 8-bit layers compute exactly what the formula says', () => {
    scope(() => {
      const w = quantized('matrix', { bits: 8, layout: 'channel', input })
      const x = normal([4, 20], 5)
      const xs = floats(x)
      const codes = w.q.read() as Int8Array
      const scale = floats(w.scale)
      const got = floats(w.apply(x, { op: 'linear', bias: null }))
      const roundEven = (v: number): number => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v))
      for (let m = 0; m < 4; m++)
        for (let n = 0; n < 12; n++) {
          let sum = 0
          for (let k = 0; k < 20; k++) {
            const code8 = Math.min(255, Math.max(0, roundEven(Math.fround(xs[m * 20 + k]! / Math.fround(input.scale))) + input.zero))
            sum += (code8 - input.zero) * codes[n * 20 + k]!
          }
          const expected = sum * Math.fround(input.scale) * scale[n]!
          expect(Math.abs(got[m * 12 + n]! - expected)).toBeLessThanOrEqual(1e-6 * Math.abs(expected) + 1e-7)
        }
    })
  })

  it('store codes another way without sharing their end of life', () => {
    const w = quantized('matrix', { bits: 8, layout: 'channel' })
    const coded = withCoding(w, 'sparse')
    const values = scope(() => floats(w.dense()))
    w.dispose()
    expect(coded.description).toBe('int8 per channel sparse')
    expect(scope(() => floats(coded.dense()))).toEqual(values)
    coded.dispose()
  })

  it('describe themselves', () => {
    const text = (c: QuantizedCase): string => {
      const w = quantized('matrix', c)
      const { description } = w
      w.dispose()
      return description
    }
    expect(text({ bits: 4, layout: 'group', groups: 3 })).toBe('int4 g7')
    expect(text({ bits: 8, layout: 'channel', input })).toBe('int8 per channel, u8 input')
    expect(text({ bits: 3, layout: 'tensor', affine: true })).toBe('int3 per tensor affine')
  })
})

describe('sparse weights', () => {
  it('say when they run dense', () => {
    const [m, k, t] = uses.map((use) => sparseInt8(use, 'channel'))
    expect(m!.description).toMatch(/^int8 sparse \d+\.\d %$/)
    expect(k!.description).toMatch(/, runs dense$/)
    expect(t!.description).not.toMatch(/dense/)
    scope(() => t!.apply(inputs.table.x(), { op: 'lookup' }))
    expect(t!.description).toMatch(/, runs dense$/)
    for (const w of [m, k, t]) w!.dispose()
  })

  it('reject damaged structures', () => {
    const w = scope(() =>
      sparseFrom(
        new DenseWeight(
          tensor([
            [0, 1, 2],
            [3, 0, 0],
          ]),
        ),
      ),
    )
    const parts = w.parts()
    const restore = (change: Record<string, RawTensor>): unknown => weightKind('sparse').restore({ ...parts, ...change }, {}, [2, 3])
    const u16 = (...v: number[]): RawTensor => ({ dtype: 'u16', shape: [v.length], data: new Uint8Array(Uint16Array.from(v).buffer) })
    const i32 = (...v: number[]): RawTensor => ({ dtype: 'i32', shape: [v.length], data: new Uint8Array(Int32Array.from(v).buffer) })
    const bad = code('ERR_MODEL_FORMAT')
    expect(() => restore({ counts: u16(3, 1) })).toThrowError(bad)
    expect(() => restore({ counts: u16(1, 1) })).toThrowError(bad)
    expect(() => restore({ counts: i32(-1, 4) })).toThrowError(bad)
    expect(() => restore({ counts: u16(2, 1, 0) })).toThrowError(bad)
    expect(() => restore({ columns: u16(2, 1, 0) })).toThrowError(bad)
    expect(() => restore({ columns: u16(1, 1, 0) })).toThrowError(bad)
    expect(() => restore({ columns: u16(1, 3, 0) })).toThrowError(bad)
    expect(() => restore({ columns: i32(1, -2, 0) })).toThrowError(bad)
    w.dispose()
  })

  it('come of anything, except where the layer would compute something else', () => {
    scope(() => {
      expect(() => sparseFrom(quantized('matrix', { bits: 8, layout: 'channel', input }))).toThrowError(
        code('ERR_OPTION', /coding "sparse"/),
      )
      const affine = sparseFrom(quantized('matrix', { bits: 4, layout: 'group', groups: 2, affine: true }))
      expect(affine.scale).toBeNull()
      const codes = sparseFrom(quantized('matrix', { bits: 4, layout: 'tensor' }))
      expect(codes.scale!.shape).toEqual([1])
      expect(() => sparseFrom(new DenseWeight(normal([4])))).toThrowError(code('ERR_OPTION', /two dimensions/))
    })
  })
})

describe('sparse layouts', () => {
  it('refuse scales of another shape', () => {
    const w = scope(() => sparseLayoutFrom(quantized('matrix', { bits: 8, layout: 'channel' }, pruned('matrix').value), 'bitmask'))
    const { scale, ...rest } = w.parts()
    for (const shape of [
      [1, 12],
      [12, 1],
      [2, 6],
    ])
      expect(() => weightKind('sparse-layout').restore({ ...rest, scale: { ...scale!, shape } }, w.config(), w.shape)).toThrowError(
        code('ERR_MODEL_FORMAT'),
      )
    w.dispose()
  })
})
