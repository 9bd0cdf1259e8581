/** Off the main thread every op gives the same bits; in-place ops refuse. */
import { describe, expect, it } from 'vitest'
import { callOp, callOpAsync, type Tensor } from '../../ts/tensor/index.js'
import { bits, cases, singleOnly } from './cases.js'

describe.each(cases.map((c) => [c.name, c] as const))('%s', (name, c) => {
  it(c.inPlace ? 'does not run asynchronously' : 'sync equals async', async () => {
    const made: Tensor[] = []
    for (const dtype of singleOnly.has(name) ? (['f32'] as const) : (['f32', 'f64'] as const))
      for (const args of c.samples(dtype)) {
        if (c.inPlace) {
          await expect(callOpAsync(name, args)).rejects.toMatchObject({ code: 'ERR_UNSUPPORTED' })
          continue
        }
        const now = callOp(name, args)
        const [later, again] = await Promise.all([callOpAsync(name, args), callOpAsync(name, args)])
        made.push(...now, ...later, ...again)
        expect(later.map(bits)).toEqual(now.map(bits))
        expect(again.map(bits)).toEqual(now.map(bits))
      }
    for (const t of made) t.dispose()
  })
})
