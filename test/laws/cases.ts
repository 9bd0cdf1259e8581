/** The ops under law: every definition with its row, its samples in a dtype, and which of its inputs carry a gradient. */
import { definedOps, type DefinedOp } from '../../ts/autograd/index.js'
import type { FloatDType } from '../../ts/base/dtype.js'
import type { OpName, OpRow } from '../../ts/native/ops.gen.js'
import { opRows } from '../../ts/native/ops.gen.js'
import { callOp, Tensor } from '../../ts/tensor/index.js'
import '../../ts/ops/index.js'
import { sampler } from './sampler.js'

export interface OpCase {
  readonly name: OpName
  readonly row: OpRow
  readonly op: DefinedOp
  /** True for ops that change an argument: they give no result. */
  readonly inPlace: boolean
  samples(dtype: FloatDType): readonly (readonly unknown[])[]
}

/** Why an op has no double-precision form. Checked: f64 input is ERR_DTYPE. */
export const singleOnly: ReadonlyMap<OpName, string> = new Map([
  ['quantize_rows', 'codes come from f32 weights'],
  ['dequantize_rows', 'scales are f32'],
  ['fake_quantize_rows', 'scales are f32'],
  ['fake_quantize_rows_grad', 'scales are f32'],
  ['qlinear', 'activations are f32'],
  ['qlinear_dynamic', 'activations are f32'],
  ['qmatmul', 'activations are f32 or codes'],
  ['qconv2d', 'activations are f32'],
  ['qconv2d_last', 'activations are f32 or codes'],
  ['wgemm_pack', 'scales are f32'],
  ['rows_dot', 'scales are f32'],
  ['ternary_project', 'activations are f32'],
  ['dual_linear', 'activations are f32'],
  ['dual_lstm', 'activations are f32'],
  ['dual_gru', 'activations are f32'],
  ['wgemm', 'activations are f32'],
  ['linear_fused', 'activations are f32'],
  ['gemm_pack', 'weights are f32'],
  ['linear_packed', 'activations are f32'],
  ['conv2d_last_pack', 'filters are f32'],
  ['conv2d_last', 'images are f32'],
  ['conv2d_winograd_pack', 'filters are f32'],
  ['conv2d_winograd', 'images are f32'],
  ['pool2d_last', 'images are f32'],
  ['bf16_pack', 'weights are f32 or bf16'],
  ['linear_bf16', 'activations are f32 or bf16'],
  ['csr_group', 'values are f32'],
  ['csr_linear', 'values are f32 or i8'],
  ['csr_multiply', 'values are f32 or i8'],
  ['csr_to_dense', 'values are f32 or i8'],
  ['bsr_linear', 'values are f32 or i8'],
  ['bsr_to_dense', 'values are f32 or i8'],
  ['bitmask_linear', 'values are f32 or i8'],
  ['bitmask_to_dense', 'values are f32 or i8'],
  ['nm_linear', 'values are f32 or i8'],
  ['nm_to_dense', 'values are f32 or i8'],
])

function seedOf(name: string): number {
  let h = 2166136261
  for (const c of name) h = Math.imul(h ^ c.charCodeAt(0), 16777619)
  return h >>> 0
}

export const cases: readonly OpCase[] = opRows.flatMap((row) => {
  const op = definedOps.get(row.name)
  if (!op) return []
  return [
    {
      name: row.name,
      row,
      op,
      inPlace: row.params.some(([kind]) => kind === 'M'),
      samples: (dtype) => op.samples(sampler(seedOf(row.name), dtype)),
    },
  ]
})

export const isFloat = (x: unknown): x is Tensor => x instanceof Tensor && (x.dtype === 'f64' || x.dtype === 'f32')

/** Results as a list, whatever the op gives. */
export function results(c: OpCase, args: readonly unknown[]): readonly Tensor[] {
  const r = c.op.call(...args)
  return r instanceof Tensor ? [r] : r
}

/** Positions of the arguments that the op has a gradient for. */
export function differentiable(c: OpCase, args: readonly unknown[]): number[] {
  if (!c.op.grad) return []
  const out = callOp(c.name, args)
  const rules = c.op.grad({ args: args as never, y: out[0]!, results: out, higher: true }, out[0]!) as Record<string, unknown>
  return c.row.params.flatMap(([, name], i) => (rules[name] && isFloat(args[i]) ? [i] : []))
}

/** The elements as doubles. */
export function numbers(t: Tensor): number[] {
  return Array.from(t.read() as ArrayLike<number | bigint>, Number)
}

/** The bits, for exact comparison (NaN equals NaN, -0 differs from 0). */
export function bits(t: Tensor): string {
  const a = t.read()
  return `${t} ${Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('hex')}`
}
