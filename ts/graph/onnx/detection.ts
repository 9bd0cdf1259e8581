/** Boxes and sampling: NonMaxSuppression, RoiAlign, GridSample, AffineGrid, Col2Im, MaxUnpool. Coordinates are read; values are gathered and weighted by differentiable ops. */
import { sizeOf, stridesOf } from '../../base/shape.js'
import { amax, concat, gather, matmul, mul, permute, reshape, scatterAdd, slice, sum } from '../../ops/index.js'
import { tensor, zeros, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, floatAttribute, intAttribute, intsAttribute, stringAttribute } from '../define.js'
import { HostTensor } from '../host.js'
import { numbers, valueType } from '../infer.js'
import { checkCount } from './move.js'
import { list } from './values.js'

interface Box {
  readonly y0: number
  readonly x0: number
  readonly y1: number
  readonly x1: number
}

function overlap(a: Box, b: Box): number {
  const height = Math.min(a.y1, b.y1) - Math.max(a.y0, b.y0)
  const width = Math.min(a.x1, b.x1) - Math.max(a.x0, b.x0)
  if (height <= 0 || width <= 0) return 0
  const area = (r: Box): number => (r.y1 - r.y0) * (r.x1 - r.x0)
  const shared = height * width
  return shared / (area(a) + area(b) - shared)
}

defineOnnxOp('NonMaxSuppression', {
  since: [10, 11],
  inputs: [2, 5],
  hostInputs: [2, 3, 4],
  infer: () => [valueType('i64', [null, 3])],
  run: (ctx, [boxes, scores, most, limit, least], node) => {
    const [b, s] = [ctx.host(boxes), ctx.host(scores)]
    const [batches, count] = b.shape as [number, number]
    const classes = s.shape[1]!
    if (b.rank !== 3 || b.shape[2] !== 4 || s.rank !== 3 || s.shape[0] !== batches || s.shape[2] !== count)
      ctx.fail('ERR_SHAPE', `boxes must be [B, N, 4] and scores [B, C, N], got ${b} and ${s}`)
    const maximum = most === undefined ? 0 : list(ctx, most)[0]!
    const iou = limit === undefined ? 0 : list(ctx, limit)[0]!
    const threshold = least === undefined ? -Infinity : list(ctx, least)[0]!
    const centred = intAttribute(node, 'center_point_box', 0) !== 0
    const box = (i: number, k: number): Box => {
      const [p, q, r, t] = b.data.slice((i * count + k) * 4, (i * count + k) * 4 + 4) as [number, number, number, number]
      return centred
        ? { x0: p - r / 2, x1: p + r / 2, y0: q - t / 2, y1: q + t / 2 }
        : { y0: Math.min(p, r), y1: Math.max(p, r), x0: Math.min(q, t), x1: Math.max(q, t) }
    }
    const chosen: number[] = []
    for (let i = 0; i < batches; i++)
      for (let c = 0; c < classes; c++) {
        const score = (k: number): number => s.data[(i * classes + c) * count + k]!
        const order = Array.from({ length: count }, (_, k) => k).filter((k) => score(k) > threshold)
        order.sort((x, y) => score(y) - score(x))
        const kept: Box[] = []
        for (const k of order) {
          if (kept.length >= maximum) break
          const r = box(i, k)
          if (kept.some((other) => overlap(r, other) > iou)) continue
          kept.push(r)
          chosen.push(i, c, k)
        }
      }
    return new HostTensor('i64', [chosen.length / 3, 3], chosen)
  },
})

/** Positions and weights of samples: `taps` for each of `count` results. */
interface Samples {
  readonly index: Int32Array
  readonly weight: Float32Array
  readonly taps: number
}

/** x [B, C, ...] as rows [B * size, C]. */
function rowsOf(x: Tensor): Tensor {
  const [b, c] = x.shape as [number, number]
  const size = sizeOf(x.shape.slice(2))
  return reshape(permute(reshape(x, [b, c, size]), [0, 2, 1]), [b * size, c])
}

/** Weighted sums of rows: [count, C]. */
function sampled(rows: Tensor, { index, weight, taps }: Samples): Tensor {
  const count = index.length / taps
  const found = gather(rows, tensor(index, [count, taps]))
  return sum(mul(found, tensor(weight, [count, taps, 1])), [1])
}

/** The two neighbours of a place in [0, n) with their weights, as RoiAlign has it: outside by more than 1 counts nothing. */
function neighbours(v: number, n: number): { low: number; high: number; part: number } | undefined {
  if (v < -1 || v > n) return undefined
  const at = Math.max(v, 0)
  const low = Math.floor(at)
  if (low >= n - 1) return { low: n - 1, high: n - 1, part: 0 }
  return { low, high: low + 1, part: at - low }
}

