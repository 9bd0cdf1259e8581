/** JavaScript memory at the seam: classes, detached and resizable buffers, and objects that run code while they are read. */
import { describe, expect, it } from 'vitest'
import { addon } from '../../ts/native/call.js'
import { callOp, callOpInto, scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { code } from './code.js'

describe('typed arrays', () => {
  it('must be of the class of the dtype', () =>
    scope(() => {
      const t = zeros([4])
      for (const wrong of [new Float64Array(4), new Int32Array(4), new Uint32Array(4), new BigInt64Array(4), new Int8Array(4)]) {
        expect(() => t.write(wrong as never), wrong.constructor.name).toThrowError(code('ERR_DTYPE'))
        expect(() => t.readInto(wrong as never), wrong.constructor.name).toThrowError(code('ERR_DTYPE'))
      }
      for (const wrong of [[1, 2, 3, 4], { length: 4 }, new DataView(new ArrayBuffer(16)), null, undefined, 4, 'abcd', new ArrayBuffer(16)])
        expect(() => t.write(wrong as never)).toThrowError(code('ERR_DTYPE'))
    }))

  it('must fit exactly', () =>
    scope(() => {
      const t = zeros([4])
      expect(() => t.write(new Float32Array(3))).toThrowError(code('ERR_SHAPE'))
      expect(() => t.write(new Float32Array(5))).toThrowError(code('ERR_SHAPE'))
      expect(() => t.readInto(new Float32Array(5))).toThrowError(code('ERR_SHAPE'))
    }))

  it('cannot lie about their length', () =>
    scope(() => {
      const t = zeros([4])
      const small = new Float32Array(2)
      Object.defineProperty(small, 'length', { value: 4 })
      Object.defineProperty(small, 'byteLength', { value: 16 })
      expect(() => t.write(small)).toThrowError(code('ERR_SHAPE'))
      expect(() => t.write(new Proxy(new Float32Array(4), {}))).toThrowError(code('ERR_DTYPE'))
      class Odd extends Float32Array {
        static get [Symbol.species](): Float32ArrayConstructor {
          throw new RangeError('species')
        }
      }
      t.write(new Odd([1, 2, 3, 4]))
      expect(t.toArray()).toEqual([1, 2, 3, 4])
    }))

  it('may be windows of larger buffers', () =>
    scope(() => {
      const t = zeros([2])
      t.write(new Float32Array(new Float32Array([9, 1, 2, 9]).buffer, 4, 2))
      expect(t.toArray()).toEqual([1, 2])
      const out = new Float32Array(4).fill(-1)
      t.readInto(out.subarray(1, 3))
      expect([...out]).toEqual([-1, 1, 2, -1])
    }))

  it('that were transferred away are refused', () =>
    scope(() => {
      const t = zeros([4])
      const gone = new Float32Array(4)
      structuredClone(gone.buffer, { transfer: [gone.buffer] })
      const refused = expect.objectContaining({ code: expect.stringMatching(/^ERR_(BUFFER_DETACHED|SHAPE)$/) })
      expect(() => t.write(gone)).toThrowError(refused)
      expect(() => t.readInto(gone)).toThrowError(refused)
      expect(t.toArray()).toEqual([0, 0, 0, 0])
    }))

  it('on resizable buffers are copied at the length they have now', () =>
    scope(() => {
      const t = zeros([4])
      type Resizable = ArrayBuffer & { resize(bytes: number): void }
      const buffer = new (ArrayBuffer as unknown as new (n: number, o: object) => Resizable)(16, { maxByteLength: 64 })
      const tracking = new Float32Array(buffer)
      tracking.set([1, 2, 3, 4])
      t.write(tracking)
      expect(t.toArray()).toEqual([1, 2, 3, 4])
      buffer.resize(8)
      expect(() => t.write(tracking)).toThrowError(code('ERR_SHAPE'))
      buffer.resize(0)
      expect(() => t.write(tracking)).toThrowError(code('ERR_SHAPE'))
      buffer.resize(16)
      t.readInto(tracking)
      expect([...tracking]).toEqual([1, 2, 3, 4])
    }))

  it('on shared memory are copied', () =>
    scope(() => {
      const shared = new Float32Array(new SharedArrayBuffer(8))
      shared.set([5, 6])
      expect(tensor(shared).toArray()).toEqual([5, 6])
    }))
})

describe('lists with getters', () => {
  /** A list whose element 0 runs code when it is read. */
  const trap = (value: number, run: () => void): number[] =>
    Object.defineProperty([value, value], 0, {
      get: () => {
        run()
        return value
      },
    })

  it('cannot dispose an argument under a running op', () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ])
    expect(() => callOp('pad_slice', [x, trap(4, () => x.dispose()), [1, 1]])).toThrowError(code('ERR_DISPOSED'))
    const y = tensor([
      [1, 2],
      [3, 4],
    ])
    expect(() =>
      y.view(
        trap(2, () => y.dispose()),
        [2, 1],
      ),
    ).toThrowError(code('ERR_DISPOSED'))
  })

  it('cannot move the handle table under a running op', () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ])
    const many: { dispose(): void }[] = []
    const grow = (): void => void Array.from({ length: 5000 }, () => many.push(zeros([1])))
    const made = callOp('pad_slice', [x, trap(3, grow), [0, 1]])
    expect(made[0]!.toArray()).toEqual([
      [0, 1, 2],
      [0, 3, 4],
      [0, 0, 0],
    ])
    for (const t of [x, ...made, ...many]) t.dispose()
  })

  it('may call ops themselves: each call keeps its own arguments', () =>
    scope(() => {
      const x = tensor([[1, 2]])
      const other = tensor([5, 6, 7])
      const inner = (): void => expect(callOp('pad_slice', [other, [4], [1]])[0]!.toArray()).toEqual([0, 5, 6, 7])
      expect(callOp('pad_slice', [x, trap(2, inner), [1, 0]])[0]!.toArray()).toEqual([
        [0, 0],
        [1, 2],
      ])
      expect(callOp('pad_slice', [x, [2, 2], trap(0, inner)])[0]!.toArray()).toEqual([
        [1, 2],
        [0, 0],
      ])
      const impostor = { get handle() { inner(); return x.handle } } // prettier-ignore
      expect(callOp('add', [x, impostor])[0]!.toArray()).toEqual([[2, 4]])
      const out = zeros([1, 2])
      callOpInto('add', [impostor, x], [{ get handle() { inner(); return out.handle } } as Tensor]) // prettier-ignore
      expect(out.toArray()).toEqual([[2, 4]])
    }))

  it('pass their own errors through', () =>
    scope(() => {
      const own = new Error('mine')
      const throwing = trap(2, () => {
        throw own
      })
      let caught: unknown
      try {
        callOp('pad_slice', [
          tensor([
            [1, 2],
            [3, 4],
          ]),
          throwing,
          [0, 0],
        ])
      } catch (e) {
        caught = e
      }
      expect(caught).toBe(own)
    }))
})

