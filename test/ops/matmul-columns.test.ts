/** A transposed first operand is packed by strips: the same bits as of its copy in rows. */
import { expect, it } from 'vitest'
import { Rng } from '../../ts/base/rng.js'
import { matmul } from '../../ts/ops/index.js'
import { setThreads, threads } from '../../ts/native/devices.js'
import { tensor } from '../../ts/tensor/index.js'

it.each([
  [205, 1030, 400, 'f32'],
  [193, 70, 385, 'f32'],
  [192, 64, 768, 'f32'],
  [49, 257, 33, 'f32'],
  [131, 1025, 50, 'f64'],
] as const)('%i x %i x %i, %s', (m, k, n, dtype) => {
  const make = (n: number, value: (i: number) => number): Float32Array | Float64Array =>
    dtype === 'f32' ? Float32Array.from({ length: n }, (_, i) => value(i)) : Float64Array.from({ length: n }, (_, i) => value(i))
  const random = Rng.of(1, `${m}`)
  const rows = make(m * k, () => random.uniform() - 0.5)
  const columns = make(m * k, (i) => rows[(i % m) * k + Math.floor(i / m)]!)
  const b = tensor(
    make(k * n, () => random.uniform() - 0.5),
    [k, n],
  )
  const before = threads()
  try {
    for (const count of [1, 2]) {
      setThreads(count)
      const [found, wanted] = [matmul(tensor(columns, [k, m]), b, true), matmul(tensor(rows, [m, k]), b)].map((t) => t.read())
      expect(found!.findIndex((v, i) => v !== wanted![i])).toBe(-1)
    }
  } finally {
    setThreads(before)
  }
})
