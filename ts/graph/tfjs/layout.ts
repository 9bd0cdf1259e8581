/** Elementwise work in whatever form its operands are. */
import { Val, toFirst, type Attributes, type Builder } from './builder.js'
import { permuted, reshaped } from './constants.js'

/** One operand in, one of the same shape out. */
export function unary(b: Builder, x: Val, make: (x: string) => string): Val {
  return b.isFirst(x) ? new Val(undefined, make(x.first!)) : new Val(make(b.plain(x)))
}

/** The operand channels first where that costs nothing; undefined otherwise. */
function broadcastFirst(b: Builder, v: Val, rank: number): string | undefined {
  if (v.first !== undefined) return b.types.get(v.first)?.shape?.length === rank ? v.first : undefined
  const own = b.rank(v)
  const t = b.tensor(v)
  if (own === 0) return b.plain(v)
  if (own === rank && !t) return b.first(v, rank)
  if (!t || own === undefined || own > rank || t.dtype !== 'f32') return undefined
  const full = [...Array<number>(rank - own).fill(1), ...t.shape]
  const name = v.source?.name ?? v.plain!
  return b.constant(name, permuted(reshaped(t, full), toFirst(rank)))
}

/** Operands of one broadcasting operator in one form, and whether it is channels first. */
export function aligned(b: Builder, operands: readonly Val[]): { names: string[]; first: boolean } {
  const lead = operands.find((v) => b.isFirst(v))
  const rank = lead && b.types.get(lead.first!)?.shape?.length
  if (lead && rank !== undefined && operands.every((v) => v === lead || v.first !== undefined || b.rank(v) !== undefined)) {
    const names = operands.map((v) => broadcastFirst(b, v, rank))
    if (names.every((n) => n !== undefined)) return { names, first: true }
  }
  return { names: operands.map((v) => b.plain(v)), first: false }
}

export function elementwise(b: Builder, op: string, operands: readonly Val[], attributes: Attributes = {}): Val {
  const { names, first } = aligned(b, operands)
  const y = b.op(op, names, attributes)
  return first ? new Val(undefined, y) : new Val(y)
}

/** Elementwise work of several nodes on operands in one form. */
export function together(b: Builder, operands: readonly Val[], make: (names: readonly string[]) => string): Val {
  const { names, first } = aligned(b, operands)
  const y = make(names)
  return first ? new Val(undefined, y) : new Val(y)
}

/** Axes of a value of `rank` dimensions as they count in its channels-first form. */
export function firstAxes(axes: readonly number[], rank: number): number[] {
  const order = toFirst(rank)
  return axes.map((a) => order.indexOf(a < 0 ? a + rank : a))
}

/** Is what is left of the channels-first form without these axes in the order of the channels-last form? */
export function leftInOrder(axes: readonly number[], rank: number): boolean {
  const left = toFirst(rank).filter((_, i) => !axes.includes(i))
  return left.every((a, i) => i === 0 || a > left[i - 1]!)
}