defineOnnxOp('RoiAlign', {
  since: [10, 16, 22],
  inputs: [3, 3],
  infer: (_, [x, rois], node) => [
    valueType(x?.dtype, [
      rois?.shape?.[0] ?? null,
      x?.shape?.[1] ?? null,
      intAttribute(node, 'output_height', 1),
      intAttribute(node, 'output_width', 1),
    ]),
  ],
  run: (ctx, [x, rois, batch], node) => {
    const t = ctx.tensor(x)
    const [, c, h, w] = t.shape as [number, number, number, number]
    const r = ctx.host(rois)
    const images = list(ctx, batch)
    const count = r.shape[0]!
    if (t.rank !== 4 || r.rank !== 2 || r.shape[1] !== 4 || images.length !== count || images.some((i) => !(i >= 0 && i < t.shape[0]!)))
      ctx.fail(
        'ERR_SHAPE',
        `x must be [B, C, H, W], rois [N, 4] with N indices in [0, B), got ${t}, ${r}, [${images.slice(0, 8).join(',')}]`,
      )
    const [ph, pw] = [intAttribute(node, 'output_height', 1), intAttribute(node, 'output_width', 1)]
    const scale = floatAttribute(node, 'spatial_scale', 1)
    const ratio = intAttribute(node, 'sampling_ratio', 0)
    const largest = stringAttribute(node, 'mode', 'avg') === 'max'
    const half = ctx.version >= 16 && stringAttribute(node, 'coordinate_transformation_mode', 'half_pixel') === 'half_pixel' ? 0.5 : 0
    const rows = rowsOf(t)
    const parts = Array.from({ length: count }, (_, k) => {
      const [x0, y0, x1, y1] = r.data.slice(4 * k, 4 * k + 4).map((v) => v * scale - half) as [number, number, number, number]
      const room = (d: number): number => (half > 0 ? d : Math.max(d, 1))
      const [bh, bw] = [room(y1 - y0) / ph, room(x1 - x0) / pw]
      const [gh, gw] = [ratio > 0 ? ratio : Math.ceil(bh), ratio > 0 ? ratio : Math.ceil(bw)].map((g) => Math.max(g, 0)) as [number, number]
      checkCount(ctx, 4 * ph * pw * gh * gw)
      const [index, weight]: [number[], number[]] = [[], []]
      const base = images[k]! * h * w
      for (let i = 0; i < ph; i++)
        for (let j = 0; j < pw; j++)
          for (let a = 0; a < gh; a++)
            for (let b = 0; b < gw; b++) {
              const [v, u] = [neighbours(y0 + i * bh + ((a + 0.5) * bh) / gh, h), neighbours(x0 + j * bw + ((b + 0.5) * bw) / gw, w)]
              const ok = v && u
              const f = largest ? 1 : 1 / Math.max(1, gh * gw)
              for (const [row, p] of ok
                ? ([
                    [v.low, 1 - v.part],
                    [v.high, v.part],
                  ] as const)
                : ([
                    [0, 0],
                    [0, 0],
                  ] as const))
                for (const [column, q] of ok
                  ? ([
                      [u.low, 1 - u.part],
                      [u.high, u.part],
                    ] as const)
                  : ([
                      [0, 0],
                      [0, 0],
                    ] as const)) {
                  index.push(base + row * w + column)
                  weight.push(f * p * q)
                }
            }
      const points = gh * gw
      if (points === 0) return zeros([ph * pw, c], t.dtype)
      if (!largest) return sampled(rows, { index: Int32Array.from(index), weight: Float32Array.from(weight), taps: 4 * points })
      // The largest of the weighted neighbours of all points, as ONNX Runtime and the reference have it.
      const found = mul(
        gather(rows, tensor(Int32Array.from(index), [ph * pw, 4 * points])),
        tensor(Float32Array.from(weight), [ph * pw, 4 * points, 1]),
      )
      return amax(found, [1])
    })
    const all = parts.length === 0 ? zeros([0, c], t.dtype) : concat(parts)
    return permute(reshape(all, [count, ph, pw, c]), [0, 3, 1, 2])
  },
})

type Taps = readonly (readonly [at: number, weight: number])[]

/** Keys' cubic with a = -0.75. */
function cubic(d: number): number {
  const x = Math.abs(d)
  const a = -0.75
  if (x <= 1) return (a + 2) * x ** 3 - (a + 3) * x ** 2 + 1
  return x < 2 ? a * x ** 3 - 5 * a * x ** 2 + 8 * a * x - 4 * a : 0
}

/** A place mirrored into [lo, hi]. */
function mirrored(v: number, lo: number, hi: number): number {
  const span = hi - lo
  if (span <= 0) return lo
  const m = (((v - lo) % (2 * span)) + 2 * span) % (2 * span)
  return lo + (m > span ? 2 * span - m : m)
}

