/** Readers for numbers on the command line: a wrong one is a usage error that says what is allowed. */
import { InvalidArgumentError } from 'commander'

export function integer(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const v = Number(text)
    if (text.trim() === '' || !Number.isInteger(v) || v < min || v > max) throw new InvalidArgumentError(`must be an integer in [${min}, ${max}].`)
    return v
  }
}

export function real(min: number, max: number): (text: string) => number {
  return (text) => {
    const v = Number(text)
    if (text.trim() === '' || !Number.isFinite(v) || v < min || v > max) throw new InvalidArgumentError(`must be a number in [${min}, ${max}].`)
    return v
  }
}

export function list(read: (text: string) => number): (text: string) => number[] {
  return (text) => text.split(',').map(read)
}
