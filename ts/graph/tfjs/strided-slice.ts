/**
 * StridedSlice: x[begin:end:stride] with bit masks for the entries that are left out, for "...", for new axes and for single positions. Entries that are only
 * known by a run become values of one element each.
 */
import { END, Val, type Builder } from './builder.js'
import type { Row } from './rows.js'

type Part = number | string

/** Entry i of a list that may only be known by a run, as [1]. */
function entry(b: Builder, v: Val, i: number): Part {
  const known = b.known(v)
  if (known) return known[i]!
  const value = b.type(v).value?.[i]
  return typeof value === 'number' ? value : b.op('Slice', [b.plain(v), b.ints([i]), b.ints([i + 1])])
}

/** The end of a slice that takes one position. */
function behind(b: Builder, at: Part): Part {
  if (typeof at === 'number') return at === -1 ? END : at + 1
  return b.op('Where', [b.op('Equal', [at, b.ints([-1])]), b.ints([END]), b.op('Add', [at, b.ints([1])])])
}

export const stridedSlice: Row = (b, x, n) => {
  const strides = b.list(x[3], 'the strides')
  const mask = (name: string): ((i: number) => boolean) => {
    const bits = n.int(name, 0)
    return (i) => Math.floor(bits / 2 ** i) % 2 === 1
  }
  const [begins, ends, ellipsis, fresh, shrink] = ['begin_mask', 'end_mask', 'ellipsis_mask', 'new_axis_mask', 'shrink_axis_mask'].map(mask)
  const count = strides.length
  if (count > 32) n.fail('attribute', `slices ${count} axes`)
  const starts: Part[] = []
  const stops: Part[] = []
  const axes: number[] = []
  const steps: number[] = []
  const gone: number[] = []
  const added: number[] = []
  const dots = strides.findIndex((_, i) => ellipsis!(i))
  /** Entries from i on that stand for an axis of x, or of the result. */
  const left = (i: number, counts: (k: number) => boolean): number =>
    Array.from({ length: count - i }, (_, k) => i + k).filter(counts).length
  const inInput = (k: number): boolean => !fresh!(k) && !ellipsis!(k)
  const inOutput = (k: number): boolean => (fresh!(k) || !shrink!(k)) && !ellipsis!(k)
  for (let i = 0; i < count; i++) {
    if (i === dots) continue
    const after = dots >= 0 && i > dots
    if (fresh!(i)) {
      added.push(after ? -left(i, inOutput) : left(0, (k) => k < i && inOutput(k)))
      continue
    }
    const axis = after ? -left(i, inInput) : left(0, (k) => k < i && inInput(k))
    const step = strides[i]!
    if (step === 0) n.fail('attribute', 'a stride is 0')
    if (shrink!(i)) {
      const at = entry(b, x[1]!, i)
      starts.push(at)
      stops.push(behind(b, at))
      steps.push(1)
      gone.push(axis)
    } else {
      const whole = begins!(i) && ends!(i) && step === 1
      if (whole) continue
      starts.push(begins!(i) ? (step > 0 ? 0 : END) : entry(b, x[1]!, i))
      stops.push(ends!(i) ? (step > 0 ? END : -END - 1) : entry(b, x[2]!, i))
      steps.push(step)
    }
    axes.push(axis)
  }
  let y = b.plain(x[0]!)
  if (axes.length > 0) y = b.op('Slice', [y, b.sizes(starts), b.sizes(stops), b.ints(axes), b.ints(steps)])
  if (gone.length > 0) y = b.op('Squeeze', [y, b.ints(gone)])
  if (added.length > 0) y = b.op('Unsqueeze', [y, b.ints(added)])
  return new Val(y)
}
