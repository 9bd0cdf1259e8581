/**
 * Rules for recurrent layers. Tersor's result holds the outputs of all steps and behind them the last states; ONNX gives them apart, so slices of the result
 * take the part they mean. Gates: LSTM i f g o here, i o f c there; GRU r z n here, z r h there (with the reset gate behind the product).
 */
import { isValue, type TracedValue } from '../trace.js'
import { int, text, type Attributes } from './builder.js'
import { valueArg, type ExportContext } from './context.js'
import { floatsOf, type Rule } from './ops.js'
import type { PairedCall, PairedNumber } from './pair.js'

export const LSTM_GATES: readonly number[] = [0, 3, 1, 2]
export const GRU_GATES: readonly number[] = [1, 0, 2]

/** Blocks of rows, one for each gate, in another order. */
export function reorder(values: Float32Array, order: readonly number[]): Float32Array {
  const size = values.length / order.length
  const out = new Float32Array(values.length)
  order.forEach((from, to) => out.set(values.subarray(from * size, (from + 1) * size), to * size))
  return out
}

type Place = Pick<ExportContext, 'builder' | 'weights'>

/** The weight at `path` as [1, rows, cols], gates in the order of ONNX; codes stay codes. */
export function gateMatrix(
  { builder, weights }: Place,
  path: string,
  [rows, cols]: readonly [rows: number, cols: number],
  order: readonly number[],
): string {
  const codes = weights.codes(path)
  if (!codes || codes.groups !== 1 || codes.lead !== rows || codes.zero)
    return weights.floats(path, [1, rows, cols], reorder(weights.values(path).values, order))
  const size = codes.q.length / order.length
  const q = new Int8Array(codes.q.length)
  order.forEach((from, to) => q.set(codes.q.subarray(from * size, (from + 1) * size), to * size))
  const data = new Uint8Array(q.buffer)
  const stored = builder.tensor(`${path}.codes`, { dtype: 'i8', shape: [1, rows, cols], read: () => data })
  const scale = weights.floats32(`${path}.scale`, [rows], reorder(codes.scale, order))
  builder.needs(13)
  return builder.node('DequantizeLinear', [stored, scale], { attributes: { axis: int(1) } })
}

function matrix(c: ExportContext, w: TracedValue, order: readonly number[]): string {
  const [rows, cols] = w.shape as [number, number]
  if (w.from.kind === 'weight') return gateMatrix(c, w.from.path, [rows, cols], order)
  return c.weights.floats('recurrent', [1, rows, cols], reorder(floatsOf(c, w), order))
}

interface Cell {
  readonly op: 'LSTM' | 'GRU'
  readonly order: readonly number[]
  readonly attributes: Attributes
}

function layer(
  c: ExportContext,
  call: PairedCall,
  cell: Cell,
  biases: readonly unknown[],
  states: readonly unknown[],
  lengths: unknown,
  reverse: unknown,
): string {
  const { builder } = c
  const [x, wih, whh] = [valueArg(call, 0), valueArg(call, 1), valueArg(call, 2)]
  const hidden = whh.shape[1]!
  const gates = cell.order.length * hidden
  const both = new Float32Array(2 * gates)
  biases.forEach((b, i) => isValue(b) && both.set(reorder(floatsOf(c, b), cell.order), i * gates))
  const bias = biases.some(isValue) ? c.weights.floats32('bias', [1, 2 * gates], both) : ''
  const first = states.map((s) => (isValue(s) ? builder.node('Unsqueeze', [c.name(s), builder.int64s([0])]) : ''))
  const names = ['Y', 'Y_h', ...(cell.op === 'LSTM' ? ['Y_c'] : [])].map((name) => builder.name(`${cell.op}_${name}`))
  builder.node(
    cell.op,
    [c.name(x), matrix(c, wih, cell.order), matrix(c, whh, cell.order), bias, isValue(lengths) ? c.name(lengths) : '', ...first],
    {
      outputs: names,
      attributes: { ...cell.attributes, hidden_size: int(hidden), direction: text(reverse ? 'reverse' : 'forward') },
    },
  )
  const steps = builder.node('Squeeze', [names[0]!, builder.int64s([1])]) // [T, 1, B, H] -> [T, B, H]
  const result = call.a.results[0]!
  const t = c.pair.shape(x)[0]!
  const at = (start: PairedNumber, plus: number): boolean => start[0] === t[0] + plus && start[1] === t[1] + plus
  c.notes.set(result.id, (start: PairedNumber, size: PairedNumber): string | undefined => {
    if (start[0] === 0 && start[1] === 0 && size[0] === t[0] && size[1] === t[1]) return steps
    if (size[0] !== 1 || size[1] !== 1) return undefined
    return at(start, 0) ? names[1] : at(start, 1) && cell.op === 'LSTM' ? names[2] : undefined
  })
  return builder.node('Concat', [steps, ...names.slice(1)], { attributes: { axis: int(0) } })
}

export const recurrentRules: Readonly<Record<string, Rule>> = {
  lstm: (c, call) => {
    const [, , , bias, h0, c0, lengths, reverse] = call.a.args
    return layer(c, call, { op: 'LSTM', order: LSTM_GATES, attributes: {} }, [bias], [h0, c0], lengths, reverse)
  },
  gru: (c, call) => {
    const [, , , bih, bhh, h0, lengths, reverse] = call.a.args
    return layer(c, call, { op: 'GRU', order: GRU_GATES, attributes: { linear_before_reset: int(1) } }, [bih, bhh], [h0], lengths, reverse)
  },
}
