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

  it('polynomial and exponential', () => {
    expect(trace({ kind: 'polynomial', lr: 1, end: 0.5, power: 2 }, 4)).toEqual([
      1,
      0.5 + 0.5 * 0.75 ** 2,
      0.5 + 0.5 * 0.25,
      0.5 + 0.5 * 0.0625,
    ])
    expect(trace({ kind: 'polynomial', lr: 1, power: 1 }, 4)).toEqual(trace({ kind: 'linear', lr: 1 }, 4))
    const rates = trace({ kind: 'exponential', lr: 1, factor: 0.01 }, 8)
    rates.slice(1).forEach((r, i) => expect(r / rates[i]!).toBeCloseTo(0.01 ** (1 / 8), 12))
  })

  // torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(SGD(lr=1), T_0=10, T_mult=2, eta_min=0.1): steps 0, 5, 9, 10, 20, 29, 30, 69, 70
  it('cosine with warm restarts as torch has it', () => {
    const s: Schedule = { kind: 'cosine-restarts', lr: 1, end: 0.1, first: 0.1, grow: 2 }
    const want = [1, 0.55, 0.12202456766718092, 1, 0.55, 0.10554024673218806, 1, 0.10138719982009242, 1]
    ;[0, 5, 9, 10, 20, 29, 30, 69, 70].forEach((step, i) => expect(lrAt(s, step, 100), `step ${step}`).toBeCloseTo(want[i]!, 8))
    expect(trace({ ...s, grow: 1 }, 100).slice(10, 20)).toEqual(trace({ ...s, grow: 1 }, 100).slice(0, 10))
    expect(lrAt({ ...s, first: 1e-9, grow: 1.0000001 }, 1e6, 1e6 + 1)).toBeGreaterThan(0)
  })

  it('one-cycle rises from lr / 25 to lr and falls to lr / 25 / 1e4', () => {
    const rates = trace({ kind: 'one-cycle', lr: 1 }, 100)
    expect(rates[0]).toBeCloseTo(1 / 25, 12)
    expect(rates[30]).toBe(1)
    expect(rates[99]).toBeCloseTo(1 / 25 / 1e4, 12)
    expect(rates.indexOf(Math.max(...rates))).toBe(30)
  })

  it('inverse square root: Noam with its peak given', () => {
    const w = 20
    const rates = trace({ kind: 'inverse-sqrt', lr: 2, warmup: (w - 1) / 100 }, 100)
    rates.forEach((r, i) => expect(r).toBeCloseTo(2 * Math.sqrt(w) * Math.min((i + 1) ** -0.5, (i + 1) * w ** -1.5), 10))
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
