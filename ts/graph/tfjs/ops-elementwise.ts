/** Operators of TensorFlow, group 1: element by element. */
import type { TfNode } from '../../formats/tfjs-graph.js'
import { activate } from './activations.js'
import { Val, type Builder } from './builder.js'
import { prelu } from './images.js'
import { aligned, elementwise, together, unary } from './layout.js'
import type { Row } from './rows.js'

const one =
  (op: string): Row =>
  (b, x) =>
    unary(b, x[0]!, (v) => b.op(op, [v]))
const two =
  (op: string): Row =>
  (b, x) =>
    elementwise(b, op, [x[0]!, x[1]!])
const by =
  (make: (b: Builder, v: string, n: TfNode) => string): Row =>
  (b, x, n) =>
    unary(b, x[0]!, (v) => make(b, v, n))
const of2 =
  (make: (b: Builder, x: string, y: string) => string): Row =>
  (b, x) =>
    together(b, [x[0]!, x[1]!], ([p, q]) => make(b, p!, q!))

const unaryNames: Readonly<Record<string, string>> = {
  Relu: 'Relu', Elu: 'Elu', Selu: 'Selu', Sigmoid: 'Sigmoid', Tanh: 'Tanh', Softplus: 'Softplus', Softsign: 'Softsign', Erf: 'Erf', Exp: 'Exp', Log: 'Log',
  Neg: 'Neg', Abs: 'Abs', Floor: 'Floor', Ceil: 'Ceil', Round: 'Round', Rint: 'Round', Sqrt: 'Sqrt', Reciprocal: 'Reciprocal', Inv: 'Reciprocal', Sin: 'Sin',
  Cos: 'Cos', Tan: 'Tan', Asin: 'Asin', Acos: 'Acos', Atan: 'Atan', Sinh: 'Sinh', Cosh: 'Cosh', Asinh: 'Asinh', Acosh: 'Acosh', Atanh: 'Atanh', Sign: 'Sign',
  IsNan: 'IsNaN', IsInf: 'IsInf', LogicalNot: 'Not',
} // prettier-ignore

const binaryNames: Readonly<Record<string, string>> = {
  Add: 'Add', AddV2: 'Add', Sub: 'Sub', Mul: 'Mul', RealDiv: 'Div', Maximum: 'Max', Minimum: 'Min', Equal: 'Equal', Greater: 'Greater',
  GreaterEqual: 'GreaterOrEqual', Less: 'Less', LessEqual: 'LessOrEqual', LogicalAnd: 'And', LogicalOr: 'Or', LogicalXor: 'Xor',
} // prettier-ignore

/** The largest integer below x / y. */
function floorDiv(b: Builder, x: string, y: string): string {
  if (b.types.get(x)?.dtype !== 'i64') return b.op('Floor', [b.op('Div', [x, y])])
  const q = b.op('Div', [x, y]) // towards zero
  const rest = b.op('Sub', [x, b.op('Mul', [q, y])])
  const below = b.op('And', [
    b.op('Not', [b.op('Equal', [rest, b.int(0)])]),
    b.op('Xor', [b.op('Less', [rest, b.int(0)]), b.op('Less', [y, b.int(0)])]),
  ])
  return b.op('Sub', [q, b.op('Cast', [below], { to: 7 })])
}

const floorMod = (b: Builder, x: string, y: string): string =>
  b.types.get(x)?.dtype === 'i64' ? b.op('Mod', [x, y]) : b.op('Sub', [x, b.op('Mul', [floorDiv(b, x, y), y])])

function clipped(b: Builder, x: string, low: string, high: string): string {
  const scalar = (name: string): boolean => b.types.get(name)?.shape?.length === 0
  return scalar(low) && scalar(high) ? b.op('Clip', [x, low, high]) : b.op('Min', [b.op('Max', [x, low]), high])
}