describe('the raw seam', () => {
  it('takes only values that an enumeration has', () =>
    scope(() => {
      const native = addon()
      const encode = native.ops[native.schemas.findIndex((schema) => schema.startsWith('block_encode('))]!
      const x = zeros([256])
      for (const bad of [5, 200, 255, 256, -1, 0.5, NaN]) {
        expect(encode(x.handle, bad)).toBe(-1)
        expect(native.lastError().code).toBe('ERR_OPTION')
      }
      expect(encode(x.handle, 4)).toBeGreaterThanOrEqual(0)
      native.release(native.out[0]!)
    }))

  it('does not write into a tensor that is lent, on either side', () =>
    scope(() => {
      const native = addon()
      const job = native.jobOpen()
      const t = zeros([4])
      native.jobTake(job, native.jobLend(job, t.handle))
      const taken = native.out[0]!
      for (const handle of [t.handle, taken]) {
        expect(native.write(handle, new Float32Array(4))).toBe(-1)
        expect(native.lastError().code).toBe('ERR_BUSY')
      }
      native.release(taken)
      native.jobClose(job)
      t.write(new Float32Array([1, 2, 3, 4]))
    }))

  it('answers nonsense handles with ERR_DISPOSED or ERR_OPTION', () => {
    const native = addon()
    for (const bad of [0, -1, 1, 1.5, NaN, Infinity, 2 ** 53, 2 ** 32, 2 ** 52 - 1]) {
      expect(native.read(bad, new Float32Array(1))).toBe(-1)
      expect(native.lastError().code).toBe('ERR_DISPOSED')
      expect(native.release(bad)).toBe(false)
      expect(native.ops[0]!(bad)).toBe(-1)
    }
    for (const bad of ['1', null, undefined, {}, 1n, Symbol('s')]) {
      expect(native.ops[0]!(bad)).toBe(-1)
      expect(native.lastError().code).toBe('ERR_OPTION')
    }
    for (const bad of [-1, 1e9, 2 ** 32, undefined, '0', NaN] as number[]) {
      native.out.fill(NaN, 48)
      expect(native.call(bad)).toBe(-1) // an index is truncated to 32 bits: what is in the page is refused then
    }
    native.out.fill(2 ** 36 + 1, 48)
    for (let op = 0; op < native.ops.length; op++) expect(native.call(op)).toBe(-1)
    for (const sign of [-1, 0]) {
      native.out.fill(sign, 48)
      for (let op = 0; op < native.ops.length; op++) if (/[TM]:/.test(native.schemas[op]!)) expect(native.call(op)).toBe(-1)
    }
    expect(() => structuredClone(native.out.buffer, { transfer: [native.out.buffer as ArrayBuffer] })).toThrow() // its address cannot go stale
    expect(native.callAsync(-1)).toBe(null)
    expect(native.callAsync(1e9)).toBe(null)
    expect(native.callAsync(NaN)).toBe(null)
    native.cancel(NaN)
    native.cancel(12345)
  })
})
