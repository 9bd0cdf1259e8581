/** Random small nets of convolutions, and of what stands between them: a plan gives what the recorded calls give. */
import { afterAll, expect, test } from 'vitest'
import { ops, scope, session, setThreads, tensor, threads as numberOfThreads, type Tensor } from '../../ts/index.js'
import { Rng } from '../../ts/base/rng.js'

const threads = numberOfThreads()
afterAll(() => setThreads(threads))

type Step = (seen: readonly Tensor[]) => Tensor
interface Net {
  readonly steps: readonly Step[]
  readonly outputs: readonly number[]
  readonly input: number[]
  readonly weights: readonly Tensor[]
  readonly text: string
}

/** A net of about `size` calls; each reads results of others, mostly the newest one. Shapes are followed, so every net is valid. */
function randomNet(rng: Rng, size: number): Net {
  const pick = <T>(of: readonly T[]): T => of[rng.int(of.length)]!
  const values = (n: number): Float32Array => Float32Array.from({ length: n }, () => rng.normal())
  const weights: Tensor[] = []
  const weight = (...shape: number[]): Tensor => {
    const n = shape.reduce((a, b) => a * b, 1)
    const w = tensor(values(n), shape)
    weights.push(w)
    return w
  }
  const input = [pick([1, 1, 2, 3]), pick([1, 2, 3, 4, 8, 17, 33]), 1 + rng.int(9), 1 + rng.int(9)]
  const shapes: number[][] = [input]
  const steps: Step[] = []
  const text: string[] = [input.join('x')]
  const put = (shape: number[], step: Step, name: string): void => {
    shapes.push(shape)
    steps.push(step)
    text.push(`${name}:${shape.join('x')}`)
  }
  const images = (): number[] => shapes.flatMap((s, i) => (s.length === 4 ? [i] : []))
  const same = (shape: readonly number[], but: number): number[] =>
    shapes.flatMap((s, i) => (i !== but && s.join() === shape.join() ? [i] : []))
  const convolution = (i: number): void => {
    const [b, c, h, w] = shapes[i] as [number, number, number, number]
    const divisors = [1, c, ...[2, 3, 4].filter((d) => c % d === 0)]
    const groups = rng.int(3) === 0 ? pick(divisors) : 1
    const out = groups * (groups > 1 ? pick([1, 1, 2, 3]) : pick([1, 2, 3, 8, 16, 17, 20, c, c]))
    const kernel = [pick([1, 1, 2, 3, 3, 5]), pick([1, 1, 2, 3, 3, 5])] as const
    const dilation = rng.int(4) === 0 ? ([1 + rng.int(2), 1 + rng.int(3)] as const) : ([1, 1] as const)
    const stride = [pick([1, 1, 1, 2, 3]), pick([1, 1, 1, 2, 3])] as const
    const need = [0, 1].map((d) => (kernel[d]! - 1) * dilation[d]! + 1)
    const pads = [0, 1].map((d) => {
      const least = Math.max(0, need[d]! - (d ? w : h))
      const low = least + rng.int(need[d]! - 1 + 1)
      return [low, rng.int(2) ? low : rng.int(need[d]!)] as [number, number]
    }) as [[number, number], [number, number]]
    const [oh, ow] = [0, 1].map((d) => Math.floor(((d ? w : h) + pads[d]![0] + pads[d]![1] - need[d]!) / stride[d]!) + 1) as [
      number,
      number,
    ]
    const f = weight(out, c / groups, ...kernel)
    const bias = rng.int(2) ? weight(out) : null
    put(
      [b, out, oh, ow],
      (t) => ops.conv2d(t[i]!, f, bias, { stride, padding: pads, dilation, groups }),
      `conv(${i},k${kernel.join('')},s${stride.join('')},d${dilation.join('')},g${groups},p${pads.flat().join('')})`,
    )
  }
  const unary: readonly (readonly [string, (t: Tensor) => Tensor])[] = [
    ['relu', ops.relu],
    ['sigmoid', ops.sigmoid],
    ['silu', ops.silu],
    ['hardSwish', ops.hardSwish],
    ['hardSigmoid', ops.hardSigmoid],
    ['tanh', ops.tanh],
    ['relu6', (t) => ops.clip(t, 0, 6)],
    ['plus3', (t) => ops.scaleShift(t, 1, 3)],
    ['affine', (t) => ops.scaleShift(t, 0.5, -1)],
    ['swish', (t) => ops.mul(t, ops.sigmoid(t))],
    ['hard', (t) => ops.mul(ops.clip(ops.scaleShift(t, 1, 3), 0, 6), t)],
    ['leaky', (t) => ops.leakyRelu(t, 0.1)],
  ]
  for (let n = 0; n < size; n++) {
    const all = images()
    const i = rng.int(4) ? all.at(-1)! : pick(all)
    const shape = shapes[i]!
    const [b, c, h, w] = shape as [number, number, number, number]
    const kind = rng.int(15)
    const twin = same(shape, i)
    if (kind < 5) convolution(i)
    else if (kind < 7) {
      const [name, f] = pick(unary)
      put(shape, (t) => f(t[i]!), `${name}(${i})`)
    } else if (kind === 7) {
      const [s, z] = [weight(...pick([[1, c, 1, 1], [c, 1, 1], [1]])), weight(1, c, 1, 1)] // prettier-ignore
      put(shape, (t) => ops.add(ops.mul(t[i]!, s), z), `norm(${i})`)
    } else if (kind === 8 && twin.length > 0) {
      const j = pick(twin)
      const f = pick([ops.add, ops.sub, ops.mul, ops.maximum])
      put(shape, (t) => f(t[i]!, t[j]!), `binary(${i},${j})`)
    } else if (kind === 9) {
      const others = all.filter((j) => shapes[j]![0] === b && shapes[j]![2] === h && shapes[j]![3] === w)
      const list = [i, ...Array.from({ length: 1 + rng.int(2) }, () => pick(others))]
      put([b, list.reduce((n, j) => n + shapes[j]![1]!, 0), h, w], (t) => ops.concat(list.map((j) => t[j]!), 1), `concat(${list.join()})`) // prettier-ignore
    } else if (kind === 10) {
      const from = [rng.int(b), rng.int(c), rng.int(h), rng.int(w)].map((v) => (rng.int(2) ? 0 : v))
      const to = shape.map((v, d) => 1 + (rng.int(2) ? v - from[d]! - 1 : rng.int(v - from[d]!)))
      put(to, (t) => ops.slice(t[i]!, from, to), `slice(${i})`)
    } else if (kind === 11) {
      const order = pick([[0, 1, 3, 2], [0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 2, 3], [3, 2, 1, 0]]) // prettier-ignore
      put(order.map((d) => shape[d]!), (t) => ops.permute(t[i]!, order), `permute(${i},${order.join('')})`) // prettier-ignore
    } else if (kind === 12) {
      const to = pick([[b, h, c, w], [b, c, h * w], [b * c, 1, h, w], [b, c * h * w], [1, b * c, h, w], [b, c, w, h], [b, c, 1, h * w], [c, b, h * w, 1]]) // prettier-ignore
      put(to, (t) => ops.reshape(t[i]!, to), `reshape(${i})`)
    } else if (kind === 13) {
      const f = pick(['mean', 'gate', 'broadcast'] as const)
      if (f === 'mean') put([b, c, 1, 1], (t) => ops.mean(t[i]!, [2, 3], true), `mean(${i})`)
      else if (f === 'gate') put(shape, (t) => ops.mul(t[i]!, ops.sigmoid(ops.mean(t[i]!, [2, 3], true))), `gate(${i})`)
      else put(shape, (t) => ops.add(t[i]!, ops.slice(t[i]!, [0, 0, 0, 0], [b, 1, h, 1])), `broadcast(${i})`)
    } else {
      const k = [1 + rng.int(Math.min(3, h)), 1 + rng.int(Math.min(3, w))] as const
      const stride = [1 + rng.int(2), 1 + rng.int(2)] as const
      const p = [rng.int(Math.floor(k[0] / 2) + 1), rng.int(Math.floor(k[1] / 2) + 1)] as const
      const ceil = rng.int(2) === 0
      const f = rng.int(2) ? ops.maxPool2d : ops.avgPool2d
      const size = (n: number, d: 0 | 1): number => {
        const room = n + 2 * p[d] - k[d]
        if (!ceil) return Math.floor(room / stride[d]) + 1
        const places = Math.ceil(room / stride[d]) + 1
        return (places - 1) * stride[d] >= n + p[d] ? places - 1 : places
      }
      put(
        [b, c, size(h, 0), size(w, 1)],
        (t) => f(t[i]!, k, { stride, padding: p, ceil }),
        `pool(${i},k${k.join('')},s${stride.join('')},p${p.join('')},${ceil})`,
      )
    }
    if (shapes.at(-1)!.reduce((a, v) => a * v, 1) > 60_000) break
  }
  const outputs = [...new Set([shapes.length - 1, ...(rng.int(2) ? [rng.int(shapes.length)] : [])])].filter((i) => i > 0)
  return { steps, outputs, input, weights, text: `${text.join(' ')} -> ${outputs.join()}` }
}