/** Elements of one dimension of n that a normalized coordinate takes part in; place -1 is outside and counts 0. */
function taps(g: number, n: number, mode: string, padding: string, corners: boolean): Taps {
  let v = corners ? ((g + 1) / 2) * (n - 1) : ((g + 1) * n - 1) / 2
  const [lo, hi] = corners ? [0, n - 1] : [-0.5, n - 0.5]
  const inside = (p: number): number => {
    if (p >= 0 && p < n) return p
    if (padding === 'border') return Math.min(Math.max(p, 0), n - 1)
    return padding === 'reflection' ? Math.min(Math.max(Math.round(mirrored(p, lo, hi)), 0), n - 1) : -1
  }
  if (mode !== 'cubic') {
    if (padding === 'border') v = Math.min(Math.max(v, 0), n - 1)
    if (padding === 'reflection') v = mirrored(v, lo, hi)
  }
  if (mode === 'nearest') {
    const r = Math.round(v)
    return [[inside(r - v === 0.5 && r % 2 !== 0 ? r - 1 : r), 1]]
  }
  const low = Math.floor(v)
  const part = v - low
  if (mode === 'linear')
    return [
      [inside(low), 1 - part],
      [inside(low + 1), part],
    ]
  return [-1, 0, 1, 2].map((k) => [inside(low + k), cubic(k - part)] as const)
}

defineOnnxOp('GridSample', {
  since: [16, 20, 22],
  inputs: [2, 2],
  infer: (_, [x, grid]) => [valueType(x?.dtype, x?.shape && grid?.shape && [x.shape[0]!, x.shape[1]!, ...grid.shape.slice(1, -1)])],
  run: (ctx, [x, grid], node) => {
    const t = ctx.tensor(x)
    const g = ctx.host(grid)
    const spatial = t.shape.slice(2)
    const d = spatial.length
    if (g.rank !== t.rank || g.shape.at(-1) !== d || g.shape[0] !== t.shape[0]) ctx.fail('ERR_SHAPE', `grid ${g} does not fit ${t}`)
    const name = stringAttribute(node, 'mode', ctx.version < 20 ? 'bilinear' : 'linear')
    const mode =
      { bilinear: 'linear', linear: 'linear', nearest: 'nearest', bicubic: 'cubic', cubic: 'cubic' }[name] ??
      ctx.fail('ERR_MODEL_FORMAT', `mode ${JSON.stringify(name)}`)
    const padding = stringAttribute(node, 'padding_mode', 'zeros')
    const corners = intAttribute(node, 'align_corners', 0) !== 0
    const strides = stridesOf(spatial)
    const out = g.shape.slice(1, -1)
    const [batch, size, places] = [t.shape[0]!, sizeOf(spatial), sizeOf(out)]
    const each = { linear: 2, nearest: 1, cubic: 4 }[mode]! ** d
    const index = new Int32Array(batch * places * each)
    const weight = new Float32Array(index.length)
    for (let b = 0; b < batch; b++)
      for (let p = 0; p < places; p++) {
        // The last coordinate of the grid is the first dimension: x of an image is its column.
        const at = (b * places + p) * d
        const along = spatial.map((n, k) => taps(g.data[at + d - 1 - k]!, n, mode, padding, corners))
        const combined = along.reduce<[number, number][]>(
          (done, list1, k) =>
            done.flatMap(([i, w]) => list1.map(([q, v]): [number, number] => (q < 0 || i < 0 ? [-1, 0] : [i + q * strides[k]!, w * v]))),
          [[0, 1]],
        )
        combined.forEach(([i, w], k) => {
          const to = (b * places + p) * each + k
          index[to] = b * size + Math.max(i, 0)
          weight[to] = i < 0 ? 0 : w
        })
      }
    const y = sampled(rowsOf(t), { index, weight, taps: each })
    const c = t.shape[1]!
    return reshape(permute(reshape(y, [batch, places, c]), [0, 2, 1]), [batch, c, ...out])
  },
})

