/**
 * LSTM and GRU spelled out step by step in differentiable ops: what second derivatives are made of, and a second opinion for tests. One direction,
 * layout and meaning of the arguments as in the native ops (native/ops/lstm.cc, gru.cc).
 */
import { add, reshape, slice, type Op } from '../autograd/index.js'
import { zeros, type Tensor } from '../tensor/index.js'
import { mul, scaleShift, sub } from './arithmetic.js'
import { concat } from './composite/concat.js'
import { linear } from './matmul.js'
import { cast } from './memory.js'
import { pattern } from './pattern.js'
import { greater } from './piecewise.js'
import { sigmoid, tanh } from './smooth.js'

export type LstmArguments = Parameters<Op<'lstm'>>
export type GruArguments = Parameters<Op<'gru'>>

interface Steps {
  readonly count: number
  readonly batch: number
  readonly units: number
  /** x at time t [B, C]. */
  at(t: number): Tensor
  /** Columns q H .. (q + 1) H of [B, G H]. */
  gate(all: Tensor, q: number): Tensor
  /** 1 where the sequence takes part at time t [B, 1]; null where all do. */
  active(t: number): Tensor | null
  /** Times in the order in which they are computed. */
  readonly order: readonly number[]
}

function stepsOf(x: Tensor, whh: Tensor, lengths: Tensor | null | undefined, reverse: boolean): Steps {
  const [count, batch, width] = x.shape as [number, number, number]
  const units = whh.shape[1]!
  const order = Array.from({ length: count }, (_, i) => (reverse ? count - 1 - i : i))
  return {
    count,
    batch,
    units,
    order,
    at: (t) => reshape(slice(x, [t, 0, 0], [1, batch, width]), [batch, width]),
    gate: (all, q) => slice(all, [0, q * units], [batch, units]),
    active: (t) => (lengths ? reshape(cast(greater(lengths, pattern('i32', [1], t, t)), x.dtype), [batch, 1]) : null),
  }
}

/** a where the mask is 1, b where it is 0. */
function choose(mask: Tensor | null, a: Tensor, b: Tensor): Tensor {
  return mask ? add(mul(a, mask), mul(b, scaleShift(mask, -1, 1))) : a
}

function join(s: Steps, outputs: readonly Tensor[], last: readonly Tensor[]): Tensor {
  return concat([...outputs, ...last].map((t) => reshape(t, [1, s.batch, s.units])))
}

/** states [T + 2, B, H] of `lstm`. */
export function lstmUnrolled(...[x, wih, whh, bias, h0, c0, lengths, reverse]: LstmArguments): Tensor {
  const s = stepsOf(x, whh, lengths, reverse)
  let h = h0 ?? zeros([s.batch, s.units], x.dtype)
  let c = c0 ?? zeros([s.batch, s.units], x.dtype)
  const outputs = new Array<Tensor>(s.count)
  for (const t of s.order) {
    const all = add(linear(s.at(t), wih, bias), linear(h, whh, null))
    const active = s.active(t)
    const next = add(mul(sigmoid(s.gate(all, 1)), c), mul(sigmoid(s.gate(all, 0)), tanh(s.gate(all, 2))))
    const out = mul(sigmoid(s.gate(all, 3)), tanh(next))
    c = choose(active, next, c)
    h = choose(active, out, h)
    outputs[t] = active ? mul(out, active) : out
  }
  return join(s, outputs, [h, c])
}

/** states [T + 1, B, H] of `gru`. */
export function gruUnrolled(...[x, wih, whh, bih, bhh, h0, lengths, reverse]: GruArguments): Tensor {
  const s = stepsOf(x, whh, lengths, reverse)
  let h = h0 ?? zeros([s.batch, s.units], x.dtype)
  const outputs = new Array<Tensor>(s.count)
  for (const t of s.order) {
    const seen = linear(s.at(t), wih, bih)
    const known = linear(h, whh, bhh)
    const active = s.active(t)
    const r = sigmoid(add(s.gate(seen, 0), s.gate(known, 0)))
    const z = sigmoid(add(s.gate(seen, 1), s.gate(known, 1)))
    const n = tanh(add(s.gate(seen, 2), mul(r, s.gate(known, 2))))
    const out = add(n, mul(z, sub(h, n)))
    h = choose(active, out, h)
    outputs[t] = active ? mul(out, active) : out
  }
  return join(s, outputs, [h])
}
