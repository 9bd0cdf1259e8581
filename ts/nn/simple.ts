/** Layers without weights, and the container. */
import { z } from 'zod'
import { add, dropout as dropoutOp, mul, reshape, scaleShift } from '../ops/index.js'
import { tensor, type Tensor } from '../tensor/index.js'
import { freezesChannels, isSecond, keepsChannels, mainInput, type ChannelInput } from './channels.js'
import { defineModule, join, moduleKind, release, runChild, single, type Module, type ModuleSpec } from './module.js'

const flattenConfig = z.strictObject({})
/** [B, ...] -> [B, product]. */
export const flatten = defineModule<z.infer<typeof flattenConfig>>({
  kind: 'flatten',
  config: flattenConfig,
  weights: () => ({}),
  forward: (_m, _c, input) => {
    const x = single('flatten', input)
    return reshape(x, [x.shape[0]!, x.shape.slice(1).reduce((a, b) => a * b, 1)])
  },
  channels: (flow, _c, input) => {
    const x = mainInput(input)
    if (!x || x.rank === 2) return x
    // Channel by channel: each one becomes a run of elements.
    if (isSecond(x) && !x.runs) return { axis: 1, rank: 2, units: x.units, runs: true }
    flow.freeze(x, 'flattened across its channels')
    return null
  },
})

const dropoutConfig = z.strictObject({ p: z.number().min(0).lt(1) })
/** Zeroes values with probability p while training and scales the rest by 1 / (1 - p); draws depend on (seed, step, path) only. */
export const dropout = defineModule<z.infer<typeof dropoutConfig>>({
  kind: 'dropout',
  config: dropoutConfig,
  weights: () => ({}),
  forward: (_m, c, input, ctx) => {
    const x = single('dropout', input)
    return ctx.training && c.p > 0 ? dropoutOp(x, c.p, { seed: ctx.seed, stream: streamOf(ctx.path, ctx.step) }) : x
  },
  channels: keepsChannels,
})

/** A stream number per (path, step): FNV-1a of the path in the high part, the step below; both stay exact integers. */
export function streamOf(path: string, step: number): number {
  let h = 2166136261
  for (let i = 0; i < path.length; i++) h = Math.imul(h ^ path.charCodeAt(i), 16777619) >>> 0
  return (h & 0xfffff) * 2 ** 32 + (step % 2 ** 32)
}

function orderOf(m: Module): 'clamps' | 'selects' | undefined {
  const kind = moduleKind(m.kind)
  return kind.order?.(m.config)
}

/** x as it is, of named inputs `x`: what stands where a block was left out. */
export const identity = defineModule<z.infer<typeof flattenConfig>>({
  kind: 'identity',
  config: flattenConfig,
  weights: () => ({}),
  forward: (_m, _c, input) => ('handle' in input ? (input as Tensor) : single('identity', input.x ?? input)),
  channels: keepsChannels,
})

const affineConfig = z
  .strictObject({
    /** One number for each element of the last dimension. */
    scale: z.array(z.number().positive().finite()).min(1).max(65_536),
    shift: z.array(z.number().finite()),
  })
  .refine((c) => c.shift.length === c.scale.length, 'shift must have as many numbers as scale')
/**
 * x [..., N] -> x * scale + shift with constants that are not trained: from what a net computes with to the units of what it predicts. Lists of other
 * lengths, a scale that is not positive: ERR_OPTION.
 *
 * @example
 * affine({ scale: [25.5], shift: [180] })   // behind the last layer: centimetres
 */
export const affine = defineModule<z.infer<typeof affineConfig>>({
  kind: 'affine',
  config: affineConfig,
  weights: () => ({}),
  forward: (_m, { scale, shift }, input) => {
    const x = single('affine', input)
    if (scale.length === 1) return scaleShift(x, scale[0]!, shift[0])
    return add(mul(x, tensor(Float32Array.from(scale))), tensor(Float32Array.from(shift)))
  },
  channels: freezesChannels('each channel has its own units'),
})

const sequentialConfig = z.strictObject({})
const makeSequential = defineModule<z.infer<typeof sequentialConfig>>({
  kind: 'sequential',
  config: sequentialConfig,
  weights: () => ({}),
  forward: (m, _c, input, ctx) => {
    const names = Object.keys(m.children)
    // Whoever looks on sees each layer as it stands.
    const order = ctx.output ? [] : names.map((name) => orderOf(m.children[name]!))
    for (let i = 0; i + 1 < names.length; i++)
      if (order[i] === 'clamps' && order[i + 1] === 'selects') names.splice(i, 2, names[i + 1]!, names[i]!)
    let x = input
    for (let i = 0; i < names.length; i++) {
      const name = names[i]!
      const child = m.children[name]!
      const next = i + 1 < names.length && !ctx.output ? m.children[names[i + 1]!] : undefined
      const both = next && moduleKind(child.kind).absorb?.(child, child.config, next)
      const y = both ? both(child, child.config, x, { ...ctx, path: join(ctx.path, name) }) : runChild(m, name, x, ctx)
      // Only this container held x, unless the child hands it on.
      if (i > 0 && y !== x && 'handle' in x) release(x as Tensor, ctx)
      x = y
      if (both) i++
    }
    return single('sequential', x)
  },
  channels: (flow, _c, input, m) => {
    let x: ChannelInput = input
    for (const name of Object.keys(m.children)) x = flow.child(name, x)
    return mainInput(x)
  },
})

/** Runs its children in the order of their names' insertion. */
export function sequential(children: Readonly<Record<string, ModuleSpec>>): ModuleSpec {
  return makeSequential({}, children)
}
