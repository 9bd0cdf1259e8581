/** Training of small nets: forward + backward, and a step of power iteration on the Hessian with the gradient's graph kept. Batch 1024. */
import { encoderStep, encoderStepBf16 } from './encoder.js'
import { imageSteps } from './images.js'
import { languageStep } from './language.js'
import { parts, type Case, type Family, type Part } from './case.js'

const BATCH = 1024

/** Multiply-adds of each layer for one example; the first layer needs no gradient of its input. */
const layers = {
  mlp: [784 * 300, 300 * 100, 100 * 10],
  lenet5: [6 * 25 * 784, 16 * 150 * 100, 400 * 120, 120 * 84, 84 * 10],
} as const
type Net = keyof typeof layers

/** Products of the first layer and of each later one: value, gradient of the weight, gradient of the input; a step needs each of them twice. */
function operations(net: Net, first: number, later: number): number {
  const [head, ...rest] = layers[net]
  return 2 * BATCH * (first * head + later * rest.reduce((a, b) => a + b, 0))
}

function one(net: Net, what: string, count: number, list: readonly Part[]): Case {
  return {
    name: `${net} ${what}`,
    params: { net, batch: BATCH },
    operations: count,
    bytes: 0,
    limits: [{ kernel: 'limit.f32', amount: count }],
    parts: list,
    memory: true,
    ms: 60,
  }
}
const both = (kernel: string): readonly Part[] => parts(kernel, 'tersor', 'torch')
const nets: readonly Net[] = ['mlp', 'lenet5']

export const training: Family = {
  name: 'training',
  title: 'forward + backward',
  unit: 'GFLOP/s',
  cases: [
    ...nets.map((net) => one(net, 'forward + backward', operations(net, 2, 3), both('net.gradient'))),
    ...imageSteps,
    languageStep,
    encoderStep,
    encoderStepBf16,
  ],
}

export const hessian: Family = {
  name: 'hessian',
  title: 'Hessian-vector products',
  unit: 'GFLOP/s',
  cases: nets.map((net) =>
    one(net, 'power step', operations(net, 2, 6), [
      ...both('net.hessian'),
      ...both('net.gradient').map((part) => ({ ...part, label: 'forward + backward' })),
    ]),
  ),
}
