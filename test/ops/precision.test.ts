/** 16-bit tensors around products: values and gradients against f64, what the tape keeps, second derivatives, threads, instruction sets. */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { done, grad, sum, valueAndGrad } from '../../ts/autograd/index.js'
import { memory, resetPeakMemory, setThreads, threads } from '../../ts/native/devices.js'
import * as nn from '../../ts/nn/index.js'
import * as ops from '../../ts/ops/index.js'
import { callOp, scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { code } from '../tensor/code.js'

const halves = ['bf16', 'f16'] as const
/** Half a unit in the last place, relative. */
const eps = { bf16: 2 ** -9, f16: 2 ** -12 }

let seed = 7
function random(shape: readonly number[], scale = 1): Tensor {
  const n = shape.reduce((a, b) => a * b, 1)
  return tensor(
    Float32Array.from({ length: n }, () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1) * scale),
    shape,
  )
}
const doubles = (x: Tensor): Float64Array => ops.cast(x, 'f64').read() as Float64Array
const bytes = (x: Tensor): string => Buffer.from(x.read().buffer).toString('base64')
/** Values that f64 rules see: those of the 16-bit tensor. */
const exact = (x: Tensor): Tensor => ops.cast(x, 'f64')

function near(got: Tensor, want: Tensor, relative: number, where: string): void {
  const [a, b] = [doubles(got), doubles(want)]
  const size = Math.sqrt(b.reduce((s, v) => s + v * v, 0) / b.length) + 1e-30
  expect(a.length, where).toBe(b.length)
  const bad = a.findIndex((v, i) => !(Math.abs(v - b[i]!) <= relative * (size + Math.abs(b[i]!))))
  expect(bad, `${where} [${bad}]: ${a[bad]}, want ${b[bad]}`).toBe(-1)
}

