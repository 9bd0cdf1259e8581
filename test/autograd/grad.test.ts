/** The tape: values, structure, accumulation, errors. */
import { describe, expect, it } from 'vitest'
import { broadcastTo, definePrimitive, grad, permute, reshape, slice, valueAndGrad, watchCalls } from '../../ts/autograd/index.js'
import { memory } from '../../ts/native/devices.js'
import { add, exp, hvp, matmul, mul, neg, round, scaleShift, stopGradient, sub, sum, tanh } from '../../ts/ops/index.js'
import { scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { checkFunction } from '../laws/gradcheck.js'
import { sampler } from '../laws/sampler.js'
import { code } from '../tensor/code.js'

const live = (): number => memory().tensors

describe('valueAndGrad', () => {
  it('gives the value and a gradient per parameter, in their structure', () =>
    scope(() => {
      const [w, b] = [tensor([2, 3]), tensor([5, 7])]
      const f = (): Tensor => sum(add(mul(w, w), b))
      const list = valueAndGrad(f, [w, b])
      expect(list.value.item()).toBe(25)
      expect(list.grads.map((g) => g.toArray())).toEqual([
        [4, 6],
        [1, 1],
      ])
      const named = valueAndGrad(f, { w, b })
      expect(Object.keys(named.grads)).toEqual(['w', 'b'])
      expect(named.grads.b.toArray()).toEqual([1, 1])
      expect(valueAndGrad(f, w).grads.toArray()).toEqual([4, 6])
      expect(valueAndGrad(f, []).grads).toEqual([])
      expect(grad(f, w).toArray()).toEqual([4, 6])
    }))

  it('adds up over several uses', () =>
    scope(() => {
      const x = tensor([3])
      expect(grad(() => sum(add(mul(x, x), add(x, mul(x, x)))), x).toArray()).toEqual([13])
    }))

  it('adds up in place only what no other gradient shows', () =>
    scope(() => {
      const [a, b, c] = [tensor([1, 2]), tensor([[3, 4]]), tensor([5, 6])]
      // The gradient of a + b serves both, b's as a view; then b gets more, and so does what c is used for three times.
      const f = (): Tensor => {
        const more = sum(mul(b, tensor([[7, 8]])))
        const h = mul(c, c)
        const wanted = add(add(a, reshape(b, [2])), add(h, mul(h, tensor([2, 3]))))
        return add(sum(mul(wanted, tensor([10, 100]))), add(more, sum(mul(h, h))))
      }
      const { grads } = valueAndGrad(f, [a, b, c])
      expect(grads.map((g) => g.toArray())).toEqual([[10, 100], [[17, 108]], [(10 + 20 + 2 * 25) * 10, (100 + 300 + 2 * 36) * 12]])
    }))

  it('is zero where the value does not depend on a parameter', () =>
    scope(() => {
      const [x, y] = [tensor([1, 2]), tensor([[3]], undefined, 'f64')]
      const { grads } = valueAndGrad(() => sum(x), [x, y])
      expect(grads[1]!.toString()).toBe('f64[1,1]')
      expect(grads[1]!.toArray()).toEqual([[0]])
      expect(grad(() => tensor(1), x).toArray()).toEqual([0, 0])
      expect(grad(() => sum(mul(round(x), x)), x).toArray()).toEqual([1, 2])
      expect(grad(() => sum(mul(stopGradient(x), x)), x).toArray()).toEqual([1, 2])
    }))

  it('takes a parameter as the value, and the same parameter twice', () =>
    scope(() => {
      const x = tensor(3)
      const { value, grads } = valueAndGrad(() => x, [x])
      expect(value).toBe(x)
      expect(grads[0]!.item()).toBe(1)
      expect(x.disposed).toBe(false)
      const twice = grad(() => mul(x, x), [x, x])
      expect(twice.map((g) => g.item())).toEqual([6, 6])
    }))

  it('keeps aux and its tensors, frees the rest', () => {
    const before = live()
    const x = tensor([1, 2])
    const { value, grads, aux } = valueAndGrad(() => {
      const y = exp(x)
      return { value: sum(mul(y, y)), aux: { y, note: 'kept', list: [neg(y)] } }
    }, [x])
    expect(aux.note).toBe('kept')
    expect((aux.y.toArray() as number[])[0]).toBeCloseTo(Math.E)
    expect(aux.list[0]!.disposed).toBe(false)
    expect(live() - before).toBe(1 + 1 + 1 + 2)
    for (const t of [x, value, ...grads, aux.y, ...aux.list]) t.dispose()
    expect(live()).toBe(before)
  })

  it('gives each parameter a gradient tensor of its own', () =>
    scope(() => {
      const [x, y] = [tensor([1, 2]), tensor([3, 4])]
      const [dx, dy] = grad(() => sum(add(x, y)), [x, y])
      dx.dispose()
      expect(dy.toArray()).toEqual([1, 1])
    }))

  it('leaves parameters and what was made outside alone', () =>
    scope(() => {
      const x = tensor([1, 2])
      const constant = tensor([5, 6])
      valueAndGrad(() => sum(mul(mul(x, constant), constant)), [x])
      expect(x.disposed || constant.disposed).toBe(false)
    }))

  it('works around scopes inside the function', () => {
    const before = live()
    const x = tensor([1, 2])
    const { value, grads } = valueAndGrad(() => scope(() => sum(scope(() => mul(exp(x), tanh(scope(() => mul(x, x))))))), [x])
    const want = [1, 2].map((v) => Math.exp(v) * (Math.tanh(v * v) + 2 * v * (1 - Math.tanh(v * v) ** 2)))
    ;(grads[0]!.toArray() as number[]).forEach((g, i) => expect(g).toBeCloseTo(want[i]!, 4))
    expect(live() - before).toBe(3)
    for (const t of [x, value, ...grads]) t.dispose()
    expect(live()).toBe(before)
  })

  it.each([
    ['a value with several elements', (x: Tensor) => mul(x, x), 'ERR_SHAPE'],
    ['no tensor', () => 5 as never, 'ERR_OPTION'],
    ['nothing', () => undefined as never, 'ERR_OPTION'],
    ['a promise', async (x: Tensor) => sum(x) as never, 'ERR_OPTION'],
  ] as const)('refuses %s and stays usable', (_, f, want) => {
    const before = live()
    const x = tensor([1, 2])
    expect(() => valueAndGrad(() => f(x) as Tensor, [x])).toThrowError(code(want))
    expect(live()).toBe(before + 1)
    x.dispose()
  })

  it('frees everything when the function or a rule throws, and passes the error on', () => {
    const before = live()
    const x = tensor([1, 2])
    const own = new Error('mine')
    const fail = (): never => {
      throw own
    }
    expect(() => valueAndGrad(() => (exp(x), fail()), [x])).toThrowError(own)
    const broken = definePrimitive<[x: Tensor], 'x'>({
      name: 'broken',
      inputs: { x: 0 },
      forward: (t) => [exp(t)],
      grad: () => ({ x: fail }),
    })
    expect(() => valueAndGrad(() => sum(broken(mul(x, x))[0]!), [x])).toThrowError(own)
    expect(live()).toBe(before + 1)
    expect(grad(() => sum(x), x).toArray()).toEqual([1, 1])
    x.dispose()
  })

  it('says whose rule is wrong', () =>
    scope(() => {
      const x = tensor([1, 2])
      const wrong = (g: () => Tensor) =>
        definePrimitive<[x: Tensor], 'x'>({ name: 'wrong', inputs: { x: 0 }, forward: (t) => [exp(t)], grad: () => ({ x: g }) })
      expect(() => grad(() => sum(wrong(() => zeros([3]))(x)[0]!), x)).toThrowError(
        /^wrong: its gradient rule gave f32\[3\] for x f32\[2\]$/,
      )
      expect(() => grad(() => sum(wrong(() => zeros([2], 'f64'))(x)[0]!), x)).toThrowError(
        /^wrong: its gradient rule gave f64\[2\] for x f32\[2\]$/,
      )
    }))

  it('notices a saved tensor that was disposed', () =>
    scope(() => {
      const x = tensor([1, 2])
      const f = (): Tensor => {
        const y = exp(x)
        const z = sum(mul(y, y))
        y.dispose()
        return z
      }
      expect(() => grad(f, x)).toThrowError(code('ERR_DISPOSED'))
    }))
})

describe('higher derivatives', () => {
  it('nest to any depth', () =>
    scope(() => {
      const x = tensor(2, undefined, 'f64')
      const f = (): Tensor => mul(mul(x, x), mul(x, x))
      const d =
        (g: () => Tensor): (() => Tensor) =>
        () =>
          grad(g, x)
      expect(grad(f, x).item()).toBe(32)
      expect(grad(d(f), x).item()).toBe(48)
      expect(grad(d(d(f)), x).item()).toBe(48)
      expect(grad(d(d(d(f))), x).item()).toBe(24)
      expect(grad(d(d(d(d(f)))), x).item()).toBe(0)
    }))

  it('mix parameters of different levels', () =>
    scope(() => {
      // d/da of d/dx (a x^2) = 2 x
      const [a, x] = [tensor(3, undefined, 'f64'), tensor(5, undefined, 'f64')]
      expect(grad(() => grad(() => mul(a, mul(x, x)), x), a).item()).toBe(10)
    }))

  it('leave no tensors', () => {
    const before = live()
    const x = tensor([1, 2])
    const v = tensor([1, 1])
    const [h] = hvp(() => sum(mul(exp(x), mul(x, x))), [x], [v])
    expect(live() - before).toBe(3)
    for (const t of [x, v, h]) t.dispose()
    expect(live()).toBe(before)
  })
})

describe('views', () => {
  const s = sampler(5, 'f64')
  it.each([
    ['reshape', (x: Tensor) => reshape(mul(x, x), [3, -1])],
    ['reshape of a strided view', (x: Tensor) => reshape(permute(mul(x, x), [2, 0, 1]), [12])],
    ['permute', (x: Tensor) => mul(permute(x, [2, 0, 1]), permute(x, [-1, 0, 1]))],
    ['slice', (x: Tensor) => mul(slice(x, [0, 1, 0], [2, 1, 2]), slice(x, [0, 0, 0], [2, 1, 2]))],
    ['slice of nothing', (x: Tensor) => add(sum(slice(x, [0, 3, 0], [2, 0, 2])), sum(mul(x, x)))],
    ['broadcastTo', (x: Tensor) => mul(broadcastTo(x, [4, 2, 3, 2]), broadcastTo(slice(x, [0, 1, 0], [2, 1, 2]), [2, 3, 2]))],
  ])('%s', (name, f) =>
    scope(() => {
      checkFunction(name, f, [s.normal(2, 3, 2)])
    }),
  )
})

describe('watchCalls', () => {
  it('sees every primitive in order, also without a tape', () =>
    scope(() => {
      const seen: string[] = []
      const x = tensor([[1, 2]])
      const y = watchCalls(
        (n) => seen.push(n.primitive.name),
        () => sum(matmul(scaleShift(x, 2), x, false, true)),
      )
      expect(seen).toEqual(['scale_shift', 'matmul', 'sum'])
      expect(y.item()).toBe(10)
      expect(() =>
        watchCalls(
          () => undefined,
          () => sub(x, zeros([3])),
        ),
      ).toThrowError(code('ERR_SHAPE'))
      neg(x)
      expect(seen.length).toBe(3)
    }))
})
