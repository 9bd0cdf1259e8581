/** onnxruntime-node of the bench's rivals: the files that Tersor writes, run by others. */
import { createRequire } from 'node:module'
import path from 'node:path'
import { root } from '../../lib/contenders.js'

interface OrtTensor {
  readonly data: Float32Array
  readonly dims: readonly number[]
}
export interface OrtSession {
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  run(feeds: Readonly<Record<string, unknown>>): Promise<Readonly<Record<string, OrtTensor>>>
}
export interface Ort {
  readonly InferenceSession: { create(file: string, options: object): Promise<OrtSession> }
  readonly Tensor: new (type: string, data: Float32Array | BigInt64Array, dims: readonly number[]) => unknown
}

/** undefined: not installed. */
export function onnxruntime(): Ort | undefined {
  const rivals = process.env.TERSOR_BENCH_RIVALS ?? path.join(root, 'bench', 'rivals')
  try {
    return createRequire(path.join(rivals, 'package.json'))('onnxruntime-node') as Ort
  } catch {
    return undefined
  }
}

export function openOrt(ort: Ort, file: string): Promise<OrtSession> {
  return ort.InferenceSession.create(file, { intraOpNumThreads: 1, interOpNumThreads: 1, logSeverityLevel: 3 })
}
