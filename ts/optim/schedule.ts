/**
 * Learning-rate schedules as plain data. `lrAt(schedule, step, steps)` is a pure function of the position, so replaying a training from
 * step t (learning-rate rewinding) is nothing but starting to count at t. Places are given as shares of the whole training in
 * [0, 1]: the same schedule fits any number of steps.
 */
import { z } from 'zod'
import { OptionError } from '../base/errors.js'

const lr = z.number().nonnegative().finite()
const share = z.number().min(0).max(1)
/** Share of the steps in which the rate rises linearly to that of the schedule. */
const warmup = share.default(0)

export const scheduleSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('constant'), lr, warmup }),
  /** lr times `factor` after every `every` of the training. */
  z.strictObject({ kind: z.literal('step'), lr, every: z.number().gt(0).max(1), factor: z.number().positive().finite(), warmup }),
  /** lr times `factor` at each of the places `at`. */
  z.strictObject({ kind: z.literal('multi-step'), lr, at: z.array(share), factor: z.number().positive().finite(), warmup }),
  /** Half a cosine from lr to `end` (Loshchilov, Hutter 2017). */
  z.strictObject({ kind: z.literal('cosine'), lr, end: lr.default(0), warmup }),
  z.strictObject({ kind: z.literal('linear'), lr, end: lr.default(0), warmup }),
])
export type Schedule = z.input<typeof scheduleSchema>

/** The rate of step `step` (from 0) of `steps`. */
export function lrAt(schedule: Schedule, step: number, steps: number): number {
  if (!Number.isInteger(step) || step < 0 || !Number.isInteger(steps) || steps < 1)
    throw new OptionError('ERR_OPTION', `schedule: needs integers step >= 0 and steps >= 1, got step ${step} of ${steps}`)
  const warm = Math.round((schedule.warmup ?? 0) * steps)
  const rate = plainRate(schedule, step, steps)
  return step < warm ? (rate * (step + 1)) / (warm + 1) : rate
}

function plainRate(s: Schedule, step: number, steps: number): number {
  switch (s.kind) {
    case 'constant':
      return s.lr
    case 'step': {
      const every = Math.max(1, Math.round(s.every * steps))
      return s.lr * s.factor ** Math.floor(step / every)
    }
    case 'multi-step': {
      const passed = s.at.filter((place) => step >= Math.round(place * steps)).length
      return s.lr * s.factor ** passed
    }
    case 'cosine': {
      const end = s.end ?? 0
      return end + ((s.lr - end) * (1 + Math.cos((Math.PI * Math.min(step, steps)) / steps))) / 2
    }
    case 'linear': {
      const end = s.end ?? 0
      return s.lr + ((end - s.lr) * Math.min(step, steps)) / steps
    }
  }
}
