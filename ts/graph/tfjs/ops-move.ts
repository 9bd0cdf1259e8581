/** Operators of TensorFlow, group 2: shapes, parts, arrangements, positions. */
import type { TfNode } from '../../formats/tfjs-graph.js'
import { END, Val, type Builder } from './builder.js'
import { aligned, firstAxes, leftInOrder, unary } from './layout.js'
import type { Row } from './rows.js'
import { stridedSlice } from './strided-slice.js'

const last = (x: readonly Val[]): Val => x.at(-1)!
const list = (b: Builder, v: Val | undefined, what: string): readonly number[] => b.list(v, what)
const scalar = (b: Builder, v: Val | undefined, what: string): number =>
  list(b, v, what)[0] ?? b.unsupported(`${JSON.stringify(b.at)}: ${what} is empty`)

/** Values joined along `axis`; channels first where they are. */
export function concatenated(b: Builder, values: readonly Val[], axis: number): Val {
  if (values.some((v) => b.isFirst(v)) && values.every((v) => v.first !== undefined || (b.rank(v) === 4 && !b.tensor(v)))) {
    const { names, first } = aligned(b, values)
    const rank = first ? b.types.get(names[0]!)?.shape?.length : undefined
    if (first && rank !== undefined) return new Val(undefined, b.op('Concat', names, { axis: firstAxes([axis], rank)[0]! }))
  }
  return new Val(
    b.op(
      'Concat',
      values.map((v) => b.plain(v)),
      { axis },
    ),
  )
}

/** Sizes of a value as TensorFlow counts them. */
export function shapeOf(b: Builder, v: Val): string {
  if (!b.isFirst(v)) return b.op('Shape', [b.plain(v)])
  const rank = b.types.get(v.first!)!.shape!.length
  return b.op('Gather', [b.op('Shape', [v.first]), b.ints([0, ...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1])], { axis: 0 })
}

export function reshapedTo(b: Builder, v: Val, shape: string): Val {
  return new Val(b.op('Reshape', [b.plain(v), shape], { allowzero: 1 }))
}

/** Pads [before, after] by axis. */
export function padded(b: Builder, v: Val, pads: readonly (readonly [number, number])[], mode: string, value?: string): Val {
  const order = b.isFirst(v) ? firstOrder(pads.length) : pads.map((_, i) => i)
  const own = order.map((i) => pads[i]!)
  const inputs = b.ints([...own.map((p) => p[0]), ...own.map((p) => p[1])])
  return unary(b, v, (x) => b.op('Pad', [x, inputs, value], { mode }))
}
const firstOrder = (rank: number): number[] => [0, rank - 1, ...Array.from({ length: rank - 2 }, (_, i) => i + 1)]

function pad(b: Builder, x: readonly Val[], mode: string, value?: string): Val {
  const flat = b.known(x[1]!)
  if (flat) {
    const pairs = Array.from({ length: flat.length / 2 }, (_, i): [number, number] => [flat[2 * i]!, flat[2 * i + 1]!])
    return padded(b, x[0]!, pairs, mode, value)
  }
  const turned = b.op('Transpose', [b.plain(x[1]!)], { perm: [1, 0] })
  return new Val(b.op('Pad', [b.plain(x[0]!), b.op('Reshape', [turned, b.ints([-1])]), value], { mode }))
}

function split(b: Builder, v: Val, sizes: string | undefined, count: number, axis: number): Val[] {
  if (!Number.isInteger(count) || count < 1 || count > 65_536) b.unsupported(`${JSON.stringify(b.at)}: split into ${count} parts`)
  const rank = b.isFirst(v) ? b.types.get(v.first!)!.shape!.length : 0
  const x = rank > 0 ? v.first! : b.plain(v)
  const own = rank > 0 ? firstAxes([axis], rank)[0]! : axis
  const names = b.ops('Split', [x, sizes], { axis: own, ...(sizes === undefined ? { num_outputs: count } : {}) }, count)
  return names.map((name) => (rank > 0 ? new Val(undefined, name) : new Val(name)))
}