function check(seed: number): void {
  const rng = Rng.of(seed, 'net')
  const net = randomNet(rng, 2 + rng.int(12))
  const x = { data: Float32Array.from({ length: net.input.reduce((a, b) => a * b, 1) }, () => rng.normal()), shape: net.input }
  const model = (t: Tensor): Record<string, Tensor> =>
    scope(() => {
      const seen = [t]
      for (const step of net.steps) seen.push(step(seen))
      return Object.fromEntries(net.outputs.map((i) => [`r${i}`, seen[i]!.alias()]))
    })
  const [plain, planned] = [session(model, { fuse: false }), session(model)]
  try {
    const want = plain.runSync(x)
    expect(planned.prepare(x).planned).toBe(true)
    for (let round = 0; round < 2; round++) {
      const got = planned.runSync(x)
      for (const name of Object.keys(want)) {
        const [a, b] = [want[name]!.data as Float32Array, got[name]!.data as Float32Array]
        expect(got[name]!.shape).toEqual(want[name]!.shape)
        const largest = a.reduce((m, v) => Math.max(m, Math.abs(v)), 1e-3)
        expect(
          a.every((v, i) => Object.is(v, b[i]) || v === b[i] || Math.abs(v - b[i]!) <= 2e-4 * largest),
          `${name} of net ${seed}: ${net.text}`,
        ).toBe(true)
      }
    }
  } finally {
    plain.dispose()
    planned.dispose()
    for (const w of net.weights) w.dispose()
  }
}

// Each number is a net of its own; TERSOR_RANDOM_NETS=first:count looks at others.
const [first, count] = (process.env['TERSOR_RANDOM_NETS'] ?? '0:100').split(':').map(Number) as [number, number]
test.each([1, 2])('plans of random nets give the values of their calls, %i threads', (n) => {
  setThreads(n)
  for (let seed = first; seed < first + count; seed++) check(seed + (n - 1) * count)
})
