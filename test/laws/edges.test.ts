/** Sizes 0 and 1, rank 0: every op has an entry, and what it gives there is a decision, not an accident. */
import { describe, expect, it } from 'vitest'
import type { OpName } from '../../ts/native/ops.gen.js'
import { callOp, scope, Tensor } from '../../ts/tensor/index.js'
import { code } from '../tensor/code.js'
import { numbers } from './cases.js'
import { alignment } from './edges/alignment.js'
import { codes } from './edges/codes.js'
import type { Edge } from './edges/edge.js'
import { elementwise } from './edges/elementwise.js'
import { convolutions } from './edges/convolutions.js'
import { networks } from './edges/networks.js'
import { norms } from './edges/norms.js'
import { sparse } from './edges/sparse.js'

const edges: Readonly<Record<OpName, readonly Edge[]>> = {
  ...elementwise,
  ...networks,
  ...convolutions,
  ...norms,
  ...alignment,
  ...codes,
  ...sparse,
}

describe.each(Object.entries(edges))('%s', (name, list) => {
  it.each(list.map((edge, i) => [i, edge] as const))('case %i', (_, [args, want]) =>
    scope(() => {
      const given = args()
      const shown = given.map((a) => (a instanceof Tensor ? a.toString() : JSON.stringify(a))).join(' ')
      if (typeof want === 'string') {
        expect(() => callOp(name as OpName, given), shown).toThrowError(code(want))
        return
      }
      const got = callOp(name as OpName, given)
      expect(
        got.map((t) => t.shape),
        shown,
      ).toEqual(want.map(([shape]) => shape))
      want.forEach(([, elements], r) => {
        if (!elements) return
        numbers(got[r]!).forEach((v, i) => expect(v, `${shown}: result ${r}, element ${i}`).toBeCloseTo(elements[i]!, 6))
      })
    }),
  )
})
