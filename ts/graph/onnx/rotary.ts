/** Rotary positions (Su et al. 2021): pairs of features turned by an angle that grows with the position; in ONNX's and in ONNX Runtime's form. */
import { add, cast, concat, gather, mul, permute, reshape, slice, sub } from '../../ops/index.js'
import { tensor, type Tensor } from '../../tensor/index.js'
import { defineOnnxOp, intAttribute, type RunContext, type Value } from '../define.js'
import type { GraphNode } from '../graph.js'
import { valueType } from '../infer.js'
import { list } from './values.js'

/** [B, T, heads D] as [B, heads, T, D]. */
export function heads(x: Tensor, n: number): Tensor {
  if (x.rank === 4) return x
  const [b, t, c] = x.shape as [number, number, number]
  return permute(reshape(x, [b, t, n, c / n]), [0, 2, 1, 3])
}
/** Back. */
export function together(x: Tensor): Tensor {
  const [b, n, t, d] = x.shape as [number, number, number, number]
  return reshape(permute(x, [0, 2, 1, 3]), [b, t, n * d])
}
interface Rotary {
  readonly interleaved: boolean
  /** Features that are turned; 0: all. */
  readonly dim: number
}

/** x [B, heads, T, D] turned by cos, sin [B or 1, T, R / 2]. */
export function turned(x: Tensor, cos: Tensor, sin: Tensor, { interleaved, dim }: Rotary): Tensor {
  const [b, n, t, d] = x.shape as [number, number, number, number]
  const r = dim > 0 ? dim : d
  const half = r / 2
  const [c, s] = [cos, sin].map((a) =>
    reshape(
      slice(
        a,
        a.shape.map(() => 0),
        [a.shape[0]!, t, half],
      ),
      [a.shape[0]!, 1, t, half],
    ),
  ) as [Tensor, Tensor]
  const part = (from: number, size: number): Tensor => slice(x, [0, 0, 0, from], [b, n, t, size])
  const pairs = reshape(part(0, r), [b, n, t, half, 2])
  const of = (i: number): Tensor =>
    interleaved ? reshape(slice(pairs, [0, 0, 0, 0, i], [b, n, t, half, 1]), [b, n, t, half]) : part(i * half, half)
  const [p, q] = [of(0), of(1)]
  const [u, v] = [sub(mul(p, c), mul(q, s)), add(mul(p, s), mul(q, c))]
  const y = interleaved
    ? reshape(concat([reshape(u, [b, n, t, half, 1]), reshape(v, [b, n, t, half, 1])], 4), [b, n, t, r])
    : concat([u, v], 3)
  return r === d ? y : concat([y, part(r, d - r)], 3)
}

/** Rows of a cache [P, R / 2] for positions [B, T], or from one start. */
export function rowsAt(cache: Tensor, positions: Tensor): Tensor {
  return gather(cache, positions.dtype === 'i32' ? positions : cast(positions, 'i32'))
}

function rotary(
  ctx: RunContext,
  node: GraphNode,
  x: Value | undefined,
  cosCache: Value | undefined,
  sinCache: Value | undefined,
  positions: Value | undefined,
): Tensor {
  const t = ctx.tensor(x)
  const [cos, sin] = [ctx.tensor(cosCache), ctx.tensor(sinCache)]
  const dim = intAttribute(node, 'rotary_embedding_dim', 0)
  const count = intAttribute(node, 'num_heads', 0)
  const n = t.rank === 4 ? t.shape[1]! : count > 0 ? count : t.shape[2]! / (2 * cos.shape.at(-1)!)
  const split = heads(t, n)
  const steps = split.shape[2]!
  const at = positions === undefined ? undefined : ctx.tensor(positions)
  let [c, s] = [cos, sin]
  if (at && at.size === 1 && steps !== 1) {
    const from = list(ctx, positions)[0]!
    const run = tensor(
      Int32Array.from({ length: steps }, (_, i) => from + i),
      [1, steps],
    )
    c = rowsAt(cos, run)
    s = rowsAt(sin, run)
  } else if (at) {
    const grid = reshape(at, [at.size / steps, steps])
    c = rowsAt(cos, grid)
    s = rowsAt(sin, grid)
  }
  const y = turned(split, c, s, { interleaved: intAttribute(node, 'interleaved', 0) !== 0, dim })
  return t.rank === 4 ? y : together(y)
}

defineOnnxOp('RotaryEmbedding', {
  since: [23],
  inputs: [3, 4],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape)],
  run: (ctx, [x, cos, sin, positions], node) => rotary(ctx, node, x, cos, sin, positions),
})
defineOnnxOp('RotaryEmbedding', {
  domain: 'com.microsoft',
  since: [1],
  inputs: [4, 4],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape)],
  run: (ctx, [x, positions, cos, sin], node) => rotary(ctx, node, x, cos, sin, positions),
})
