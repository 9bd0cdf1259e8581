/** ConvInteger and QLinearConv: windows of x as rows (a strided view, copied), one product of codes per group on Tersor's integer kernels. */
import { sizeOf } from '../../base/shape.js'
import { cast, concat, copy, mul, pad, permute, qgemmS32, qmatmul, reshape, slice } from '../../ops/index.js'
import { full, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, intAttribute, type InferContext, type RunContext, type Value, type ValueType } from '../define.js'
import type { Dim, ElementType } from '../graph.js'
import { numbers, valueType } from '../infer.js'
import { asI32, cached, checkCodes, codeType, columnScale, pack, scalar, weightZeros, type Packed } from './integer-products.js'
import { data } from './move.js'
import { slide, windowsOf } from './windows.js'

interface Windowed {
  /** [B * H' * W', C / groups * kh * kw] of one group. */
  readonly columns: (group: number) => Tensor
  readonly batch: number
  readonly out: readonly number[]
}

/** x [B, C, ...] with `zero` around it, as windows. */
function windowed(ctx: RunContext, x: Tensor, kernel: readonly number[], groups: number, zero: number): Windowed {
  const w = windowsOf(ctx, x.shape.slice(2), kernel)
  const out = slide(ctx, x.shape.slice(2), w) as number[]
  const [batch, channels] = x.shape as [number, number]
  // Rows and columns that SAME pads ask for beyond what windows reach are not needed; missing ones are filled.
  const around = [[0, 0], [0, 0], ...w.before.map((p, i) => [p, w.after[i]!])]
  const padded = around.some(([p, q]) => p! > 0 || q! > 0) ? padCodes(x, around as [number, number][], zero) : copy(x)
  const s = padded.strides
  const per = channels / groups
  const columns = (group: number): Tensor => {
    const view = padded.view(
      [batch, ...out, per, ...kernel],
      [s[0]!, ...out.map((_, i) => s[2 + i]! * w.stride[i]!), s[1]!, ...kernel.map((_, i) => s[2 + i]! * w.dilation[i]!)],
      group * per * s[1]!,
    )
    return reshape(copy(view), [batch * sizeOf(out), per * sizeOf(kernel)])
  }
  return { columns, batch, out }
}

/** Codes with a border of one code. */
function padCodes(x: Tensor, sides: readonly [number, number][], code: number): Tensor {
  if (code === 0) return pad(x, sides)
  return sides.reduce((t, [before, after], axis) => {
    const border = (n: number): Tensor[] =>
      n === 0
        ? []
        : [
            full(
              t.shape.map((d, i) => (i === axis ? n : d)),
              code,
              t.dtype,
            ),
          ]
    return before + after === 0 ? t : concat([...border(before), t, ...border(after)], axis)
  }, x)
}

/** [B * H' * W', O] to [B, O, H', W']. */
function asImage(rows: Tensor, batch: number, out: readonly number[]): Tensor {
  const n = rows.shape[1]!
  const rank = out.length
  return permute(reshape(rows, [batch, ...out, n]), [0, rank + 1, ...out.map((_, i) => i + 1)])
}

type RowProduct = (x: Tensor, w: Packed, from: number) => Tensor

function convolution(ctx: RunContext, x: Value | undefined, w: Value | undefined, zero: number, product: RowProduct): Tensor {
  const t = checkCodes(ctx, ctx.tensor(x), 'x')
  const { shape } = data(ctx, w)
  const groups = intAttribute(ctx.node, 'group', 1)
  if (!(groups >= 1) || t.rank !== shape.length || t.rank < 3 || t.rank > 4)
    ctx.fail('ERR_SHAPE', `x and filters must be [B, C, ...] of rank 3 or 4, got ${t} and [${shape.join(',')}]`)
  const [filters, per] = shape as [number, number]
  if (t.shape[1] !== per * groups || filters % groups !== 0)
    ctx.fail('ERR_SHAPE', `${t} and filters [${shape.join(',')}] do not fit ${groups} groups`)
  const { columns, batch, out } = windowed(ctx, t, shape.slice(2), groups, zero)
  const each = filters / groups
  const parts = Array.from({ length: groups }, (_, g) => {
    const packed = cached(w, `conv ${g}`, () => {
      const codes = checkCodes(ctx, ctx.tensor(w), 'w')
      return pack(slice(reshape(codes, [filters, codes.size / filters]), [g * each, 0], [each, codes.size / filters]))
    })
    return product(columns(g), packed, g * each)
  })
  return asImage(groups === 1 ? parts[0]! : concat(parts, 1), batch, out)
}

function convolutionType(ctx: InferContext, x: ValueType | undefined, w: ValueType | undefined, dtype: ElementType | undefined): ValueType {
  const [a, b] = [x?.shape, w?.shape]
  const kernel = numbers(b?.slice(2))
  if (!a || !b || !kernel || a.length !== b.length) return valueType(dtype)
  const spatial = a.slice(2)
  const windows = windowsOf(
    ctx,
    spatial.map((d): number | null => (typeof d === 'number' ? d : null)),
    kernel,
  )
  return valueType(dtype, [a[0]!, b[0]!, ...slide(ctx, spatial, windows)] as Dim[])
}

defineOnnxOp('ConvInteger', {
  since: [10],
  inputs: [2, 4],
  hostInputs: [2, 3],
  infer: (ctx, [x, w]) => [convolutionType(ctx, x, w, 'i32')],
  run: (ctx, [x, w, xz, wz]) => {
    const zero = xz === undefined ? 0 : scalar(ctx, xz, 'x_zero_point')
    return asI32(
      convolution(ctx, x, w, zero, (rows, packed, from) =>
        qgemmS32(rows, packed.packed, null, weightZeros(ctx, wz, packed, from), packed.out, zero),
      ),
    )
  },
})

defineOnnxOp('QLinearConv', {
  since: [10],
  inputs: [8, 9],
  hostInputs: [1, 2, 4, 5, 6, 7, 8],
  infer: (ctx, [x, , , w, , , , yz]) => [convolutionType(ctx, x, w, yz?.dtype)],
  run: (ctx, [x, xs, xz, w, ws, wz, ys, yz, bias]) => {
    const dtype = codeType(ctx, yz)
    const [xScale, zero] = [scalar(ctx, xs, 'x_scale'), scalar(ctx, xz, 'x_zero_point')]
    const [yScale, yZero] = [scalar(ctx, ys, 'y_scale'), scalar(ctx, yz, 'y_zero_point')]
    return convolution(ctx, x, w, zero, (rows, packed, from) => {
      const scale = columnScale(ctx, ws, xScale / yScale, packed.out, from)
      const b = bias === undefined ? null : mul(cast(slice(ctx.tensor(bias), [from], [packed.out]), 'f32'), scale)
      return qmatmul(
        rows,
        packed.packed,
        scale,
        b,
        null,
        null,
        null,
        weightZeros(ctx, wz, packed, from),
        packed.out,
        1,
        zero,
        'none',
        dtype,
        1,
        yZero,
      )
    })
  },
})
