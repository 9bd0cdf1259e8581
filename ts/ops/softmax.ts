/** Softmax, its logarithm and the loss on top of it, over the last axis; other axes: composite/softmax.ts. */
import { defineOp, reshape, sum } from '../autograd/index.js'
import { mul, sub } from './arithmetic.js'
import { inDType, oneHot } from './memory.js'
import { exp } from './smooth.js'

/** @internal exp(x - max) / sum over the last axis. */
export const softmaxLast = defineOp('softmax', {
  grad: ({ y }, dy) => ({
    x: () => {
      const t = mul(dy, y)
      return sub(t, mul(y, sum(t, [-1], true)))
    },
  }),
  flops: ({ args: [x] }) => 5 * x.size,
  samples: (s) => [[s.normal(2, 3)], [s.normal(4)], [s.normal(2, 2, 3)]],
})

/** @internal x - log sum exp over the last axis. */
export const logSoftmaxLast = defineOp('log_softmax', {
  grad: ({ y }, dy) => ({ x: () => sub(dy, mul(exp(y), sum(dy, [-1], true))) }),
  flops: ({ args: [x] }) => 5 * x.size,
  samples: (s) => [[s.normal(2, 3)], [s.normal(4)]],
})

/** logits [N, C], labels i32 [N] -> loss of each row [N]: -log softmax at the label. See `crossEntropy` for reductions and options. */
export const crossEntropyRows = defineOp('cross_entropy', {
  grad: ({ args: [logits, labels], higher }, dy) => ({
    logits: () => {
      if (!higher) return crossEntropyGrad(logits, labels, dy)
      const target = inDType(oneHot(labels, logits.shape[1]!), logits.dtype)
      return mul(sub(softmaxLast(logits), target), reshape(dy, [dy.size, 1]))
    },
    labels: null,
  }),
  flops: ({ args: [logits] }) => 5 * logits.size,
  samples: (s) => [
    [s.normal(3, 4), s.index([3], 4)],
    [s.normal(2, 1), s.index([2], 1)],
  ],
})

/** Constant to the tape: only first derivatives use it, and nothing records those. */
const crossEntropyGrad = defineOp('cross_entropy_grad', {
  grad: null,
  flops: ({ args: [logits] }) => 7 * logits.size,
  samples: (s) => [[s.normal(3, 4), s.index([3], 4), s.normal(3)]],
})