function transpose(b: Builder, v: Val, perm: readonly number[]): Val {
  const key = perm.join()
  // The forms of images are each other's transposes.
  if (key === '0,3,1,2' && b.isFirst(v)) return new Val(v.first)
  if (key === '0,2,3,1' && !b.isFirst(v) && b.rank(v) === 4) return new Val(undefined, b.plain(v))
  return new Val(b.op('Transpose', [b.plain(v)], { perm }))
}

function squeeze(b: Builder, v: Val, axes: readonly number[]): Val {
  if (axes.length === 0) return new Val(b.op('Squeeze', [b.plain(v)]))
  const rank = b.isFirst(v) ? b.types.get(v.first!)!.shape!.length : 0
  if (rank > 0) {
    const own = firstAxes(axes, rank)
    if (leftInOrder(own, rank)) return new Val(b.op('Squeeze', [v.first, b.ints(own)]))
  }
  return new Val(b.op('Squeeze', [b.plain(v), b.ints(axes)]))
}

function slice(b: Builder, x: readonly Val[]): Val {
  const [begin, size] = [b.known(x[1]!), b.known(x[2]!)]
  const v = b.plain(x[0]!)
  if (begin && size) {
    if (begin.length !== size.length) b.unsupported(`${JSON.stringify(b.at)}: begin and size of different lengths`)
    const ends = begin.map((s, i) => (size[i] === -1 ? END : s + size[i]!))
    return new Val(b.op('Slice', [v, b.ints(begin), b.ints(ends), b.ints(begin.map((_, i) => i))]))
  }
  const [s, n] = [b.plain(x[1]!), b.plain(x[2]!)]
  const ends = b.op('Where', [b.op('Equal', [n, b.int(-1)]), b.int(END), b.op('Add', [s, n])])
  return new Val(b.op('Slice', [v, s, ends]))
}

function oneHot(b: Builder, x: readonly Val[], n: TfNode): Val {
  const at = b.plain(x[0]!)
  const axis = n.int('axis', -1)
  const classes = b.op('Range', [b.int(0), b.plain(x[1]!), b.int(1)])
  const rank = b.rank(x[0]!)
  if (axis !== -1 && rank === undefined) n.unsupported('an axis in the middle of a value of unknown rank')
  const behind = axis === -1 ? 0 : rank! - axis
  const along = behind === 0 ? classes : b.op('Reshape', [classes, b.ints([-1, ...Array<number>(behind).fill(1)])])
  const hit = b.op('Equal', [b.op('Unsqueeze', [at, b.ints([axis])]), along])
  return new Val(b.op('Where', [hit, b.plain(x[2]!), b.plain(x[3]!)]))
}

/** [batch, ...spatial, ...rest] as blocks, and back. */
function spaceToBatch(b: Builder, x: readonly Val[], n: TfNode): Val {
  const block = list(b, x[1], 'block_shape')
  const flat = list(b, x[2], 'paddings')
  const rank = b.rank(x[0]!) ?? n.unsupported('a value of unknown rank')
  const m = block.length
  const pairs = Array.from({ length: rank }, (_, i): [number, number] => (i >= 1 && i <= m ? [flat[2 * i - 2]!, flat[2 * i - 1]!] : [0, 0]))
  const v = new Val(b.plain(x[0]!))
  const p = b.plain(pairs.some(([l, r]) => l || r) ? padded(b, v, pairs, 'constant') : v)
  const sizes = Array.from({ length: rank }, (_, i) => b.dim(p, i))
  const over = block.map((k, i) => b.op('Div', [sizes[i + 1]!, b.ints([k])]))
  const parts = b.op('Reshape', [p, b.sizes([sizes[0]!, ...block.flatMap((k, i) => [over[i]!, k]), ...sizes.slice(m + 1)])])
  const rest = Array.from({ length: rank - m - 1 }, (_, i) => 2 * m + 1 + i)
  const turned = b.op('Transpose', [parts], { perm: [...block.map((_, i) => 2 * i + 2), 0, ...block.map((_, i) => 2 * i + 1), ...rest] })
  const batch = b.op('Mul', [sizes[0]!, b.ints([block.reduce((s, k) => s * k, 1)])])
  return new Val(b.op('Reshape', [turned, b.sizes([batch, ...over, ...sizes.slice(m + 1)])]))
}

