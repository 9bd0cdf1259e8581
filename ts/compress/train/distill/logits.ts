/** The logits terms of distillation: distributions at a temperature in the conventions of five codes, squared error, the teacher's top class. */
import { OptionError, ShapeError } from '../../../base/errors.js'
import { argmax, cast, crossEntropyRows, exp, logSoftmax, mean, mse, mul, reshape, scaleShift, sub, sum } from '../../../ops/index.js'
import { scope, tensor, type Tensor } from '../../../tensor/index.js'
import { conventions, type Convention, type ConventionName } from './options.js'

export interface DistillationLossOptions {
  /** Default 'distilbert': T^2 KL, mean over the rows. */
  readonly convention?: ConventionName
  /** Default: that of the convention. */
  readonly temperature?: number
  /** 1 for each row that counts, 0 for others. Default: all. */
  readonly rows?: Float32Array | undefined
}

/** Log-probabilities at temperature T of the rows [N, K]. */
export function tempered(scores: Tensor, temperature: number): Tensor {
  return logSoftmax(temperature === 1 ? scores : scaleShift(scores, 1 / temperature))
}

function asRows(where: string, student: Tensor, teacher: Tensor): { z: Tensor; v: Tensor; n: number; k: number } {
  if (!student.sameShape(teacher) || student.rank < 1)
    throw new ShapeError('ERR_SHAPE', `${where}: student and teacher scores must have one shape [..., K], got ${student} and ${teacher}`)
  const k = student.shape[student.rank - 1]!
  const n = k === 0 ? 0 : student.size / k
  return { z: reshape(student, [n, k]), v: reshape(teacher, [n, k]), n, k }
}

function checkRows(where: string, rows: Float32Array | undefined, n: number): number {
  if (!rows) return n
  if (rows.length !== n) throw new ShapeError('ERR_SHAPE', `${where}: ${rows.length} row weights for ${n} rows`)
  return rows.reduce((total, w) => total + w, 0)
}

/** sum over rows of (cross-entropy or KL of z with exp(logq)), in a convention. `logq` [N, K] is constant. */
export function softTerm(z: Tensor, logq: Tensor, how: Convention, temperature: number, rows: Float32Array | undefined): Tensor {
  return scope(() => {
    const [n, k] = z.shape as [number, number]
    const counted = checkRows('distillation', rows, n)
    const logp = tempered(z, temperature)
    // KL in one sum of differences: 0 exactly where both are the same.
    const each = how.divergence === 'kl' ? mul(exp(logq), sub(logq, logp)) : scaleShift(mul(exp(logq), logp), -1)
    const total = rows ? sum(mul(sum(each, [-1]), tensor(rows))) : sum(each)
    const divisor = how.per === 'row' ? counted : counted * k
    return scaleShift(total, (how.squared ? temperature * temperature : 1) / Math.max(divisor, 1))
  })
}

/**
 * The distillation term of Hinton, Vinyals and Dean (2015) for scores [..., K] of student and teacher at temperature T, in the convention of a published
 * code. The teacher is constant to the tape.
 *
 * - shapes that differ: ERR_SHAPE; a temperature that is not a positive number: ERR_OPTION
 *
 * @example
 * import { tensor, distillationLoss } from 'tersor'
 * distillationLoss(tensor([[0, 0]]), tensor([[0, 0]])).item()                                 // 0
 * distillationLoss(tensor([[0, 0]]), tensor([[0, 0]]), { convention: 'textbrewer' }).item()   // 0.693147...
 */
export function distillationLoss(
  student: Tensor,
  teacher: Tensor,
  { convention = 'distilbert', temperature, rows }: DistillationLossOptions = {},
): Tensor {
  const how: Convention | undefined = Object.hasOwn(conventions, convention) ? conventions[convention] : undefined
  if (!how)
    throw new OptionError(
      'ERR_OPTION',
      `distillationLoss: convention must be one of ${Object.keys(conventions).join(', ')}, got ${JSON.stringify(convention)}`,
    )
  const t = temperature ?? how.temperature
  if (!(t > 0 && t < Infinity)) throw new OptionError('ERR_OPTION', `distillationLoss: temperature must be a positive number, got ${t}`)
  return scope(() => {
    const { z, v } = asRows('distillationLoss', student, teacher)
    return softTerm(z, tempered(v, t), how, t, rows)
  })
}

/** Squared error of the scores, mean over the elements that count: gradient 2 (z - v) / n. */
export function squaredTerm(student: Tensor, teacher: Tensor, rows?: Float32Array): Tensor {
  return scope(() => {
    const { z, v, n, k } = asRows('distillation', student, teacher)
    const counted = checkRows('distillation', rows, n)
    if (!rows) return mse(z, v)
    const d = sub(z, v)
    return scaleShift(sum(mul(sum(mul(d, d), [-1]), tensor(rows))), 1 / Math.max(counted * k, 1))
  })
}

/** Cross-entropy with the teacher's top class. */
export function topTerm(student: Tensor, teacher: Tensor, rows?: Float32Array): Tensor {
  return scope(() => {
    const { z, v, n } = asRows('distillation', student, teacher)
    const counted = checkRows('distillation', rows, n)
    const each = crossEntropyRows(z, cast(argmax(v), 'i32'))
    return rows ? scaleShift(sum(mul(each, tensor(rows))), 1 / Math.max(counted, 1)) : mean(each)
  })
}
