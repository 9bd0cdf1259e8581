/**
 * One or two traces of a model side by side. Where the second run had inputs of other sizes, a number that differs between the runs depends on a size,
 * and `expressOf` finds how: as a dimension of a value at hand, times or plus a constant.
 */
import { UnsupportedError } from '../../base/errors.js'
import { isValue, type Trace, type TracedCall, type TracedValue } from '../trace.js'

export interface PairedCall {
  readonly op: string
  readonly a: TracedCall
  readonly b: TracedCall
}

/** A number in both runs. */
export type PairedNumber = readonly [a: number, b: number]

export class Pair {
  readonly a: Trace
  readonly b: Trace

  constructor(a: Trace, b: Trace = a) {
    this.a = a
    this.b = b
    if (a === b) return
    const fail = (where: string): never => {
      throw new UnsupportedError(
        'ERR_UNSUPPORTED',
        `export: the model takes another path for inputs of other sizes (${where}); fix its sizes with dynamic: {}, or those of an imported model by name with sizes (tersor convert --size NAME=N)`,
      )
    }
    if (a.outputs.size !== b.outputs.size) fail(`${a.outputs.size} results, then ${b.outputs.size}`)
    if (a.calls.length !== b.calls.length || a.values.length !== b.values.length) fail(`${a.calls.length} calls, then ${b.calls.length}`)
    a.calls.forEach((call, i) => {
      const other = b.calls[i]!
      const same =
        call.op === other.op && call.args.every((arg, k) => !isValue(arg) || arg.id === (other.args[k] as TracedValue | null)?.id)
      if (!same) fail(`call ${i} is ${call.op}, then ${other.op}`)
    })
  }

  calls(): PairedCall[] {
    return this.a.calls.map((a, i) => ({ op: a.op, a, b: this.b.calls[i]! }))
  }

  /** The same value in the second run. */
  other(value: TracedValue): TracedValue {
    return this.b.values[value.id]!
  }

  shape(value: TracedValue): PairedNumber[] {
    const { shape } = this.other(value)
    return value.shape.map((d, i) => [d, shape[i]!])
  }

  /** Whether a constant has the same elements in both runs. */
  fixed(value: TracedValue): boolean {
    const other = this.other(value)
    if (value === other) return true
    const [x, y] = [value.constant?.data, other.constant?.data]
    return !!x && !!y && value.shape.every((d, i) => d === other.shape[i]) && x.length === y.length && x.every((byte, i) => byte === y[i])
  }
}

/** A size: dimension `axis` of `value`, times `times`, plus `plus`. */
export interface SizeOf {
  readonly value: TracedValue
  readonly axis: number
  readonly times: number
  readonly plus: number
}

/**
 * How a number that differs between the runs comes from a dimension of one of the values; null where none of them explains it. Two runs leave a choice:
 * the dimension itself comes first, then plus a constant, then times one, then both with the smallest constant.
 */
export function expressOf(pair: Pair, n: PairedNumber, values: readonly TracedValue[]): SizeOf | null {
  const found = values
    .flatMap((value) => pair.shape(value).map((d, axis) => ({ value, axis, d })))
    .filter(({ d }) => d[0] !== d[1])
    .map(({ value, axis, d }): SizeOf => {
      const times = (n[1] - n[0]) / (d[1] - d[0])
      return { value, axis, times, plus: n[0] - times * d[0] }
    })
    .filter(({ times }) => Number.isInteger(times) && times > 0)
  const rank = ({ times, plus }: SizeOf): number => (times === 1 ? (plus === 0 ? 0 : 1) : plus === 0 ? 2 : 3)
  return found.sort((x, y) => rank(x) - rank(y) || Math.abs(x.plus) - Math.abs(y.plus))[0] ?? null
}
