/** Checks of options that all methods of this folder share. */
import { OptionError } from '../../base/errors.js'
import type { RunOptions, SymmetricOperator } from './operator.js'

export function checkCount(where: string, name: string, value: number, least: number, most = 2 ** 31): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new OptionError('ERR_OPTION', `${where}: ${name} must be an integer in [${least}, ${most}], got ${value}`)
}

export function checkTolerance(where: string, value: number): number {
  if (Number.isFinite(value) && value >= 0) return value
  throw new OptionError('ERR_OPTION', `${where}: tolerance must be a finite number >= 0, got ${value}`)
}

/** The seed; refuses an operator without elements. */
export function checkRun(where: string, operator: SymmetricOperator, { seed = 0 }: RunOptions): number {
  if (operator.size < 1) throw new OptionError('ERR_OPTION', `${where}: the operator must have a size >= 1, got ${operator.size}`)
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new OptionError('ERR_OPTION', `${where}: seed must be an integer in [0, 2^53), got ${seed}`)
  return seed
}

/** PyHessian's measure of change: |new - old| / (|old| + 1e-6). */
export function relativeChange(old: number, next: number): number {
  return Math.abs(next - old) / (Math.abs(old) + 1e-6)
}
