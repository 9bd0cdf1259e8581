/** Pruning with a weight update by the second moments of a layer's input: what SparseGPT and OBS share. No training. */
import { z } from 'zod'
import { MaskedWeight, type PlacedWeight } from '../../nn/index.js'
import { cast } from '../../ops/index.js'
import { scope, tensor } from '../../tensor/index.js'
import { convertWeights } from '../convert.js'
import { gramOf, type Gram } from '../observe/gram.js'
import { definePass } from '../pass.js'
import { denseValues } from '../values.js'
import { maskOf, prunable } from './candidates.js'
import type { Columns, Pruned } from './columns.js'
import { bitOf, bitsWhere, structureOf } from './structure.js'

const shared = {
  /** Share of zeros in every weight. */
  sparsity: z.number().min(0).lt(1).optional(),
  /** Instead: n of every m neighbours of a row stay, as '2:4'. */
  structure: z
    .string()
    .max(9)
    .refine((s) => ['weight', 'nm'].includes(structureOf(s)?.kind ?? ''), { message: "must be 'weight', or n:m as '2:4' (n < m <= 64)" })
    .default('weight'),
  /** Added to the diagonal of the second moments, as a share of its mean. */
  damping: z.number().positive().max(10).default(0.01),
  /** Examples to calibrate on. */
  samples: z.int().positive().max(1e7).default(256),
}
export type FittedOptions = z.output<z.ZodObject<typeof shared, z.core.$strict>>

export type Keep = { readonly density: number } | { readonly n: number; readonly m: number }

export function keepOf({ sparsity, structure }: FittedOptions): Keep {
  const form = structureOf(structure)!
  return form.kind === 'nm' ? form : { density: 1 - sparsity! }
}

/** One more way to choose what goes and to change what stays. `prune` sees one group of a layer; `limit`: why a layer of so many columns is left alone. */
export interface Fitted<X extends z.ZodRawShape> {
  readonly name: string
  readonly summary: string
  readonly own: X
  readonly limit?: (cols: number, o: FittedOptions & Record<string, unknown>) => string | undefined
  readonly prune: (
    where: string,
    part: Columns,
    o: FittedOptions & Record<string, unknown>,
    breathe: () => Promise<void>,
  ) => Promise<Pruned>
}

const fits = (t: PlacedWeight): boolean =>
  t.name === 'weight' && (t.role === 'matrix' || t.role === 'kernel') && prunable(t.weight) !== undefined

interface Prepared {
  readonly values: Float32Array
  readonly mask: Uint8Array
}

export function defineFitted<X extends z.ZodRawShape>({ name, summary, own, limit, prune }: Fitted<X>) {
  const options = z.strictObject({ ...shared, ...own }).refine(
    (given) => {
      const o = given as unknown as FittedOptions
      return (o.sparsity === undefined) === (structureOf(o.structure)?.kind === 'nm')
    },
    { message: "give either sparsity, or a structure as '2:4'", path: ['sparsity'] },
  )
  type All = FittedOptions & Record<string, unknown>
  return definePass({
    name,
    version: 1,
    summary,
    options,
    needs: () => ({ calibration: true }),
    roles: ['matrix', 'kernel'],
    ask: (o, targets) => ({
      samples: (o as unknown as All).samples,
      requests: targets.filter(fits).flatMap(({ layer, module }) => {
        const statistic = gramOf(module)
        return statistic ? [{ path: layer, statistic }] : []
      }),
    }),
    plan: (_model, o, facts) => {
      const { sparsity, structure } = o as unknown as All
      return { weights: facts.targets.filter(fits).length, sparsity: sparsity ?? structure }
    },
    apply: (model, context) =>
      convertWeights<unknown, Prepared | string>(model, context as never, {
        task: name,
        prepare: async (target) => {
          if (!fits(target)) return `${target.weight.description} with role ${target.role} is not a layer's floating weight`
          const statistic = gramOf(target.module)
          if (!statistic) return `layers of kind ${target.module.kind} do not say what their products see`
          const gram = context.statistic(target.layer, statistic)
          if (!gram || gram.count === 0) return 'no calibration example reached this layer'
          const o = context.options as unknown as All
          const why = limit?.(gram.width, o)
          if (why) return why
          const { values, mask, error, masked } = await layer(`${name}: ${target.path}`, target, gram, (where, part) =>
            prune(where, part, o, context.breathe),
          )
          if (masked > 0) context.note(`output error ${(error / masked).toFixed(3)} of that without the update`, target.path)
          return { values, mask }
        },
        convert: ({ weight }, found) => {
          if (typeof found === 'string') return { left: found }
          const value = tensor(found.values, weight.shape)
          const { dtype } = prunable(weight)!.value
          return scope(() => new MaskedWeight(dtype === 'f32' ? value : cast(value, dtype), tensor(found.mask)))
        },
      }),
  })
}

/** All groups of a layer. */
async function layer(
  where: string,
  { weight }: PlacedWeight,
  { groups, width: cols, products }: Gram,
  prune: (where: string, part: Columns) => Promise<Pruned>,
): Promise<Prepared & { readonly error: number; readonly masked: number }> {
  const values = denseValues(weight)
  const before = maskOf(prunable(weight)!)
  const rows = values.length / cols / groups
  const out = new Float32Array(values.length)
  const kept = new Uint8Array(values.length)
  let [error, masked] = [0, 0]
  for (let g = 0; g < groups; g++) {
    const [from, to] = [g * rows * cols, (g + 1) * rows * cols]
    const alive = Uint8Array.from({ length: to - from }, (_, i) => (before ? bitOf(before, from + i) : 1))
    const own = products.subarray(g * cols * cols, (g + 1) * cols * cols)
    const done = await prune(where, { values: values.subarray(from, to), rows, cols, alive, products: own })
    out.set(done.q, from)
    kept.set(done.kept, from)
    error += done.error
    masked += done.masked
  }
  return { values: out, mask: bitsWhere(values.length, (i) => kept[i] === 1), error, masked }
}
