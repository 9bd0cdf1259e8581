/** Loyalty of a model to its teacher: the values of the paper's ends, and through models. */
import { describe, expect, it } from 'vitest'
import { loyalty, metrics } from '../../ts/analyze/index.js'
import { blobs, mlp } from '../compress/toys.js'
import { code } from '../nn/lib.js'

describe('Loyalty', () => {
  it('is 100 / 100 for identical models, 16.7 for disjoint answers', async () => {
    const data = blobs(40)
    const model = mlp()
    expect(await loyalty(model, mlp(), data)).toEqual({ count: 40, label: 1, probability: 1 })
    const apart = new metrics.Loyalty(2)
    apart.update([1e4, 0, 0, 1e4], [0, 1e4, 1e4, 0])
    expect(apart.result().label).toBe(0)
    expect(100 * apart.result().probability).toBeCloseTo(100 * (1 - Math.sqrt(Math.LN2)), 6)
    const other = await loyalty(mlp({ seed: 3 }), model, data)
    expect(other.label).toBeLessThan(1)
    expect(other.probability).toBeLessThan(1)
  })
  it('takes batches: the same as all at once; a shift of the scores changes nothing', () => {
    const [student, teacher] = [
      [1, 2, 0, 0.5, 0.1, 3],
      [2, 1, 0, 0, 0.2, 1],
    ]
    const [whole, parts] = [new metrics.Loyalty(3), new metrics.Loyalty(3)]
    whole.update(student, teacher)
    for (const i of [0, 3])
      parts.update(
        student.slice(i, i + 3).map((x) => x + 7),
        teacher.slice(i, i + 3),
      )
    expect(parts.result().label).toBe(0.5)
    expect(parts.result().probability).toBeCloseTo(whole.result().probability, 12)
  })
  it('refuses rows that do not fit, scores that are not finite, models with other classes, and no data', async () => {
    const found = new metrics.Loyalty(2)
    expect(() => found.update([1, 2], [1])).toThrowError(code('ERR_SHAPE'))
    expect(() => found.update([1, 2, 3], [1, 2, 3])).toThrowError(code('ERR_SHAPE'))
    expect(() => found.update([1, NaN], [1, 2])).toThrowError(code('ERR_DATA'))
    expect(() => found.result()).toThrowError(code('ERR_DATA'))
    expect(() => new metrics.Loyalty(0)).toThrowError(code('ERR_OPTION'))
    await expect(loyalty(mlp(), mlp({ classes: 4 }), blobs(10))).rejects.toThrowError(code('ERR_OPTION'))
  })
})
