/** Element-wise comparison with plain numbers. */
import { expect } from 'vitest'
import type { Tensor } from '../../ts/tensor/index.js'
import { numbers } from '../laws/cases.js'

export const close = (got: Tensor, want: readonly number[], digits = 6): void => {
  const g = numbers(got)
  expect(g.length).toBe(want.length)
  g.forEach((v, i) => expect(v, `element ${i}`).toBeCloseTo(want[i]!, digits))
}
