/** CTC against torch 1.13 (test/golden/make-torch-recurrent.py), against the sum over all paths, and against the recursion spelled out; decoding. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { sum, valueAndGrad } from '../../ts/autograd/index.js'
import { setThreads, threads } from '../../ts/native/devices.js'
import { ctcUnrolled } from '../../ts/ops/ctc.js'
import { ctcBeam, ctcGreedy, ctcLoss, log, logSoftmax, mul, scaleShift, type CtcOptions } from '../../ts/ops/index.js'
import { full, scope, tensor, zeros, type Tensor } from '../../ts/tensor/index.js'
import { bits, numbers } from '../laws/cases.js'
import { rng } from '../laws/sampler.js'
import { code } from '../nn/lib.js'

const golden = JSON.parse(readFileSync(new URL('../golden/torch-recurrent.json', import.meta.url), 'utf8')) as Readonly<
  Record<string, Readonly<Record<string, readonly number[]>>>
>
const wave = (k: number, shape: readonly number[], dtype: 'f32' | 'f64'): Tensor => {
  const values = Array.from({ length: shape.reduce((n, d) => n * d, 1) }, (_, i) => Math.sin(1.3 * i + k))
  return tensor(dtype === 'f64' ? Float64Array.from(values) : Float32Array.from(values), shape)
}
const i32 = (values: readonly number[], shape: readonly number[] = [values.length]): Tensor => tensor(Int32Array.from(values), shape)

const torch: Readonly<
  Record<
    string,
    {
      steps: number
      batch: number
      classes: number
      targets: readonly (readonly number[])[]
      lengths: readonly number[]
      options: CtcOptions
    }
  >
> = {
  ctc: {
    steps: 7,
    batch: 3,
    classes: 5,
    targets: [
      [1, 2, 2],
      [3, 3, -1],
      [4, -1, -1],
    ],
    lengths: [7, 6, 3],
    options: {},
  },
  'ctc blank 2': {
    steps: 6,
    batch: 2,
    classes: 4,
    targets: [
      [0, 1, 0],
      [3, -1, -1],
    ],
    lengths: [6, 4],
    options: { blank: 2 },
  },
  'ctc zero infinity': {
    steps: 3,
    batch: 2,
    classes: 4,
    targets: [
      [1, 1, 2],
      [3, -1, -1],
    ],
    lengths: [3, 3],
    options: { zeroInfinity: true },
  },
}

describe.each(Object.entries(torch))('%s', (name, { steps, batch, classes, targets, lengths, options }) => {
  it.each(['f32', 'f64'] as const)('equals torch in %s', (dtype) =>
    scope(() => {
      const logits = wave(0, [steps, batch, classes], dtype)
      const counts = targets.map((row) => row.filter((v) => v >= 0).length)
      const given = {
        ...options,
        inputLengths: i32(lengths),
        targetLengths: i32(counts),
        reduction: 'none' as const,
        batchFirst: false,
      }
      const labels = i32(targets.flat(), [batch, targets[0]!.length])
      const { aux, grads } = valueAndGrad(() => {
        const loss = ctcLoss(logSoftmax(scaleShift(logits, 2, 0)), labels, given)
        return { value: sum(mul(loss, wave(5, [batch], dtype)), [], false), aux: [loss] }
      }, [logits])
      numbers(aux[0]!).forEach((v, i) => expect(v).toBeCloseTo(golden[name]!.loss![i]!, 5))
      numbers(grads[0]!).forEach((v, i) => expect(v).toBeCloseTo(golden[name]!.dlogits![i]!, 5))
      const mean = ctcLoss(logSoftmax(scaleShift(logits, 2, 0)), labels, { ...given, reduction: 'mean' }).item()
      const want = golden[name]!.loss!.reduce((a, loss, b) => a + loss / counts[b]! / batch, 0)
      expect(mean).toBeCloseTo(want, 5)
    }),
  )
})

/** Minus the log of the sum over every path, path by path. */
function bruteForce(x: Tensor, target: readonly number[], blank: number): number {
  const [, frames, classes] = x.shape as [number, number, number]
  const values = numbers(x)
  let total = 0
  for (let p = 0; p < classes ** frames; p++) {
    const path = Array.from({ length: frames }, (_, t) => Math.floor(p / classes ** t) % classes)
    const spelled = path.filter((c, t) => c !== blank && c !== path[t - 1])
    if (spelled.join() === target.join()) total += Math.exp(path.reduce((a, c, t) => a + values[t * classes + c]!, 0))
  }
  return -Math.log(total)
}

