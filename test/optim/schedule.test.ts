import { describe, expect, it } from 'vitest'
import { lrAt, scheduleSchema, type Schedule } from '../../ts/optim/index.js'

const trace = (s: Schedule, steps: number): number[] => Array.from({ length: steps }, (_, i) => lrAt(s, i, steps))

describe('schedules', () => {
  it('constant', () => {
    expect(trace({ kind: 'constant', lr: 0.5 }, 3)).toEqual([0.5, 0.5, 0.5])
  })

  it('multi-step: the setting of Renda et al. for CIFAR, x0.1 at epochs 91 and 136 of 182', () => {
    const s: Schedule = { kind: 'multi-step', lr: 0.1, at: [91 / 182, 136 / 182], factor: 0.1 }
    const steps = 182 * 391
    expect(lrAt(s, 91 * 391 - 1, steps)).toBe(0.1)
    expect(lrAt(s, 91 * 391, steps)).toBeCloseTo(0.01, 12)
    expect(lrAt(s, 136 * 391 - 1, steps)).toBeCloseTo(0.01, 12)
    expect(lrAt(s, 136 * 391, steps)).toBeCloseTo(0.001, 12)
    expect(lrAt(s, steps - 1, steps)).toBeCloseTo(0.001, 12)
  })

  it('step', () => {
    expect(trace({ kind: 'step', lr: 1, every: 0.25, factor: 0.5 }, 8)).toEqual([1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125])
  })

  it('cosine and linear begin at lr, pass the middle and approach the end', () => {
    const cosine: Schedule = { kind: 'cosine', lr: 1, end: 0.2 }
    expect(lrAt(cosine, 0, 100)).toBe(1)
    expect(lrAt(cosine, 50, 100)).toBeCloseTo(0.6, 12)
    expect(lrAt(cosine, 100, 100)).toBeCloseTo(0.2, 12)
    const linear: Schedule = { kind: 'linear', lr: 1 }
    expect(lrAt(linear, 25, 100)).toBe(0.75)
    expect(lrAt(linear, 100, 100)).toBe(0)
    for (const s of [cosine, linear]) {
      const rates = trace(s, 100)
      expect(rates.every((r, i) => i === 0 || r < rates[i - 1]!)).toBe(true)
    }
  })

  it('warm-up rises linearly and meets the schedule', () => {
    const rates = trace({ kind: 'constant', lr: 1, warmup: 0.3 }, 10)
    expect(rates.slice(0, 4)).toEqual([0.25, 0.5, 0.75, 1])
    expect(rates.slice(4)).toEqual([1, 1, 1, 1, 1, 1])
  })

  it('depends on the position only: a replay from step t gives the tail of the whole', () => {
    const s: Schedule = { kind: 'cosine', lr: 0.1, warmup: 0.1 }
    expect(Array.from({ length: 40 }, (_, i) => lrAt(s, 60 + i, 100))).toEqual(trace(s, 100).slice(60))
  })

  it('refuses positions that are none', () => {
    for (const [step, steps] of [
      [-1, 10],
      [0.5, 10],
      [NaN, 10],
      [0, 0],
      [0, 1.5],
    ] as const)
      expect(() => lrAt({ kind: 'constant', lr: 1 }, step, steps)).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })

  it.each([{ lr: -1 }, { lr: NaN }, { lr: Infinity }, { lr: '1' }])('refuses %j', (bad) => {
    expect(scheduleSchema.safeParse({ kind: 'constant', ...bad }).success).toBe(false)
  })
})