function batchToSpace(b: Builder, x: readonly Val[], n: TfNode): Val {
  const block = list(b, x[1], 'block_shape')
  const crops = list(b, x[2], 'crops')
  const rank = b.rank(x[0]!) ?? n.unsupported('a value of unknown rank')
  const m = block.length
  const v = b.plain(x[0]!)
  const sizes = Array.from({ length: rank }, (_, i) => b.dim(v, i))
  const batch = b.op('Div', [sizes[0]!, b.ints([block.reduce((s, k) => s * k, 1)])])
  const parts = b.op('Reshape', [v, b.sizes([...block, batch, ...sizes.slice(1)])])
  const rest = Array.from({ length: rank - m - 1 }, (_, i) => 2 * m + 1 + i)
  const turned = b.op('Transpose', [parts], { perm: [m, ...block.flatMap((_, i) => [m + 1 + i, i]), ...rest] })
  const whole = block.map((k, i) => b.op('Mul', [sizes[i + 1]!, b.ints([k])]))
  const y = b.op('Reshape', [turned, b.sizes([batch, ...whole, ...sizes.slice(m + 1)])])
  if (crops.every((c) => c === 0)) return new Val(y)
  const axes = block.map((_, i) => i + 1)
  const starts = axes.map((_, i) => crops[2 * i]!)
  const ends = axes.map((_, i) => (crops[2 * i + 1] === 0 ? END : -crops[2 * i + 1]!))
  return new Val(b.op('Slice', [y, b.ints(starts), b.ints(ends), b.ints(axes)]))
}

const filled =
  (b: Builder, value: number): Row =>
  (_, x) => {
    const dtype = b.type(x[0]!).dtype
    const one = dtype === 'bool' ? b.op('Cast', [b.int(value)], { to: 9 }) : dtype === 'i64' ? b.int(value) : b.float(value)
    return new Val(b.op('Expand', [one, shapeOf(b, x[0]!)]))
  }