describe.each(halves)('%s', (dtype) => {
  const half = (x: Tensor): Tensor => ops.cast(x, dtype)

  it.each([
    [5, 7, 3],
    [1, 40, 70],
    [37, 33, 530],
    [200, 130, 1100], // more than one piece of k, of columns and of rows
  ])('products %i x %i x %i in all transposes and layouts are those of the f32 product', (m, n, k) =>
    scope(() => {
      for (const ta of [false, true])
        for (const tb of [false, true]) {
          const a = half(random(ta ? [k, m] : [m, k]))
          const b = half(random(tb ? [n, k] : [k, n]))
          const want = ops.matmul(ops.cast(a, 'f32'), ops.cast(b, 'f32'), ta, tb)
          const wide = callOp('matmul_half', [a, b, null, ta, tb, 'f32'])[0]!
          near(wide, want, (k + 8) * 2 ** -24, `${ta} ${tb}`)
          // One rounding of the same sums.
          expect(bytes(ops.matmul(a, b, ta, tb))).toBe(bytes(half(wide)))
          // A view that no stride of which is 1.
          const stretched = callOp('copy', [half(random([2 * a.shape[0]!, 2 * a.shape[1]!]))])[0]!
          const view = stretched.view(a.shape, [4 * a.shape[1]!, 2])
          expect(bytes(ops.matmul(view, b, ta, tb))).toBe(bytes(ops.matmul(ops.copy(view), b, ta, tb)))
        }
    }),
  )

  it('gradients of linear, matmul and activations are those of f64 at the rounded values', () =>
    scope(() => {
      const [x, w, b, v] = [random([2, 3, 6]), random([5, 6]), random([5]), random([5, 4])].map(half) as [Tensor, Tensor, Tensor, Tensor]
      const net = (x: Tensor, w: Tensor, b: Tensor, v: Tensor): Tensor => {
        const h = ops.matmul(ops.gelu(ops.linear(x, w, b)), v)
        const y = ops.widened(ops.relu(h))
        return sum(ops.mul(y, y), [], false)
      }
      const got = valueAndGrad(() => net(x, w, b, v), [x, w, b, v])
      const wide = [x, w, b, v].map(exact) as [Tensor, Tensor, Tensor, Tensor]
      const want = valueAndGrad(() => net(...wide), wide)
      near(got.value, want.value, 20 * eps[dtype], 'value')
      got.grads.forEach((g, i) => {
        expect(g.dtype).toBe(dtype)
        near(g, want.grads[i]!, 20 * eps[dtype], `gradient ${i}`)
      })
    }))

  it('every op takes 16-bit tensors inside withPrecision, and masters get f32 gradients', () =>
    scope(() => {
      const [x, w, k, table] = [random([2, 4, 6, 6]), random([3, 36]), random([4, 4, 3, 3], 0.5), random([7, 6])]
      const loss = (run: <T>(f: () => T) => T, x: Tensor, w: Tensor, k: Tensor, table: Tensor): Tensor =>
        run(() => {
          const c = ops.softmax(ops.narrowed(ops.conv2d(ops.narrowed(x), ops.narrowed(k), null, { padding: 1 })))
          const rows = ops.gather(ops.narrowed(table), tensor(new Int32Array([1, 5]), [2]))
          const y = ops.linear(ops.tanh(ops.reshape(ops.add(c, ops.reshape(ops.sum(rows, [], false), [1, 1, 1, 1])), [8, 36])), w)
          return ops.mean(ops.mul(y, y))
        })
      const params = [x, w, k, table] as const
      const got = valueAndGrad(() => loss((f) => ops.withPrecision(dtype, f), ...params), [...params])
      const want = valueAndGrad(() => loss((f) => f(), ...params), [...params])
      near(got.value, want.value, 30 * eps[dtype], 'value')
      got.grads.forEach((g, i) => {
        expect(g.dtype).toBe('f32')
        near(g, want.grads[i]!, 60 * eps[dtype], `gradient ${i}`)
      })
    }))

  it.each([
    ['plain', 1, undefined],
    ['grouped', 2, undefined],
    ['pooled', 1, 2],
  ] as const)('%s convolutions go through f32 some images at a time: same values, bounded copies', (_name, groups, pool) =>
    scope(() => {
      const [b, c, side] = [48, 8, 64]
      const [x, w, bias] = [half(random([b, c, side, side])), half(random([c, c / groups, 3, 3], 0.3)), half(random([c]))]
      const run = (x: Tensor, w: Tensor, bias: Tensor): Tensor =>
        pool ? ops.conv2dMaxPool(x, w, bias, { padding: 1, pool }) : ops.conv2d(x, w, bias, { padding: 1, groups })
      const wide = [x, w, bias].map((t) => ops.cast(t, 'f32')) as [Tensor, Tensor, Tensor]
      const before = memory().bytes
      resetPeakMemory()
      const y = scope(() => ops.withPrecision(dtype, () => run(x, w, bias)))
      // In f32 a batch is 6 MiB and its result 6 MiB or a quarter of that.
      expect(memory().peakBytes - before).toBeLessThan(y.bytes + 10 * 2 ** 20)
      expect(bytes(y)).toBe(bytes(half(run(...wide))))
      const cotangent = random(y.shape)
      const loss = (y: Tensor): Tensor => sum(ops.mul(ops.widened(y), cotangent), [], false)
      const got = valueAndGrad(() => loss(ops.withPrecision(dtype, () => run(x, w, bias))), [x, w, bias])
      const want = valueAndGrad(() => loss(ops.widened(half(run(...wide)))), wide)
      got.grads.forEach((g, i) => near(g, want.grads[i]!, 8 * eps[dtype], `gradient ${i}`))
    }),
  )

  it('second derivatives exist, by f32 products', () =>
    scope(() => {
      const [x, w, v] = [random([4, 3]), random([2, 3]), random([2, 3])]
      const f = (w: Tensor): Tensor =>
        ops.withPrecision(dtype, () => {
          const y = ops.widened(ops.gelu(ops.linear(x, w)))
          return sum(ops.mul(y, y), [], false)
        })
      const product = (f: (w: Tensor) => Tensor): Tensor => grad(() => sum(ops.mul(grad(() => f(w), [w])[0]!, v), [], false), [w])[0]!
      const want = product((w) => {
        const y = ops.gelu(ops.linear(x, w))
        return sum(ops.mul(y, y), [], false)
      })
      near(product(f), want, 40 * eps[dtype], 'H v')
    }))

  it('any number of threads gives the same bytes', () =>
    scope(() => {
      const [a, b] = [half(random([300, 700])), half(random([700, 400]))]
      const before = threads()
      const runs = [1, 2, 3].map((n) => {
        setThreads(n)
        return [bytes(ops.matmul(a, b)), bytes(callOp('matmul_half', [a, a, null, true, false, 'f32'])[0]!)].join()
      })
      setThreads(before)
      expect(new Set(runs).size).toBe(1)
    }))
})

