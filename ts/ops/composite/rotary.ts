/** Rotary positions (Su et al. 2021, section 3.2.2): pairs of features turned by angles that the caller knows. */
import { ShapeError } from '../../base/errors.js'
import { add, broadcastTo, reshape, slice } from '../../autograd/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import { mul, sub } from '../arithmetic.js'
import { concat2 } from '../memory.js'

export interface RotaryOptions {
  /** Pairs are neighbours (0, 1), (2, 3), ... as in GPT-J and GGUF; else feature i goes with i + R / 2 (GPT-NeoX, Hugging Face). Default false. */
  readonly interleaved?: boolean
}

/**
 * Each pair (u, v) of the first R features of x [..., D] becomes (u cos - v sin, u sin + v cos); features from R on stay. `cos` and `sin` [..., R / 2]
 * broadcast to x's other dimensions: [T, 1, R / 2] for x [B, T, heads, D]. Differentiable in all three.
 *
 * - R > D, tables that differ in shape or do not broadcast: ERR_SHAPE
 *
 * @example
 * rotary(tensor([[1, 0]]), tensor([[0]]), tensor([[1]])).toArray()   // [[0, 1]]: a quarter turn
 */
export function rotary(x: Tensor, cos: Tensor, sin: Tensor, { interleaved = false }: RotaryOptions = {}): Tensor {
  const [half, d] = [cos.shape[cos.rank - 1] ?? 0, x.shape[x.rank - 1] ?? 0]
  if (x.rank < 1 || cos.rank < 1 || cos.rank > x.rank || !cos.sameShape(sin) || 2 * half > d)
    throw new ShapeError(
      'ERR_SHAPE',
      `rotary: cos and sin [..., R / 2] must have one shape and R <= D of x [..., D], got ${x}, ${cos}, ${sin}`,
    )
  return scope(() => {
    const lead = x.shape.slice(0, -1)
    const zeros = lead.map(() => 0)
    const part = (from: number, size: number): Tensor => slice(x, [...zeros, from], [...lead, size])
    const turn = (u: Tensor, v: Tensor): [Tensor, Tensor] => [sub(mul(u, cos), mul(v, sin)), add(mul(u, sin), mul(v, cos))]
    // Also refuses tables that would stretch x.
    broadcastTo(cos, [...lead, half])
    let y: Tensor
    if (interleaved) {
      const pairs = reshape(part(0, 2 * half), [...lead, half, 2])
      const side = (i: number): Tensor => reshape(slice(pairs, [...zeros, 0, i], [...lead, half, 1]), [...lead, half])
      const [u, v] = turn(side(0), side(1)).map((t) => reshape(t, [...lead, half, 1])) as [Tensor, Tensor]
      y = reshape(concat2(u, v, -1), [...lead, 2 * half])
    } else {
      const [u, v] = turn(part(0, half), part(half, half))
      y = concat2(u, v, -1)
    }
    return 2 * half === d ? y : concat2(y, part(2 * half, d - 2 * half), -1)
  })
}
