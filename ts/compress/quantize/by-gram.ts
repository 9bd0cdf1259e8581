/** What the passes share that round a layer's weight by the second moments of its input: options, the layers that fit, what is asked of the data, and storing the codes. */
import { z } from 'zod'
import { QuantizedWeight, type PlacedWeight, type QuantizedLayout } from '../../nn/index.js'
import { tensor } from '../../tensor/index.js'
import { gramOf, type Gram } from '../observe/gram.js'
import type { Statistic } from '../observe/statistic.js'
import type { PassContext } from '../pass.js'
import { findGrids, type Encoding } from './encode.js'
import { halfScales } from './half.js'
import { meanSquares } from './output-codes.js'

export const codeOptions = {
  bits: z.int().min(2).max(8).default(4),
  mode: z.enum(['symmetric', 'affine']).default('affine'),
  /** Most values that share a scale where layout is 'group'; rows that it does not divide are cut evenly. */
  groupSize: z
    .int()
    .min(2)
    .max(2 ** 20)
    .default(32),
  scales: z.enum(['f32', 'f16']).default('f16'),
  /** Examples to calibrate on. */
  samples: z.int().positive().max(1e7).default(256),
}

export const gridOptions = {
  layout: z.enum(['tensor', 'channel', 'group']).default('group'),
  /** Scales: of the whole range, of the smallest squared error, or of the smallest squared error weighted by the mean square of each column's input. */
  range: z.enum(['max', 'mse', 'output']).default('output'),
}

interface CodeOptions {
  readonly bits: number
  readonly mode: 'symmetric' | 'affine'
  readonly groupSize: number
  readonly scales: 'f32' | 'f16'
  readonly samples: number
  readonly layout: QuantizedLayout
}

/** Floating weights of layers that multiply. */
export function fitsGram({ weight, role, name }: PlacedWeight): boolean {
  return (role === 'matrix' || role === 'kernel') && name === 'weight' && weight.trainable().length > 0
}

type Request = { readonly path: string; readonly statistic: Statistic<unknown> }

/** What a pass asks of the data: second moments, and what `also` adds, of layers that have all of it. */
export function askGrams(
  { samples }: { readonly samples: number },
  targets: readonly PlacedWeight[],
  also: readonly ((module: PlacedWeight['module']) => Statistic<unknown> | undefined)[] = [],
): { samples: number; requests: Request[] } {
  const requests = targets.filter(fitsGram).flatMap(({ layer, module }) => {
    const wanted = [gramOf, ...also].map((statistic) => statistic(module))
    return wanted.every((s) => s !== undefined) ? wanted.map((statistic) => ({ path: layer, statistic })) : []
  })
  return { samples, requests }
}

/** The second moments of a layer's input, or why it is left alone. */
export function gramFor<O>(target: PlacedWeight, context: PassContext<O>): Gram | string {
  if (!fitsGram(target)) return `${target.weight.description} with role ${target.role} is not a layer's floating weight`
  const statistic = gramOf(target.module)
  if (!statistic) return `layers of kind ${target.module.kind} do not say what their products see`
  const gram = context.statistic(target.layer, statistic)
  return !gram || gram.count === 0 ? 'no calibration example reached this layer' : gram
}

/** Scales before any rounding: those that will be stored. */
export async function gramGrids(
  where: string,
  target: PlacedWeight,
  gram: Gram,
  o: CodeOptions & { readonly range: 'max' | 'mse' | 'output' },
  breathe: () => Promise<void>,
): Promise<{ readonly encoding: Encoding; readonly scales: Float32Array; readonly halves: boolean }> {
  const search = o.range === 'output' ? ({ range: 'mse', importance: meanSquares(gram) } as const) : { range: o.range }
  const encoding = await findGrids(where, target.path, target.weight, { ...o, symmetric: o.mode === 'symmetric', ...search }, breathe)
  const found = Float32Array.from(encoding.grids, (g) => g.scale)
  const half = o.scales === 'f16' ? halfScales(found) : undefined
  return { encoding, scales: half ?? found, halves: half !== undefined }
}

/** Codes of a weight with their scales, as plain arrays. */
export interface Codes {
  readonly matrix: readonly [rows: number, cols: number]
  /** Of scale and zero. */
  readonly shape: readonly [number, number]
  readonly q: Int8Array
  readonly scale: Float32Array
  readonly zero: Float32Array | null
  /** The scales are exact in f16. */
  readonly halves: boolean
}

/** The weight of these codes, with a note where scales do not fit f16. */
export function codesWeight<O extends CodeOptions>(
  { path, weight }: PlacedWeight,
  codes: Codes,
  { options, note }: PassContext<O>,
): QuantizedWeight {
  if (options.scales === 'f16' && !codes.halves) note('scales stored as f32: some lie outside the range of f16', path)
  return new QuantizedWeight({
    shape: weight.shape,
    bits: options.bits,
    layout: options.layout,
    scaleDtype: codes.halves ? 'f16' : 'f32',
    q: tensor(codes.q, codes.matrix),
    scale: tensor(codes.scale, codes.shape),
    zero: codes.zero && tensor(codes.zero, codes.shape),
  })
}

/** From grids and codes on them. */
export function codesOf(
  { rows, cols, grids, shape }: Encoding,
  scale: Float32Array,
  halves: boolean,
  q: Int8Array,
  symmetric: boolean,
): Codes {
  return { matrix: [rows, cols], shape, q, scale, zero: symmetric ? null : Float32Array.from(grids, (g) => g.zero), halves }
}
