/** Power iteration and Lanczos on a device: the emulated CUDA library, where it was built. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { hessian } from '../../ts/analyze/index.js'
import type { SymmetricOperator } from '../../ts/analyze/hessian/index.js'
import { device, type Device } from '../../ts/index.js'
import { axpby, innerProduct, matmul } from '../../ts/ops/index.js'
import { scope, tensor, type Tensor } from '../../ts/tensor/index.js'
import { root } from '../../tools/problems.js'
import { orthogonal } from './jacobi.js'

const file = join(root, 'build/Release/tersor_cuda_emulated.so')

describe.skipIf(!existsSync(file))('eigenvalues of an operator on a device', () => {
  let cuda: Device
  let held = 0
  beforeAll(() => {
    const before = process.env.TERSOR_CUDA_PATH
    process.env.TERSOR_CUDA_PATH = file
    try {
      cuda = device('cuda')
      held = cuda.memory().blocks
    } finally {
      if (before === undefined) delete process.env.TERSOR_CUDA_PATH
      else process.env.TERSOR_CUDA_PATH = before
    }
  })

  /** Q diag(spectrum) Q'; `events` gets an entry for each product. */
  function operator(spectrum: readonly number[], events: string[]): { readonly a: SymmetricOperator; readonly matrix: Tensor } {
    const n = spectrum.length
    const q = orthogonal(n, 5)
    const rows = q.map((row) => q.map((other) => row.reduce((s, v, k) => s + v * spectrum[k]! * other[k]!, 0)))
    const matrix = scope(() => tensor(rows, undefined, 'f32').to(cuda))
    const a: SymmetricOperator = {
      size: n,
      dtype: 'f32',
      parts: [{ name: 'w', shape: [n], offset: 0, size: n }],
      device: cuda,
      apply(v, out) {
        scope(() => {
          axpby(out, matmul(matrix, v.view([n, 1], [1, 1])).view([n], [1]), 1, 0)
        })
        events.push('product')
        return Promise.resolve()
      },
    }
    return { a, matrix }
  }

  it('finds them without waiting for it within eight steps', async () => {
    const events: string[] = []
    const { a, matrix } = operator([10, -7, 1, 0.5, 0.25, 0.1], events)
    const { pairs, products } = await hessian.powerIteration(a, { top: 2, seed: 3, onProgress: () => events.push('read') })
    expect(pairs.map((p) => p.value)).toEqual([expect.closeTo(10, 2), expect.closeTo(-7, 2)])
    expect(pairs.every((p) => p.converged && p.vector.device === cuda && p.residual < 0.5)).toBe(true)
    expect(products).toBe(events.filter((e) => e === 'product').length)
    expect(events.slice(0, 9)).toEqual([...Array<string>(8).fill('product'), 'read'])
    for (const p of pairs) expect(Math.sqrt(innerProduct(p.vector, p.vector))).toBeCloseTo(1, 5)
    const lanczos = await hessian.lanczos(a, { seed: 3 })
    expect(lanczos.pairs[0]!.value).toBeCloseTo(10, 3)
    for (const p of [...pairs, ...lanczos.pairs]) p.vector.dispose()
    matrix.dispose()
  })

  it('leaves the vector where a product is 0, and stops', async () => {
    const { a, matrix } = operator([0, 0, 0], [])
    const { pairs } = await hessian.powerIteration(a)
    expect(pairs[0]).toMatchObject({ value: 0, residual: 0, converged: true })
    expect(innerProduct(pairs[0]!.vector, pairs[0]!.vector)).toBeCloseTo(1, 5)
    pairs[0]!.vector.dispose()
    matrix.dispose()
    expect(cuda.memory().blocks).toBe(held)
  })
})
