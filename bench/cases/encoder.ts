/** A training step of a transformer encoder: forward, backward and Adam; two post-norm blocks of width 512, 8 heads, batch 32 of 64 tokens. */
import { parts, type Case } from './case.js'

const net = { layers: 2, width: 512, hidden: 1536, heads: 8, batch: 32, tokens: 64 } as const
const rows = net.batch * net.tokens
// Value, gradient of the weight, gradient of the input; attention has two products forward and four back.
const projections = 3 * 2 * rows * (4 * net.width * net.width + 2 * net.width * net.hidden)
const attention = 3 * 2 * 2 * rows * net.tokens * net.width
const operations = net.layers * (projections + attention)

export const encoderStep: Case = {
  name: 'encoder step',
  params: net,
  operations,
  bytes: 0,
  limits: [{ kernel: 'limit.f32', amount: operations }],
  parts: parts('encoder.step', 'tersor', 'torch'),
  memory: true,
  ms: 600,
}

/** The same in mixed precision: `withPrecision('bf16')` here, `torch.autocast` there. */
export const encoderStepBf16: Case = { ...encoderStep, name: 'bf16 encoder step', params: { ...net, precision: 'bf16' } }
