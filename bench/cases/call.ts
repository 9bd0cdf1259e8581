/** What a call from JavaScript costs: bare calls into native code, and whole small products beside what else a Node program could use. */
import { parts, type Case, type Family } from './case.js'

const bare = (name: string, kernel: string): Case => ({
  name,
  params: {},
  operations: 1,
  bytes: 0,
  limits: [],
  parts: parts(kernel, 'tersor'),
  threads: [1],
  // Benchmark.js compiles its loop anew for every sample: of 4 ms, V8 takes a visible part to optimize it.
  ms: 20,
})

function product(m: number, k: number, n: number): Case[] {
  const common = { params: { m, k, n }, operations: 2 * m * k * n, bytes: 4 * k * n, limits: [] }
  return [
    {
      ...common,
      name: `f32 ${m}x${k}x${n}`,
      parts: [{ contender: 'tersor', kernel: 'gemm.f32' }, ...parts('gemm.f32', 'onnxruntime', 'tfjs', ...(m <= 8 ? ['javascript'] : []))],
    },
    {
      ...common,
      name: `int8 ${m}x${k}x${n}`,
      parts: [
        { contender: 'tersor', kernel: 'gemm.int8.dynamic', label: 'dynamic' },
        { contender: 'tersor', kernel: 'gemm.int8.static', label: 'static' },
        { contender: 'onnxruntime', kernel: 'gemm.u8s8', label: 'u8s8' },
        { contender: 'onnxruntime', kernel: 'gemm.int8.dynamic', label: 'dynamic' },
        { contender: 'tfjs', kernel: 'gemm.f32', label: 'f32' },
      ],
    },
  ]
}

export const call: Family = {
  name: 'call',
  title: 'calls from JavaScript',
  unit: 'GOP/s',
  cases: [
    bare('empty call', 'call.empty'),
    bare('handle and number', 'call.handle'),
    bare('four tensors', 'call.tensors'),
    ...product(1, 16, 16),
    ...product(1, 768, 768),
    ...product(8, 768, 768),
    ...product(128, 768, 768),
  ],
}
