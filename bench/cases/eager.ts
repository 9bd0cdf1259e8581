/** What an operation costs beside its arithmetic, when each one is a call of its own: 16 floats, the result is released. */
import { parts, type Case, type Family } from './case.js'

const N = 16
const one = (name: string, kernel: string, rivals: readonly string[]): Case => ({
  name,
  params: { n: N },
  operations: N,
  bytes: 0,
  limits: [],
  parts: parts(kernel, 'tersor', ...rivals),
  threads: [1],
  ms: 20,
})

export const eager: Family = {
  name: 'eager',
  title: 'eager operations',
  unit: 'GFLOP/s',
  cases: [
    one('add', 'eager.add', ['torch', 'tfjs', 'javascript']),
    one('mul, add, relu', 'eager.chain', ['torch', 'tfjs', 'javascript']),
    one('value and gradient of sum(x * x)', 'eager.gradient', ['torch']),
  ],
}
