/** Activations by the names that Keras and the fused operators of TensorFlow give them. */
import { Val, type Attributes, type Builder } from './builder.js'
import { unary } from './layout.js'

const simple =
  (op: string, attributes: Attributes = {}) =>
  (b: Builder, x: string): string =>
    b.op(op, [x], attributes)

const table = new Map<string, (b: Builder, x: string) => string>([
  ['linear', (_, x) => x],
  ['relu', simple('Relu')],
  ['relu6', (b, x) => b.op('Clip', [x, b.float(0), b.float(6)])],
  ['elu', simple('Elu')],
  ['selu', simple('Selu')],
  ['sigmoid', simple('Sigmoid')],
  ['hard_sigmoid', simple('HardSigmoid', { alpha: { float: 0.2 }, beta: { float: 0.5 } })],
  ['tanh', simple('Tanh')],
  ['softplus', simple('Softplus')],
  ['softsign', simple('Softsign')],
  ['exponential', simple('Exp')],
  ['gelu', simple('Gelu')],
  ['gelu_new', simple('Gelu', { approximate: 'tanh' })],
  ['mish', simple('Mish')],
  ['leaky_relu', simple('LeakyRelu', { alpha: { float: 0.2 } })],
  ['swish', (b, x) => b.op('Mul', [x, b.op('Sigmoid', [x])])],
])
const aliases = new Map([
  ['silu', 'swish'],
  ['hardsigmoid', 'hard_sigmoid'],
  ['biasadd', 'linear'],
])

/** `reLU6` of tfjs and `relu6` of Keras are the same. */
function tidy(name: string): string {
  const low = name.toLowerCase()
  return aliases.get(low) ?? low
}

export function activate(b: Builder, x: Val, name: string): Val {
  const key = tidy(name)
  if (key === 'linear') return x
  if (key === 'softmax' || key === 'log_softmax')
    return new Val(b.op(key === 'softmax' ? 'Softmax' : 'LogSoftmax', [b.plain(x)], { axis: -1 }))
  const make = table.get(key)
  if (!make) b.unsupported(`${JSON.stringify(b.at)}: activation ${JSON.stringify(name.slice(0, 40))}`)
  return unary(b, x, (name1) => make(b, name1))
}

export const knowsActivation = (name: string): boolean => table.has(tidy(name)) || ['softmax', 'log_softmax'].includes(tidy(name))
