/**
 * Trace and diagonal from products with random signs (Hutchinson 1990; Bekas, Kokiopoulou, Saad 2007): E[v' A v] = tr A and E[v * A v] = diag A
 * for independent signs v. Defaults and stop rule of PyHessian (Yao et al. 2020, arXiv 1912.07145, algorithm 1).
 */
import { axpby, innerProduct, mul } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import type { RunOptions, SymmetricOperator } from './operator.js'
import { checkCount, checkRun, checkTolerance, relativeChange } from './options.js'
import { checkFinite, partView, rademacher, streams, zeroVector } from './vectors.js'

export interface SampleOptions extends RunOptions {
  /** Most random vectors; default 100. */
  readonly maxSamples?: number
  /** Stops when a further sample changes the mean by less than this share; default 1e-3. 0: all samples are taken. */
  readonly tolerance?: number
}

export interface TraceResult {
  readonly trace: number
  /** Standard deviation of the samples over the root of their number; NaN for one sample. */
  readonly standardError: number
  /** v' A v of each vector. */
  readonly samples: readonly number[]
  readonly converged: boolean
  /** The share of each parameter: the trace of its diagonal block. Blocks of other parameters add to the noise of the estimate. */
  readonly parts: readonly { readonly name: string; readonly trace: number; readonly standardError: number }[]
}

const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length
const standardError = (x: readonly number[]): number => {
  const m = mean(x)
  return Math.sqrt(x.reduce((s, v) => s + (v - m) ** 2, 0) / (x.length - 1) / x.length)
}

/** Draws signs, multiplies, hands both on; ends when `take` returns true. */
async function sample(
  a: SymmetricOperator,
  stage: 'trace' | 'diagonal',
  options: SampleOptions,
  take: (v: Tensor, product: Tensor, tolerance: number) => { readonly stop: boolean; readonly estimate?: number },
): Promise<boolean> {
  const seed = checkRun(stage, a, options)
  const most = checkCount(stage, 'maxSamples', options.maxSamples ?? 100, 1)
  const tolerance = checkTolerance(stage, options.tolerance ?? 1e-3)
  const product = zeroVector(a)
  try {
    for (let i = 0; i < most; i++) {
      const v = rademacher(a, seed, streams[stage], i)
      try {
        await a.apply(v, product, options.signal)
        const { stop, estimate } = take(v, product, tolerance)
        options.onProgress?.({ stage, done: i + 1, total: most, ...(estimate === undefined ? {} : { estimate }) })
        if (stop) return true
      } finally {
        v.dispose()
      }
    }
    return false
  } finally {
    product.dispose()
  }
}

/**
 * The trace, its standard error and the trace of each parameter's block.
 *
 * - maxSamples < 1, a tolerance that is negative or NaN, a bad seed: ERR_OPTION
 * - a product that is not finite: ERR_NUMERIC; the signal: ERR_ABORTED
 */
export async function trace(a: SymmetricOperator, options: SampleOptions = {}): Promise<TraceResult> {
  const samples: number[] = []
  const parts: number[][] = a.parts.map(() => [])
  let last = 0
  const converged = await sample(a, 'trace', options, (v, product, tolerance) => {
    a.parts.forEach((p, i) => {
      parts[i]!.push(
        checkFinite(
          'trace',
          `v A v of ${p.name}`,
          scope(() => innerProduct(partView(v, p), partView(product, p))),
        ),
      )
    })
    samples.push(parts.reduce((sum, list) => sum + list.at(-1)!, 0))
    const next = mean(samples)
    const stop = relativeChange(last, next) < tolerance
    last = next
    return { stop, estimate: next }
  })
  return {
    trace: last,
    standardError: standardError(samples),
    samples,
    converged,
    parts: a.parts.map((p, i) => ({ name: p.name, trace: mean(parts[i]!), standardError: standardError(parts[i]!) })),
  }
}

export interface DiagonalResult {
  /** [size]; belongs to the caller. */
  readonly diagonal: Tensor
  readonly samples: number
  readonly converged: boolean
}

/** The diagonal. Errors as those of `trace`. The stop rule compares norms of the change and of the estimate. */
export async function diagonal(a: SymmetricOperator, options: SampleOptions = {}): Promise<DiagonalResult> {
  const estimate = zeroVector(a)
  let samples = 0
  try {
    const converged = await sample(a, 'diagonal', options, (v, product, tolerance) =>
      scope(() => {
        const d = mul(v, product)
        const before = Math.sqrt(innerProduct(estimate, estimate))
        axpby(d, estimate, -1, 1) // what the sample says beyond the estimate
        const change = checkFinite('diagonal', 'the norm of v * A v', Math.sqrt(innerProduct(d, d))) / ++samples
        axpby(estimate, d, 1 / samples, 1)
        return { stop: change / (before + 1e-6) < tolerance }
      }),
    )
    return { diagonal: estimate, samples, converged }
  } catch (error) {
    estimate.dispose()
    throw error
  }
}