describe('ctcLoss', () => {
  it('is the sum over all paths', () => {
    const random = rng(3)
    for (const target of [[], [1], [1, 1], [1, 2, 1], [2, 2, 1]])
      scope(() => {
        const x = logSoftmax(
          tensor(
            Float64Array.from({ length: 15 }, () => 4 * random() - 2),
            [1, 5, 3],
          ),
        )
        expect(ctcLoss(x, i32(target, [1, target.length]), { reduction: 'none' }).toArray()).toEqual([
          expect.closeTo(bruteForce(x, target, 0), 10) as number,
        ])
      })
  })

  it('stays exact where probabilities leave the range of double', () => {
    scope(() => {
      // 400 frames that each say e^-50 or less to what must be spelled: e^-20000 and below.
      const x = tensor(
        Float64Array.from({ length: 1200 }, (_, i) => (i % 3 === 2 ? 0 : -50 - 0.01 * (i % 7))),
        [1, 400, 3],
      )
      const labels = i32([1, 1, 1], [1, 3])
      const native = ctcLoss(x, labels, { reduction: 'none' }).item()
      const spelled = ctcUnrolled(x, labels, null, null, 0, false).item()
      expect(native).toBeGreaterThan(19_000)
      expect(Math.abs(native - spelled)).toBeLessThan(1e-8 * native)
      const { grads } = valueAndGrad(() => ctcLoss(x, labels), [x])
      // Every frame emits exactly one label: shares of a frame sum to 1.
      const d = numbers(grads[0]!)
      for (let t = 0; t < 400; t++) expect(-3 * (d[3 * t]! + d[3 * t + 1]! + d[3 * t + 2]!)).toBeCloseTo(1, 10)
    })
  })

  it('says which row cannot be spelled, and leaves it out on demand', () => {
    scope(() => {
      const x = logSoftmax(zeros([2, 3, 4]))
      const labels = i32([1, 2, 3, 3], [2, 2])
      const inputLengths = i32([2, 2])
      expect(() => ctcLoss(x, labels, { inputLengths })).toThrowError(code('ERR_SHAPE', /need 3 frames, got 2 in row 1/))
      const rows = ctcLoss(x, labels, { inputLengths, zeroInfinity: true, reduction: 'none' })
      expect(rows.toArray()).toEqual([expect.closeTo(Math.log(16), 5), 0])
      expect(() => ctcLoss(x, labels, { reduction: 'max' as never })).toThrowError(code('ERR_OPTION', /reduction/))
    })
  })

  it('is Infinity where only probabilities of 0 stand in the way, NaN where one is NaN', () => {
    scope(() => {
      const x = (v: number): Tensor =>
        tensor([
          [
            [v, -1, -1],
            [-1, v, -1],
          ],
        ])
      const target = i32([1], [1, 1])
      const blocked = tensor([
        [
          [-1, -Infinity, -1],
          [-1, -Infinity, -1],
        ],
      ])
      expect(ctcLoss(blocked, target).item()).toBe(Infinity)
      expect(ctcLoss(blocked, target, { zeroInfinity: true }).item()).toBe(0)
      const { grads } = valueAndGrad(() => ctcLoss(blocked, target, { zeroInfinity: true }), [blocked])
      expect(numbers(grads[0]!).every((v) => v === 0)).toBe(true)
      expect(ctcLoss(x(NaN), target).item()).toBeNaN()
    })
  })

  it('gives the same bits whatever the number of threads', () => {
    scope(() => {
      const random = rng(9)
      const x = logSoftmax(
        tensor(
          Float32Array.from({ length: 8 * 60 * 30 }, () => 6 * random() - 3),
          [8, 60, 30],
        ),
      )
      const labels = i32(
        Array.from({ length: 8 * 20 }, () => 1 + Math.floor(random() * 29)),
        [8, 20],
      )
      const before = threads()
      const run = (n: number): string => {
        setThreads(n)
        const { value, grads } = valueAndGrad(() => ctcLoss(x, labels), [x])
        return `${bits(value)} ${bits(grads[0]!)}`
      }
      try {
        expect(run(1)).toBe(run(2))
      } finally {
        setThreads(before)
      }
    })
  })
})

describe('decoding', () => {
  const frames = (...rows: readonly number[][]): Tensor => log(tensor([rows]))

  it('greedy merges repeats and drops blanks', () => {
    scope(() => {
      const x = frames([0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8])
      expect(ctcGreedy(x)[0]!.labels).toEqual([1, 1, 2])
      expect(ctcGreedy(x)[0]!.score).toBeCloseTo(5 * Math.log(0.8), 5)
      expect(ctcGreedy(x, { inputLengths: [2] })[0]!.labels).toEqual([1])
      expect(ctcGreedy(x, { blank: 1 })[0]!.labels).toEqual([0, 2])
    })
  })

  it('beam search with a wide beam finds the likeliest labelling, with its probability', () => {
    scope(() => {
      const random = rng(5)
      for (let trial = 0; trial < 5; trial++) {
        const x = logSoftmax(
          tensor(
            Float64Array.from({ length: 12 }, () => 4 * random() - 2),
            [1, 4, 3],
          ),
        )
        const all = [[], ...[1, 2].flatMap((a) => [[a], ...[1, 2].flatMap((b) => [[a, b], ...[1, 2].map((c) => [a, b, c])])])]
        const best = all.map((labels) => ({ labels, score: -bruteForce(x, labels, 0) })).sort((p, q) => q.score - p.score)
        const found = ctcBeam(x, { width: 100, top: 3 })[0]!
        found.forEach((r, i) => {
          expect(r.labels).toEqual(best[i]!.labels)
          expect(r.score).toBeCloseTo(best[i]!.score, 8)
        })
      }
    })
  })

  it('beam search listens to a language model', () => {
    scope(() => {
      const x = frames([0.2, 0.41, 0.39])
      expect(ctcBeam(x)[0]![0]!.labels).toEqual([1])
      expect(ctcBeam(x, { extend: (_, label) => (label === 2 ? 0 : -1) })[0]![0]!.labels).toEqual([2])
    })
  })

  it('refuses what makes no sense', () => {
    scope(() => {
      const x = full([1, 2, 3], 0)
      for (const decode of [ctcGreedy, ctcBeam]) {
        expect(() => decode(full([2, 3], 0))).toThrowError(code('ERR_SHAPE', /\[B, T, C\]/))
        expect(() => decode(x, { blank: 3 })).toThrowError(code('ERR_OPTION', /blank/))
        expect(() => decode(x, { inputLengths: [3] })).toThrowError(code('ERR_SHAPE', /inputLengths/))
        expect(() => decode(x, { inputLengths: [] })).toThrowError(code('ERR_SHAPE', /inputLengths/))
      }
      for (const width of [0, 1.5, NaN]) expect(() => ctcBeam(x, { width })).toThrowError(code('ERR_OPTION', /width/))
    })
  })
})
