/**
 * Weight sharing (Han, Mao, Dally 2016, "Deep compression: Compressing deep neural networks with pruning, trained quantization and Huffman coding", section 3): the values of a
 * tensor, of each row or of each group become k numbers, found by k-means; a value costs log2 k bits, a table 4 k bytes (2 k in f16). Tables train on: a retraining
 * pass behind this one moves their entries by the summed gradients (the paper's equation 3). With `weighting: 'input'` an error of a column counts by the mean square of
 * its input (calibration data), as the diagonal of the second moments has it.
 */
import { z } from 'zod'
import { sizeOf } from '../../base/shape.js'
import { CodebookWeight, type PlacedWeight } from '../../nn/index.js'
import { cast } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { gramOf } from '../observe/gram.js'
import { definePass, type PassContext } from '../pass.js'
import { checkFinite } from '../train/working-copy.js'
import { denseValues } from '../values.js'
import { groupCount } from './grid.js'
import { kmeans, nearestCentre } from './kmeans.js'
import { meanSquares } from './output-codes.js'

const NAME = 'quantize/codebook'

const options = z.strictObject({
  /** Of a code; tables have 2^bits entries at most. */
  bits: z.int().min(2).max(8).default(4),
  layout: z.enum(['tensor', 'row', 'group']).default('tensor'),
  /** Most values that share a table where layout is 'group'; groups are equal, so a row may get smaller ones. */
  groupSize: z
    .int()
    .min(4)
    .max(2 ** 20)
    .default(256),
  /** What an error counts: all the same, or by the input of its column ('input' needs data). */
  weighting: z.enum(['none', 'input']).default('none'),
  tables: z.enum(['f32', 'f16']).default('f32'),
  iterations: z.int().min(1).max(10000).default(100),
  /** Examples to calibrate on, with weighting 'input'. */
  samples: z.int().positive().max(1e7).default(256),
})
type CodebookOptions = z.output<typeof options>

interface Prepared {
  readonly codes: Int8Array
  readonly table: Float32Array
  readonly matrix: readonly [number, number]
  readonly entries: number
  readonly zero: boolean
}

export const codebook = definePass({
  name: NAME,
  version: 1,
  summary: 'weights become entries of small tables found by k-means',
  options,
  needs: (o) => ({ calibration: o.weighting === 'input' }),
  roles: ['matrix', 'kernel', 'table'],
  ask: (o, targets) => ({
    samples: o.samples,
    requests: targets.flatMap(({ layer, module, name }) => {
      const statistic = o.weighting === 'input' && name === 'weight' ? gramOf(module) : undefined
      return statistic ? [{ path: layer, statistic }] : []
    }),
  }),
  apply: (model, context) => {
    const o = context.options
    return convertWeights<CodebookOptions, Prepared | string>(model, context, {
      task: NAME,
      prepare: (target) => prepare(target, context),
      convert: ({ weight }, found) => {
        if (typeof found === 'string') return { left: found }
        const { codes, table, matrix, entries, zero } = found
        return new CodebookWeight({
          shape: weight.shape,
          codes: tensor(codes, matrix),
          table: tensor(table),
          bits: o.bits,
          entries,
          layout: o.layout,
          zero,
          tableDtype: o.tables,
        })
      },
    })
  },
})

/** Equal groups of at most `size` values: the fewest that divide the columns. */
function equalGroups(cols: number, size: number): number {
  let groups = groupCount(cols, size)
  while (cols % groups !== 0) groups++
  return groups
}

async function prepare(target: PlacedWeight, context: PassContext<CodebookOptions>): Promise<Prepared | string> {
  const { options: o, breathe } = context
  const { weight, path } = target
  if (weight.trainable().length === 0 || weight.shape.length < 2) return `${weight.description} is not a floating matrix`
  scope(() => checkFinite(NAME, 'weight', path, weight.dense()))
  const values = denseValues(weight)
  const rows = weight.shape[0]!
  const cols = sizeOf(weight.shape.slice(1))
  const importance = importanceOf(target, context)
  const tables = o.layout === 'tensor' ? 1 : o.layout === 'row' ? rows : rows * equalGroups(cols, o.groupSize)
  // Zeros of pruned weights are the first entry of every table.
  const zero = weight.trainable().some(({ mask }) => mask !== null)
  const entries = 2 ** o.bits
  const half = entries / 2
  const size = values.length / Math.max(1, tables)
  const codes = new Int8Array(values.length)
  const table = new Float32Array(tables * entries)
  let [error, norm] = [0, 0]
  for (let t = 0; t < tables; t++) {
    const run = values.subarray(t * size, (t + 1) * size)
    const counts = importance && Float32Array.from(run, (_, i) => importance[importanceIndex(t * size + i, rows, cols, importance.length)]!)
    const kept = zero ? indicesOfNonzeros(run) : undefined
    const found = kmeans(
      kept ? kept.map((i) => run[i]!) : run,
      zero ? entries - 1 : entries,
      kept && counts ? kept.map((i) => counts[i]!) : counts,
      o.iterations,
    )
    const centres = rounded(found.centres, o.tables)
    const from = t * entries + (zero ? 1 : 0)
    // Entries that no value needs repeat the last one: a table has a fixed size.
    for (let c = 0; c < (zero ? entries - 1 : entries); c++) table[from + c] = centres[Math.min(c, centres.length - 1)]!
    for (let i = 0; i < run.length; i++) {
      const code = zero && run[i] === 0 ? 0 : nearestCentre(centres, run[i]!) + (zero ? 1 : 0)
      codes[t * size + i] = code - half
      const counted = counts?.[i] ?? 1
      error += counted * (run[i]! - table[t * entries + code]!) ** 2
      norm += counted * run[i]! ** 2
    }
    if (t % 64 === 0 || size > 4096) await breathe()
  }
  context.note(
    `${importance ? 'input-weighted ' : ''}squared error ${(norm > 0 ? error / norm : 0).toExponential(2)} of the squared weights`,
    path,
  )
  return { codes, table, matrix: [rows, cols], entries, zero }
}

const importanceIndex = (i: number, rows: number, cols: number, size: number): number =>
  Math.floor((Math.floor(i / cols) * (size / cols)) / rows) * cols + (i % cols)

/** What errors of columns count, by group of channels; undefined: all the same. */
function importanceOf({ module, layer, path, name }: PlacedWeight, context: PassContext<CodebookOptions>): Float32Array | undefined {
  if (context.options.weighting === 'none') return undefined
  const statistic = name === 'weight' ? gramOf(module) : undefined
  const gram = statistic && context.statistic(layer, statistic)
  if (gram && gram.count > 0) return meanSquares(gram)
  context.note('all errors count the same: nothing is known of the inputs of this layer', path)
  return undefined
}

function indicesOfNonzeros(run: Float32Array): number[] {
  const out: number[] = []
  for (let i = 0; i < run.length; i++) if (run[i] !== 0) out.push(i)
  return out
}

/** Entries as they are stored; they stay in order. Beyond f16 they stay f32. */
function rounded(centres: Float64Array, dtype: 'f32' | 'f16'): Float32Array {
  const single = Float32Array.from(centres)
  if (dtype === 'f32' || single.some((v) => Math.abs(v) > 65504)) return single
  return scope(() => cast(cast(tensor(single), 'f16'), 'f32').read() as Float32Array)
}
