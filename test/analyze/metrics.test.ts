/** Figures against values worked out by hand or published. */
import { describe, expect, it } from 'vitest'
import { argmaxRows, percentile, probabilityLoyalty, shareEqual, topKShare, wilsonInterval } from '../../ts/analyze/index.js'
import { code } from '../nn/lib.js'

describe('proportions', () => {
  it('are shares of equal labels', () => {
    expect(shareEqual([1, 2, 3, 4], [1, 2, 0, 4])).toBe(0.75)
    expect(() => shareEqual([], [])).toThrowError(code('ERR_SHAPE'))
    expect(() => shareEqual([1], [1, 2])).toThrowError(code('ERR_SHAPE'))
  })

  it.each([
    [5, 10],
    [1, 10],
    [947, 1000],
    [3, 600],
  ])('%d of %d: the ends of the interval are the proportions that are just not rejected', (hits, n) => {
    const share = hits / n
    for (const end of wilsonInterval(share, n))
      expect(Math.abs(share - end) / Math.sqrt((end * (1 - end)) / n)).toBeCloseTo(1.959963984540054, 9)
  })

  it('have intervals inside [0, 1]', () => {
    expect(wilsonInterval(0, 10)[0]).toBe(0)
    expect(wilsonInterval(0, 10)[1]).toBeCloseTo(0.2775, 4)
    expect(wilsonInterval(1, 10)[1]).toBe(1)
  })

  it('say nothing without examples', () => expect(wilsonInterval(0.5, 0)).toEqual([0, 1]))
})

describe('top k', () => {
  const scores = [0.1, 0.7, 0.2, 0.5, 0.3, 0.2, 0.4, 0.4, 0.2]
  it('counts labels among the k best, ties to the lower class', () => {
    expect(topKShare(scores, [1, 1, 1], 3, 1)).toBeCloseTo(1 / 3)
    expect(topKShare(scores, [1, 1, 1], 3, 2)).toBe(1)
    expect(topKShare(scores, [0, 2, 2], 3, 2)).toBe(0)
    expect(topKShare(scores, [0, 2, 2], 3, 3)).toBe(1)
  })
  it('of one is accuracy', () => {
    const labels = [1, 0, 0]
    expect(topKShare(scores, labels, 3, 1)).toBe(shareEqual(argmaxRows(scores, 3), labels))
  })
  it('refuses k outside the classes', () => {
    for (const k of [0, 4, 1.5, NaN]) expect(() => topKShare(scores, [0, 0, 0], 3, k)).toThrowError(code('ERR_OPTION'))
    expect(() => topKShare(scores, [0, 0], 3, 1)).toThrowError(code('ERR_SHAPE'))
  })
})

describe('probability loyalty', () => {
  it('is 1 for equal distributions', () => expect(probabilityLoyalty([0.2, 0.8, 0.5, 0.5], [0.2, 0.8, 0.5, 0.5], 2)).toBe(1))
  it('is 1 - sqrt(ln 2) for disjoint ones', () => expect(probabilityLoyalty([1, 0], [0, 1], 2)).toBeCloseTo(1 - Math.sqrt(Math.LN2), 12))
  it('is symmetric, and the mean over rows', () => {
    const [p, q] = [
      [0.1, 0.6, 0.3],
      [0.4, 0.4, 0.2],
    ]
    expect(probabilityLoyalty(p, q, 3)).toBeCloseTo(probabilityLoyalty(q, p, 3), 14)
    expect(probabilityLoyalty([...p, ...p], [...q, ...p], 3)).toBeCloseTo((probabilityLoyalty(p, q, 3) + 1) / 2, 14)
  })
  it('agrees with the definition', () => {
    const p = [0.1, 0.6, 0.3]
    const q = [0.4, 0.4, 0.2]
    const m = p.map((v, i) => (v + q[i]!) / 2)
    const kl = (a: number[]): number => a.reduce((s, v, i) => s + v * Math.log(v / m[i]!), 0)
    expect(probabilityLoyalty(p, q, 3)).toBeCloseTo(1 - Math.sqrt((kl(p) + kl(q)) / 2), 12)
  })
  it('refuses ragged rows', () => expect(() => probabilityLoyalty([1, 2, 3], [1, 2, 3], 2)).toThrowError(code('ERR_SHAPE')))
})

describe('order', () => {
  it('percentiles interpolate', () => {
    expect(percentile([4, 1, 3, 2], 0.5)).toBe(2.5)
    expect(percentile([4, 1, 3, 2], 0)).toBe(1)
    expect(percentile([4, 1, 3, 2], 1)).toBe(4)
    expect(percentile([7], 0.95)).toBe(7)
    expect(percentile([], 0.5)).toBeNaN()
  })
  it('argmax takes the first of equals', () => expect([...argmaxRows([1, 3, 3, 2, 0, 1], 3)]).toEqual([1, 0]))
})
