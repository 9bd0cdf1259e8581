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
  /** end + (lr - end) (1 - progress)^power. */
  z.strictObject({ kind: z.literal('polynomial'), lr, end: lr.default(0), power: z.number().positive().finite().default(2), warmup }),
  /** lr times `factor` over the whole training, the same ratio from step to step. */
  z.strictObject({ kind: z.literal('exponential'), lr, factor: z.number().positive().finite(), warmup }),
  /** Cosines one after the other, the first over the share `first`, each `grow` times as long as the one before (SGDR: Loshchilov, Hutter 2017). */
  z.strictObject({
    kind: z.literal('cosine-restarts'),
    lr,
    end: lr.default(0),
    first: z.number().gt(0).max(1),
    grow: z.number().min(1).finite().default(1),
    warmup,
  }),
  /** From lr / div up to lr at the place `peak`, down to lr / div / finalDiv; both by half a cosine (Smith, Topin 2018; defaults as in torch). */
  z.strictObject({
    kind: z.literal('one-cycle'),
    lr,
    peak: z.number().gt(0).lt(1).default(0.3),
    div: z.number().min(1).finite().default(25),
    finalDiv: z.number().min(1).finite().default(1e4),
    warmup,
  }),
  /** lr sqrt(w / s) after a warm-up of w steps (Noam: Vaswani et al. 2017, section 5.3, with the peak given instead of the width). */
  z.strictObject({ kind: z.literal('inverse-sqrt'), lr, warmup }),
])
export type Schedule = z.input<typeof scheduleSchema>

/** The rate of step `step` (from 0) of `steps`. */
export function lrAt(schedule: Schedule, step: number, steps: number): number {
  if (!Number.isInteger(step) || step < 0 || !Number.isInteger(steps) || steps < 1)
    throw new OptionError('ERR_OPTION', `schedule: needs integers step >= 0 and steps >= 1, got step ${step} of ${steps}`)
  const warm = Math.round((schedule.warmup ?? 0) * steps)
  const rate = plainRate(schedule, step, steps, warm)
  return step < warm ? (rate * (step + 1)) / (warm + 1) : rate
}

const half = (from: number, to: number, share: number): number => to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2

/** How far `step` is in its cycle, in [0, 1): cycle k begins at first (grow^k - 1) / (grow - 1) and is first grow^k long. */
function placeInCycle(step: number, first: number, grow: number): number {
  if (grow === 1) return (step % first) / first
  const begin = (k: number): number => (first * (grow ** k - 1)) / (grow - 1)
  let k = Math.floor(Math.log(1 + (step * (grow - 1)) / first) / Math.log(grow))
  // The logarithm may round across a border.
  if (begin(k + 1) <= step) k++
  else if (begin(k) > step) k--
  return (step - begin(k)) / (first * grow ** k)
}

function plainRate(s: Schedule, step: number, steps: number, warm: number): number {
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
    case 'polynomial': {
      const end = s.end ?? 0
      return end + (s.lr - end) * (1 - Math.min(step, steps) / steps) ** (s.power ?? 2)
    }
    case 'exponential':
      return s.lr * s.factor ** (step / steps)
    case 'cosine-restarts': {
      const first = Math.max(1, Math.round(s.first * steps))
      return half(s.lr, s.end ?? 0, placeInCycle(step, first, s.grow ?? 1))
    }
    case 'one-cycle': {
      const begin = s.lr / (s.div ?? 25)
      const top = Math.max(1, Math.round((s.peak ?? 0.3) * steps))
      if (step < top) return half(begin, s.lr, step / top)
      return half(s.lr, begin / (s.finalDiv ?? 1e4), Math.min(1, (step - top) / Math.max(1, steps - 1 - top)))
    }
    case 'inverse-sqrt':
      // The warm-up itself rises by (s / w): together min(s^-1/2, s w^-3/2), s from 1.
      return s.lr * Math.sqrt((warm + 1) / Math.max(step + 1, warm + 1))
  }
}
