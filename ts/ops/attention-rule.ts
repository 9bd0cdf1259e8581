/**
 * Attention in elementary ops: the T x S weights are a tensor of their own. It is what the native op (attention.ts) computes, spelled out for the tape: second
 * derivatives and the gradient of a mask come from here. q [B, H, T, D], k [B, H, S, D], v [B, H, S, E].
 */
import { add, reshape, slice } from '../autograd/index.js'
import { tensor, type Tensor } from '../tensor/index.js'
import { mul, scaleShift } from './arithmetic.js'
import { inDType } from './memory.js'
import { matmul } from './matmul.js'
import { clip, step } from './piecewise.js'
import { randomUniform } from './random.js'
import { amax } from './reduce.js'
import { softmaxLast } from './softmax.js'

/** What attention is besides its three tensors. */
export interface AttentionTerms {
  /** Added to the scores; broadcasts to [B, H, T, S]. Below -1e29 it hides. */
  readonly mask: Tensor | null
  /** [B, S]: 0 hides a key from every query. */
  readonly keyMask: Tensor | null
  readonly scale: number
  readonly causal: boolean
  readonly dropout: number
  readonly seed: number
  readonly stream: number
}

const HIDDEN = -1e30
/** Rows of the random sequence begin at multiples of it (native/kernels/random/random.h). */
const GROUP = 64

/** 0 where query i may see key j (j <= i + S - T), else HIDDEN: [T, S]. */
function causalBias(t: number, s: number, like: Tensor): Tensor {
  const values = Float32Array.from({ length: t * s }, (_, n) => ((n % s) - Math.floor(n / s) <= s - t ? 0 : HIDDEN))
  return inDType(tensor(values, [t, s]), like.dtype)
}

/** Weights [B, H, T, S] and, with dropout, what each is multiplied by: 0 or 1 / (1 - p). */
export function attentionWeights(q: Tensor, k: Tensor, terms: AttentionTerms): { weights: Tensor; kept: Tensor | null } {
  const [b, h, t] = q.shape as [number, number, number, number]
  const s = k.shape[2]!
  let scores = scaleShift(matmul(q, k, false, true), terms.scale)
  const biases: Tensor[] = []
  // A finite floor keeps fully hidden rows free of NaN (their softmax is even); `seen` then zeroes them.
  if (terms.mask) biases.push(clip(terms.mask, HIDDEN, -HIDDEN))
  if (terms.keyMask) biases.push(reshape(scaleShift(shown(terms.keyMask), -HIDDEN, HIDDEN), [b, 1, 1, s]))
  if (terms.causal) biases.push(causalBias(t, s, q))
  let seen: Tensor | undefined
  if (biases.length > 0 && s > 0) {
    const bias = clip(
      biases.reduce((x, y) => add(x, y)),
      HIDDEN,
      -HIDDEN,
    )
    scores = add(scores, bias)
    seen = step(scaleShift(amax(bias, [-1], true), 1, -HIDDEN / 10))
  }
  let weights = softmaxLast(scores)
  if (seen) weights = mul(weights, seen)
  if (terms.dropout === 0) return { weights, kept: null }
  const width = Math.ceil(s / GROUP) * GROUP
  const all = randomUniform([b, h, t, width], { seed: terms.seed, stream: terms.stream })
  const keep = 1 - terms.dropout
  const kept = step(scaleShift(slice(all, [0, 0, 0, 0], [b, h, t, s]), -1, keep))
  return { weights, kept: scaleShift(inDType(kept, q.dtype), 1 / keep) }
}

/** 1 where it is not 0. */
function shown(mask: Tensor): Tensor {
  return step(mul(mask, mask))
}