export const moveRows: Readonly<Record<string, Row>> = {
  Reshape: (b, x) => reshapedTo(b, x[0]!, b.plain(x[1]!)),
  Squeeze: (b, x, n) => squeeze(b, x[0]!, n.ints('squeeze_dims', n.ints('axis', []))),
  ExpandDims: (b, x) => new Val(b.op('Unsqueeze', [b.plain(x[0]!), b.ints([scalar(b, x[1], 'the axis')])])),
  Transpose: (b, x) => transpose(b, x[0]!, list(b, x[1], 'the order of axes')),
  Pad: (b, x) => pad(b, x, 'constant'),
  PadV2: (b, x) => pad(b, x, 'constant', b.plain(x[2]!)),
  MirrorPad: (b, x, n) => {
    const mode = n.string('mode')
    return mode.toUpperCase() === 'REFLECT' ? pad(b, x, 'reflect') : n.unsupported(`mode ${JSON.stringify(mode)}`)
  },
  Slice: slice,
  StridedSlice: stridedSlice,
  Split: (b, x, n) => split(b, x[1]!, undefined, n.int('num_split'), scalar(b, x[0], 'the axis')),
  SplitV: (b, x, n) => split(b, x[0]!, b.plain(x[1]!), n.int('num_split'), scalar(b, x[2], 'the axis')),
  Concat: (b, x) => concatenated(b, x.slice(1), scalar(b, x[0], 'the axis')),
  ConcatV2: (b, x) => concatenated(b, x.slice(0, -1), scalar(b, last(x), 'the axis')),
  Pack: (b, x, n) => {
    const axis = n.int('axis', 0)
    const lifted = x.map((v) => b.op('Unsqueeze', [b.plain(v), b.ints([axis])]))
    return new Val(lifted.length === 1 ? lifted[0] : b.op('Concat', lifted, { axis }))
  },
  Unpack: (b, x, n) => {
    const [axis, count] = [n.int('axis', 0), n.int('num')]
    return split(b, new Val(b.plain(x[0]!)), undefined, count, axis).map((v) => new Val(b.op('Squeeze', [v.plain, b.ints([axis])])))
  },
  Tile: (b, x) => new Val(b.op('Tile', [b.plain(x[0]!), b.plain(x[1]!)])),
  Gather: (b, x) => new Val(b.op('Gather', [b.plain(x[0]!), b.plain(x[1]!)], { axis: 0 })),
  GatherV2: (b, x, n) => {
    if (n.int('batch_dims', 0) !== 0) n.unsupported('batch_dims')
    return new Val(b.op('Gather', [b.plain(x[0]!), b.plain(x[1]!)], { axis: scalar(b, x[2], 'the axis') }))
  },
  GatherNd: (b, x) => new Val(b.op('GatherND', [b.plain(x[0]!), b.plain(x[1]!)])),
  ScatterNd: (b, x) => {
    const updates = b.plain(x[1]!)
    const zeros = b.op('Expand', [b.numberLike(updates, 0), b.plain(x[2]!)])
    return new Val(b.op('ScatterND', [zeros, b.plain(x[0]!), updates], { reduction: 'add' }))
  },
  TensorScatterUpdate: (b, x) => new Val(b.op('ScatterND', [b.plain(x[0]!), b.plain(x[1]!), b.plain(x[2]!)])),
  SparseToDense: (b, x) => {
    const whole = b.op('Expand', [b.plain(x[3]!), b.plain(x[1]!)])
    const at = b.rank(x[0]!) === 1 ? b.op('Unsqueeze', [b.plain(x[0]!), b.ints([-1])]) : b.plain(x[0]!)
    return new Val(b.op('ScatterND', [whole, at, b.plain(x[2]!)]))
  },
  OneHot: oneHot,
  Range: (b, x) => new Val(b.op('Range', [b.plain(x[0]!), b.plain(x[1]!), b.plain(x[2]!)])),
  Fill: (b, x) => new Val(b.op('Expand', [b.plain(x[1]!), b.plain(x[0]!)])),
  BroadcastTo: (b, x) => new Val(b.op('Expand', [b.plain(x[0]!), b.plain(x[1]!)])),
  ZerosLike: (b, x, n) => filled(b, 0)(b, x, n),
  OnesLike: (b, x, n) => filled(b, 1)(b, x, n),
  Shape: (b, x) => new Val(shapeOf(b, x[0]!)),
  ShapeN: (b, x) => x.map((v) => new Val(shapeOf(b, v))),
  Size: (b, x) => new Val(b.op('Size', [x[0]!.first !== undefined && b.isFirst(x[0]!) ? x[0]!.first : b.plain(x[0]!)])),
  Rank: (b, x) => {
    const rank = b.rank(x[0]!)
    return new Val(rank === undefined ? b.op('Size', [shapeOf(b, x[0]!)]) : b.int(rank))
  },
  Where: (b, x) => new Val(b.op('Transpose', [b.op('NonZero', [b.plain(x[0]!)])], { perm: [1, 0] })),
  ReverseV2: (b, x) => {
    const axes = list(b, x[1], 'the axes')
    const all = (v: number): string => b.ints(axes.map(() => v))
    return new Val(b.op('Slice', [b.plain(x[0]!), all(-1), all(-END - 1), b.ints(axes), all(-1)]))
  },
  DepthToSpace: (b, x, n) => {
    if (n.string('data_format', 'NHWC') !== 'NHWC') n.unsupported('channels first')
    return new Val(undefined, b.op('DepthToSpace', [b.first(x[0]!)], { blocksize: n.int('block_size') }))
  },
  SpaceToDepth: (b, x, n) => {
    if (n.string('data_format', 'NHWC') !== 'NHWC') n.unsupported('channels first')
    return new Val(undefined, b.op('SpaceToDepth', [b.first(x[0]!)], { blocksize: n.int('block_size') }))
  },
  SpaceToBatchND: spaceToBatch,
  BatchToSpaceND: batchToSpace,
}
