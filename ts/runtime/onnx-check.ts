/**
 * onnxruntime-node as a second opinion on files that are written: where it is installed, it runs the file and its result is held against the model's.
 * It is an optional package: nothing here loads it unless a check is asked for.
 */
import { emptyTable } from '../base/own.js'
import { createRequire } from 'node:module'
import path from 'node:path'
import type { DType } from '../base/dtype.js'
import { NumericError, UnsupportedError } from '../base/errors.js'
import { sizeOf } from '../base/shape.js'
import type { Model } from '../nn/index.js'
import type { Tensor } from '../tensor/index.js'

export interface OnnxCheck {
  /** Largest distance between the file's results and the model's, each relative to its largest value. */
  readonly difference: number
  /** The same as onnxruntime runs it by default: it may compute with 8-bit inputs where weights are codes. */
  readonly differenceOptimized: number
  readonly version: string
}

interface OrtTensor {
  readonly data: ArrayLike<number | bigint>
  readonly dims: readonly number[]
}
interface OrtSession {
  readonly inputNames: readonly string[]
  readonly outputNames: readonly string[]
  run(feeds: Record<string, unknown>): Promise<Record<string, OrtTensor>>
  release(): Promise<void>
}
/** What of onnxruntime-node is used. */
export interface OnnxRuntime {
  readonly InferenceSession: { create(file: string | Uint8Array, options: Record<string, unknown>): Promise<OrtSession> }
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => OrtTensor
  readonly env: { readonly versions: { readonly node?: string; readonly common: string } }
}

/** The package beside this one, or beside the program that runs; undefined where it is not installed. */
export async function findOnnxRuntime(): Promise<OnnxRuntime | undefined> {
  const name = 'onnxruntime-node' // not a literal: bundlers and type checkers must not look for it
  const ways: (() => unknown)[] = [() => import(name), () => createRequire(path.join(process.cwd(), 'package.json'))(name) as unknown]
  for (const way of ways)
    try {
      const found = (await way()) as OnnxRuntime & { readonly default?: OnnxRuntime }
      return found.default ?? found
    } catch {
      // the next one
    }
  return undefined
}

const ortTypes: Readonly<Partial<Record<DType, string>>> = {
  i32: 'int32',
  bool: 'bool',
  u8: 'uint8',
  i8: 'int8',
  f64: 'float64',
  f16: 'float16',
}

/** How inputs of the model are called and typed in the file. */
export interface FileInput {
  readonly name: string
  readonly integer: boolean
}

async function differenceOf(
  ort: OnnxRuntime,
  file: string | Uint8Array,
  feeds: Record<string, unknown>,
  want: readonly Tensor[],
  level: string,
): Promise<number> {
  const session = await ort.InferenceSession.create(file, { graphOptimizationLevel: level, logSeverityLevel: 3 })
  try {
    if (session.outputNames.length !== want.length) return Infinity
    const results = await session.run(feeds)
    const distances = want.map((t, i) => distance(results[session.outputNames[i]!]!, t))
    return distances.some(Number.isNaN) ? NaN : Math.max(...distances)
  } finally {
    await session.release()
  }
}

/** What f32 leaves of results that were near 1 on the way (saturated sigmoids): below it nothing can be said of results that are all that small. */
const ROUNDING = 2 ** -22

/** Largest difference, relative to the largest finite value; as it is where it is no more than rounding. NaN where one side is NaN and the other is not. */
function distance(got: OrtTensor, want: Tensor): number {
  const expected = want.read() as ArrayLike<number | bigint>
  if (got.dims.length !== want.rank || got.dims.some((d, i) => d !== want.shape[i])) return Infinity
  let [worst, largest] = [0, 0]
  for (let i = 0; i < sizeOf(want.shape); i++) {
    const [a, b] = [Number(got.data[i]), Number(expected[i])]
    if (Number.isFinite(b)) largest = Math.max(largest, Math.abs(b))
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) continue // infinities too: their difference is no number
    const difference = Math.abs(a - b)
    if (Number.isNaN(difference)) return NaN
    worst = Math.max(worst, difference)
  }
  return worst > ROUNDING && largest > 0 ? worst / largest : worst
}

/**
 * Runs the file (a path, or its bytes) on `inputs` and compares with the model. ERR_NUMERIC where they are further apart than `tolerance`, ERR_UNSUPPORTED where
 * onnxruntime does not load the file; null where it is not installed.
 */
export async function checkOnnx(
  model: Model,
  file: string | Uint8Array,
  inputs: Readonly<Record<string, Tensor>>,
  names: Readonly<Record<string, FileInput>>,
  tolerance: number,
  onnxruntime?: OnnxRuntime,
): Promise<OnnxCheck | null> {
  const ort = onnxruntime ?? (await findOnnxRuntime())
  if (!ort) return null
  const feeds = emptyTable<unknown>()
  for (const [own, t] of Object.entries(inputs)) {
    const { name, integer } = names[own]!
    const data = t.read() as Float32Array
    feeds[name] = integer
      ? new ort.Tensor(
          'int64',
          BigInt64Array.from(data, (v) => BigInt(v)),
          t.shape,
        )
      : new ort.Tensor(ortTypes[t.dtype] ?? 'float32', data, t.shape)
  }
  const list = Object.values(inputs)
  const want = Object.values(model.predictAll(list.length === 1 && inputs.x ? inputs.x : inputs))
  try {
    const difference = await differenceOf(ort, file, feeds, want, 'basic')
    if (!(difference <= tolerance))
      throw new NumericError(
        'ERR_NUMERIC',
        `export: onnxruntime's result differs from the model's by ${difference} (of the largest value), allowed are ${tolerance}`,
      )
    return {
      difference,
      differenceOptimized: await differenceOf(ort, file, feeds, want, 'all'),
      version: ort.env.versions.node ?? ort.env.versions.common,
    }
  } catch (cause) {
    if (cause instanceof NumericError) throw cause
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new UnsupportedError('ERR_UNSUPPORTED', `export: onnxruntime does not run the file: ${message}`, {
      cause,
      details: { what: 'onnxruntime-node' },
    })
  } finally {
    for (const t of want) t.dispose()
  }
}