it('the tape keeps 16 bits: less memory than f32 at the peak', () => {
  const block = nn.encoderBlock({ width: 64, hidden: 192, heads: 4, norm: 'post' })
  const spec = nn.sequential({ a: block, b: block })
  const model = new nn.Model(nn.build(spec, { weight: (_p, s) => new nn.DenseWeight(random(s, 0.1)), state: (_p, s) => zeros(s) }), {
    name: 'm',
    task: 'embedding',
    history: [],
  })
  const values = [...model.leaves().values()].map((leaf) => leaf.value)
  const x = random([64, 32, 64])
  const peak = (precision: ops.Precision): number =>
    scope(() => {
      const held = memory().bytes
      resetPeakMemory()
      valueAndGrad(() => {
        const y = ops.withPrecision(precision, () => ops.widened(model.forward(x, { training: true, seed: 0, step: 0 })))
        return ops.mean(ops.mul(y, y))
      }, values)
      return memory().peakBytes - held
    })
  const full = peak('f32')
  for (const dtype of halves) expect(peak(dtype) / full).toBeLessThan(0.8)
  for (const v of values) v.dispose()
  x.dispose()
})

it('done frees what no rule reads, and nothing else', () =>
  scope(() => {
    const w = random([3])
    const { grads } = valueAndGrad(() => {
      const a = ops.scaleShift(w, 2)
      const b = ops.mul(a, a)
      done(a) // mul reads it
      expect(a.disposed).toBe(false)
      const c = ops.scaleShift(b, 3)
      done(b) // nobody does
      expect(b.disposed).toBe(true)
      done(w) // not made here
      expect(w.disposed).toBe(false)
      return sum(c, [], false)
    }, [w])
    near(grads[0]!, ops.scaleShift(w, 24), 1e-6, 'gradient')
    const free = ops.scaleShift(w, 1)
    done(free)
    expect(free.disposed).toBe(false)
  }))

it('outside of withPrecision an op without a 16-bit form says so', () =>
  scope(() => {
    const x = ops.cast(random([2, 2]), 'bf16')
    expect(() => ops.add(x, x)).toThrowError(code('ERR_DTYPE'))
    expect(() => ops.matmul(x, ops.cast(x, 'f16'))).toThrowError(code('ERR_DTYPE'))
    expect(() => ops.matmul(x, zeros([2, 2]))).toThrowError(code('ERR_DTYPE'))
  }))

it.each(['scalar', 'avx2'])('%s: products are within the tolerance of their sums', (isa) => {
  const script = `
    import { matmul, cast } from './ts/ops/index.ts'; import { tensor, callOp } from './ts/tensor/index.ts'
    const v = (n) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * i))
    let worst = 0
    for (const dtype of ['bf16', 'f16']) for (const ta of [false, true]) for (const tb of [false, true]) {
      const a = cast(tensor(v(23 * 601), ta ? [601, 23] : [23, 601]), dtype), b = cast(tensor(v(45 * 601), tb ? [45, 601] : [601, 45]), dtype)
      const got = callOp('matmul_half', [a, b, null, ta, tb, 'f32'])[0].read(), want = matmul(cast(a, 'f64'), cast(b, 'f64'), ta, tb).read()
      want.forEach((w, i) => { worst = Math.max(worst, Math.abs(got[i] - w)) })
    }
    console.log(worst)`
  let out: string
  try {
    out = execFileSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      env: { ...process.env, TERSOR_ISA: isa },
      encoding: 'utf8',
      stdio: 'pipe',
    })
  } catch (e) {
    // A machine without that instruction set.
    expect(String((e as { stderr?: unknown }).stderr)).toContain('ERR_ISA')
    return
  }
  expect(Number(out)).toBeLessThan(601 * 2 ** -24 * 400)
})
