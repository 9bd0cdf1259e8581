/**
 * Which channel each element of a value belongs to, through whatever moves elements about. Labels have the rank of their value and 1 where an axis does not
 * matter: channels of [B, C, H, W] are labels of shape [1, C, 1, 1]. -1 stands for none.
 */
import { sizeOf, type Shape } from '../base/shape.js'

export interface Labels {
  readonly shape: Shape
  readonly of: Int32Array
}

/** Values above this are not followed through a reshape: every element has to be written out. */
const MOST = 2 ** 24

/** 0, 1, 2, ... along one axis of a value of that shape. */
export function labelsAlong(shape: Shape, axis: number): Labels {
  return { shape: shape.map((d, i) => (i === axis ? d : 1)), of: Int32Array.from({ length: shape[axis]! }, (_, i) => i) }
}

/** The axis along which alone labels differ; -1: none does, undefined: several do. */
export function labelledAxis({ shape }: Labels): number | undefined {
  const axes = shape.flatMap((d, i) => (d > 1 ? [i] : []))
  return axes.length > 1 ? undefined : (axes[0] ?? -1)
}

/** Labels of `n` channels along `axis`, whatever the others are; undefined where labels differ along another axis. */
export function along(labels: Labels, axis: number, n: number): Int32Array | undefined {
  const at = labelledAxis(labels)
  if (at !== -1 && at !== axis) return undefined
  return at === axis ? labels.of : new Int32Array(n).fill(labels.of[0]!)
}

const strides = (shape: Shape): number[] => {
  const out = shape.map(() => 1)
  for (let i = shape.length - 2; i >= 0; i--) out[i] = out[i + 1]! * shape[i + 1]!
  return out
}

/** Elements of a value of `shape` whose element e is `of(index of e)`; `steps` say how far each axis moves the index. */
function walk(shape: Shape, steps: readonly number[], from: number, of: Int32Array): Int32Array {
  const out = new Int32Array(sizeOf(shape))
  const at = shape.map(() => 0)
  let index = from
  for (let e = 0; e < out.length; e++) {
    out[e] = of[index]!
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index += steps[axis]!
      if (++at[axis]! < shape[axis]!) break
      index -= steps[axis]! * shape[axis]!
      at[axis] = 0
    }
  }
  return out
}

/** One label for each element of a value of `shape`. */
function whole(labels: Labels, shape: Shape): Int32Array {
  const own = strides(labels.shape)
  return walk(
    shape,
    labels.shape.map((d, i) => (d === 1 ? 0 : own[i]!)),
    0,
    labels.of,
  )
}

/** Without the axes along which nothing changes. */
function reduced(shape: Shape, of: Int32Array): Labels {
  let [now, list] = [shape, of]
  for (let axis = 0; axis < shape.length; axis++) {
    const inner = sizeOf(now.slice(axis + 1))
    const d = now[axis]!
    if (d <= 1) continue
    const same = list.every((label, e) => label === list[e - (Math.floor(e / inner) % d) * inner])
    if (!same) continue
    const kept = now.map((size, i) => (i === axis ? 1 : size))
    const old = strides(now)
    list = walk(kept, old.map((step, i) => (i === axis ? 0 : step)), 0, list) // prettier-ignore
    now = kept
  }
  return { shape: now, of: list }
}

/** Of the same elements in another shape. */
export function reshaped(labels: Labels, from: Shape, to: Shape): Labels | undefined {
  if (sizeOf(from) > MOST || sizeOf(from) === 0) return undefined
  return reduced(to, whole(labels, from))
}

export function permuted({ shape, of }: Labels, axes: readonly number[]): Labels {
  const own = strides(shape)
  const to = axes.map((a) => shape[a]!)
  return { shape: to, of: walk(to, axes.map((a) => own[a]!), 0, of) } // prettier-ignore
}

/** Of a part of the value. */
export function sliced({ shape, of }: Labels, starts: readonly number[], sizes: readonly number[]): Labels {
  const own = strides(shape)
  const to = shape.map((d, i) => (d === 1 ? 1 : sizes[i]!))
  const from = shape.reduce((n, d, i) => n + (d === 1 ? 0 : starts[i]! * own[i]!), 0)
  return { shape: to, of: walk(to, own, from, of) }
}

/** Two values side by side along `axis`; undefined where their other axes differ in kind. */
export function joined(a: Labels, aShape: Shape, b: Labels, bShape: Shape, axis: number): Labels {
  // Both written out but for the axes that matter to neither.
  const common = aShape.map((_, i) => (i !== axis && a.shape[i] === 1 && b.shape[i] === 1 ? 1 : 0))
  const sizesOf = (shape: Shape): number[] => shape.map((d, i) => (common[i] === 1 ? 1 : d))
  const [x, y] = [sizesOf(aShape), sizesOf(bShape)]
  const [left, right] = [whole(a, x), whole(b, y)]
  const inner = sizeOf(x.slice(axis + 1))
  const outer = sizeOf(x.slice(0, axis))
  const [p, q] = [x[axis]! * inner, y[axis]! * inner]
  const of = new Int32Array(left.length + right.length)
  for (let o = 0; o < outer; o++) {
    of.set(left.subarray(o * p, (o + 1) * p), o * (p + q))
    of.set(right.subarray(o * q, (o + 1) * q), o * (p + q) + p)
  }
  return reduced(
    x.map((d, i) => (i === axis ? d + y[i]! : d)),
    of,
  )
}

/** As part of a result of higher rank. */
export function broadcasted({ shape, of }: Labels, rank: number): Labels {
  return { shape: [...Array<number>(rank - shape.length).fill(1), ...shape], of }
}

/** Labels of each element of an operand of `shape` that meets a labelled value; undefined where one element meets several. */
export function ofOperand(labels: Labels, shape: Shape): Int32Array | undefined {
  const lead = labels.shape.length - shape.length
  if (lead < 0) return undefined
  const fits = labels.shape.every((d, i) => d === 1 || (i >= lead && shape[i - lead] === d))
  return fits ? whole({ shape: labels.shape.slice(lead), of: labels.of }, shape) : undefined
}