defineOnnxOp('AffineGrid', {
  since: [20],
  inputs: [2, 2],
  hostInputs: [1],
  infer: (_, [theta, size]) => {
    const s = numbers(size?.value)
    return [valueType(theta?.dtype, s && [s[0]!, ...s.slice(2), s.length - 2])]
  },
  run: (ctx, [theta, size], node) => {
    const t = ctx.tensor(theta)
    const [n, , ...spatial] = list(ctx, size)
    const d = spatial.length
    if (t.rank !== 3 || t.shape[0] !== n || t.shape[1] !== d || t.shape[2] !== d + 1)
      ctx.fail('ERR_SHAPE', `theta must be [${n}, ${d}, ${d + 1}], got ${t}`)
    const corners = intAttribute(node, 'align_corners', 0) !== 0
    const strides = stridesOf(spatial)
    const places = sizeOf(spatial)
    checkCount(ctx, places * (d + 1))
    const base = new Float32Array(places * (d + 1)).fill(1)
    for (let p = 0; p < places; p++)
      spatial.forEach((m, k) => {
        const i = Math.floor(p / strides[k]!) % m
        base[p * (d + 1) + d - 1 - k] = corners ? (m === 1 ? -1 : (2 * i) / (m - 1) - 1) : (2 * i + 1) / m - 1
      })
    return reshape(matmul(tensor(base, [1, places, d + 1]), t, false, true), [n!, ...spatial, d])
  },
})

defineOnnxOp('Col2Im', {
  since: [18],
  inputs: [3, 3],
  hostInputs: [1, 2],
  infer: (_, [x, image, block]) => {
    const [i, b] = [numbers(image?.value), numbers(block?.value)]
    const c = x?.shape?.[1]
    return [valueType(x?.dtype, i && b && [x?.shape?.[0] ?? null, typeof c === 'number' ? c / sizeOf(b) : null, ...i])]
  },
  run: (ctx, [x, image, block], node) => {
    const t = ctx.tensor(x)
    const [size, kernel] = [list(ctx, image), list(ctx, block)]
    const d = size.length
    const ones = Array<number>(d).fill(1)
    const [stride, dilation] = [intsAttribute(node, 'strides', ones), intsAttribute(node, 'dilations', ones)]
    const pads = intsAttribute(node, 'pads', Array<number>(2 * d).fill(0))
    const windows = size.map((n, i) => Math.floor((n + pads[i]! + pads[i + d]! - dilation[i]! * (kernel[i]! - 1) - 1) / stride[i]!) + 1)
    const [n, rows, columns] = t.shape as [number, number, number]
    const k = sizeOf(kernel)
    if (t.rank !== 3 || rows % k !== 0 || columns !== sizeOf(windows))
      ctx.fail('ERR_SHAPE', `x ${t} does not fit blocks [${kernel.join(',')}] of [${size.join(',')}]`)
    const [ks, ws, ss] = [stridesOf(kernel), stridesOf(windows), stridesOf(size)]
    const total = sizeOf(size)
    // Where each element of a block at each window adds; what falls on padding goes to a place behind the image.
    const index = Int32Array.from({ length: k * columns }, (_, e) => {
      const [a, w] = [Math.floor(e / columns), e % columns]
      let at = 0
      for (let i = 0; i < d; i++) {
        const p = (Math.floor(w / ws[i]!) % windows[i]!) * stride[i]! - pads[i]! + (Math.floor(a / ks[i]!) % kernel[i]!) * dilation[i]!
        if (p < 0 || p >= size[i]!) return total
        at += p * ss[i]!
      }
      return at
    })
    const c = rows / k
    const moved = reshape(permute(reshape(t, [n * c, k * columns]), [1, 0]), [k * columns, n * c])
    const summed = scatterAdd(moved, tensor(index), total + 1)
    return reshape(permute(slice(summed, [0, 0], [total, n * c]), [1, 0]), [n, c, ...size])
  },
})

defineOnnxOp('MaxUnpool', {
  since: [9, 11, 22],
  inputs: [2, 3],
  hostInputs: [2],
  infer: (_, [x, , shape]) => [valueType(x?.dtype, shape?.value ?? x?.shape?.map((d, i) => (i < 2 ? d : null)))],
  run: (ctx, [x, index, shape], node) => {
    const t = ctx.tensor(x)
    const d = t.rank - 2
    const kernel = intsAttribute(node, 'kernel_shape')
    const stride = intsAttribute(node, 'strides', Array<number>(d).fill(1))
    const pads = intsAttribute(node, 'pads', Array<number>(2 * d).fill(0))
    const plain = [...t.shape.slice(0, 2), ...t.shape.slice(2).map((n, i) => (n - 1) * stride[i]! - pads[i]! - pads[i + d]! + kernel[i]!)]
    const out = shape === undefined ? plain : list(ctx, shape)
    const [from, to] = [stridesOf(plain), stridesOf(out)]
    const positions = ctx.host(index).data.map((p) => plain.reduce((at, n, k) => at + (Math.floor(p / from[k]!) % n) * to[k]!, 0))
    if (positions.some((p) => !(p >= 0 && p < sizeOf(out)))) ctx.fail('ERR_SHAPE', `an index lies outside [${out.join(',')}]`)
    return reshape(scatterAdd(reshape(t, [t.size]), tensor(Int32Array.from(positions)), sizeOf(out)), out)
  },
})