const rows: Record<string, Row> = {
  Relu6: (b, x) => activate(b, x[0]!, 'relu6'),
  LeakyRelu: by((b, v, n) => b.op('LeakyRelu', [v], { alpha: { float: n.float('alpha', 0.2) } })),
  Prelu: (b, x) => prelu(b, x[0]!, x[1]!),
  Rsqrt: by((b, v) => b.op('Reciprocal', [b.op('Sqrt', [v])])),
  Square: by((b, v) => b.op('Mul', [v, v])),
  Log1p: by((b, v) => b.op('Log', [b.op('Add', [v, b.float(1)])])),
  Expm1: by((b, v) => b.op('Sub', [b.op('Exp', [v]), b.float(1)])),
  IsFinite: by((b, v) => b.op('Not', [b.op('Or', [b.op('IsNaN', [v]), b.op('IsInf', [v])])])),
  ClipByValue: (b, x) => together(b, x.slice(0, 3), ([v, low, high]) => clipped(b, v!, low!, high!)),
  Div: (b, x) => together(b, x.slice(0, 2), ([p, q]) => (b.types.get(p!)?.dtype === 'i64' ? floorDiv(b, p!, q!) : b.op('Div', [p, q]))),
  FloorDiv: of2(floorDiv),
  FloorMod: of2(floorMod),
  Mod: of2(floorMod), // tfjs computes both alike
  DivNoNan: of2((b, p, q) => {
    const none = b.op('Equal', [q, b.float(0)])
    return b.op('Where', [none, b.float(0), b.op('Div', [p, b.op('Where', [none, b.float(1), q])])])
  }),
  Pow: (b, x) => elementwise(b, 'Pow', [x[0]!, x[1]!]),
  NotEqual: of2((b, p, q) => b.op('Not', [b.op('Equal', [p, q])])),
  SquaredDifference: of2((b, p, q) => {
    const d = b.op('Sub', [p, q])
    return b.op('Mul', [d, d])
  }),
  AddN: (b, x) => elementwise(b, 'Sum', x),
  BiasAdd: (b, x, n) => {
    if (n.string('data_format', 'NHWC') === 'NHWC') return elementwise(b, 'Add', [x[0]!, x[1]!])
    const spatial = (b.rank(x[0]!) ?? 4) - 2
    return new Val(b.op('Add', [b.plain(x[0]!), b.op('Reshape', [b.plain(x[1]!), b.ints([-1, ...Array<number>(spatial).fill(1)])])]))
  },
  Cast: by((b, v, n) => {
    const to = { f32: 1, f64: 1, f16: 1, bf16: 1, bool: 9, u8: 2, i32: 7, i64: 7, i8: 7, i16: 7, u16: 7, u32: 7 }[n.dtype('DstT')]
    return to === undefined ? n.unsupported(`a cast to ${n.dtype('DstT')}`) : b.op('Cast', [v], { to })
  }),
  SelectV2: (b, x) => together(b, x.slice(0, 3), (names) => b.op('Where', names)),
  // The first version's condition may be one per row.
  Select: (b, x) => {
    const [own, rank] = [b.rank(x[0]!), b.rank(x[1]!)]
    if (own === 1 && rank !== undefined && rank > 1) {
      const rows1 = b.op('Reshape', [b.plain(x[0]!), b.ints([-1, ...Array<number>(rank - 1).fill(1)])])
      return new Val(b.op('Where', [rows1, b.plain(x[1]!), b.plain(x[2]!)]))
    }
    const { names, first } = aligned(b, x.slice(0, 3))
    const y = b.op('Where', names)
    return first ? new Val(undefined, y) : new Val(y)
  },
}
for (const [tf, onnx] of Object.entries(unaryNames)) rows[tf] = one(onnx)
for (const [tf, onnx] of Object.entries(binaryNames)) rows[tf] = two(onnx)
for (const name of ['Identity', 'StopGradient', 'Snapshot', 'PreventGradient', 'PlaceholderWithDefault', 'CheckNumerics', 'EnsureShape'])
  rows[name] = (_, x) => x[0]!
rows.IdentityN = (_, x) => x

export const elementwiseRows = rows
