/** Convolutions: x [B, C, H, W] or [B, C, L]. The attributes mean what they mean in ts/ops `conv2d`, `conv1d`, `convTranspose2d`. */
import { z } from 'zod'
import { blocks, mainInput, stretched, type ChannelFlow, type ChannelInput, type Channels, type Units } from './channels.js'
import { filled, initial, initRules, type InitRule } from './init.js'
import { conv1d as slide1d, conv2d as slide2d, conv2dMaxPool, narrowed, narrowedResult, permute, reshape } from '../ops/index.js'
import type { Tensor } from '../tensor/index.js'
import { defineModule, single, vector, type Module, type ModuleKind, type ModuleSpec } from './module.js'
import type { PoolConfig } from './pool.js'
import { pickers } from './weight/patches.js'

const size = z
  .int()
  .positive()
  .lt(2 ** 24)
const zeros = z
  .int()
  .nonnegative()
  .lt(2 ** 24)
const pair = z.tuple([size, size])
const common = {
  in: z.int().positive(),
  out: z.int().positive(),
  /** Runs of channels that see each other only; `in` and `out` are multiples. in groups are a depthwise convolution. */
  groups: z.int().positive().default(1),
  bias: z.boolean().default(true),
  init: z.enum(initRules).default('he'),
}
const fits = (c: { readonly in: number; readonly out: number; readonly groups: number }): boolean =>
  c.in % c.groups === 0 && c.out % c.groups === 0
const misfit = { error: 'in and out must be multiples of groups', path: ['groups'] }

type Weights = ReturnType<ModuleKind['weights']>

/** Filters of `shape` whose sums run over `fanIn` values, and the bias. */
function filters(
  c: { readonly out: number; readonly bias: boolean; readonly init: InitRule },
  shape: readonly number[],
  fanIn: number,
  fanOut: number,
): Weights {
  const n = shape.reduce((a, b) => a * b, 1)
  return {
    weight: { shape, role: 'kernel', init: (rng) => initial(c.init, n, { in: fanIn, out: fanOut }, rng) },
    ...(c.bias ? { bias: { shape: [c.out], role: 'vector' as const, init: () => filled(c.out, 0) } } : {}),
  }
}

interface Grouped {
  readonly in: number
  readonly out: number
  readonly groups: number
  readonly bias: boolean
}

/**
 * Channels of a convolution. In groups, the same place in every group goes together; of a depthwise one (a channel per group) a whole group goes.
 * `turned`: the weight is [in, out / groups, ...].
 */
function filterChannels(flow: ChannelFlow, c: Grouped, input: ChannelInput, turned = false): Channels {
  const x = mainInput(input)
  const { groups } = c
  const [fromSize, size] = [c.in / groups, c.out / groups]
  const from = flow.take(x, 'second', c.in)
  const units = flow.make(c.out, 'filter')
  const depthwise = groups > 1 && fromSize === 1
  if (depthwise) flow.couple(stretched(from, size), units)
  else if (groups > 1)
    for (const [all, length] of [
      [from, fromSize],
      [units, size],
    ] as const)
      flow.couple(...blocks(all, length))
  const inner = (all: Units, length: number): Units => all.slice(0, length)
  if (turned) {
    flow.slice('weight', 0, from, depthwise ? 'filter' : 'input')
    if (!depthwise) flow.slice('weight', 1, inner(units, size), 'filter')
  } else {
    flow.slice('weight', 0, units, 'filter')
    if (!depthwise) flow.slice('weight', 1, inner(from, fromSize), 'input')
  }
  if (c.bias) flow.slice('bias', 0, units, 'beside')
  flow.resize((count) => ({ in: count(from), out: count(units), groups: depthwise ? count(from) : groups }))
  return { axis: 1, units, ...(x?.rank === undefined ? {} : { rank: x.rank }) }
}

const conv2dConfig = z
  .strictObject({
    ...common,
    kernel: pair,
    stride: pair.default([1, 1]),
    /** [height, width], [[top, bottom], [left, right]] or 'same'. */
    padding: z
      .union([z.tuple([zeros, zeros]), z.tuple([z.tuple([zeros, zeros]), z.tuple([zeros, zeros])]), z.literal('same')])
      .default([0, 0]),
    dilation: pair.default([1, 1]),
  })
  .refine(fits, misfit)
export type Conv2dConfig = z.infer<typeof conv2dConfig>

/** The pool of windows that do not overlap which `next` is, if convolution and pooling can be one op. */
function pooling(m: Module, c: Conv2dConfig, next: Module): readonly [number, number] | undefined {
  if (next.kind !== 'maxPool2d' || c.groups !== 1 || c.dilation.some((d) => d !== 1) || !isPair(c.padding)) return undefined
  const { kind } = m.weights.weight!
  const { kernel, stride, padding, ceil } = next.config as PoolConfig
  const apart = kernel.every((k, i) => k === stride[i] && padding[i] === 0) && !ceil
  return apart && (kind === 'dense' || kind === 'masked') ? kernel : undefined
}
const isPair = (p: Conv2dConfig['padding']): p is [number, number] => typeof p[0] === 'number'

const makeConv2d = defineModule<Conv2dConfig>({
  kind: 'conv2d',
  config: conv2dConfig,
  absorb: (m, c, next) => {
    const pool = pooling(m, c, next)
    if (!pool) return undefined
    return (_m, _c, input, ctx) => {
      const x = single('conv2d', input)
      ctx.observe?.(ctx.path, x)
      const options = { stride: c.stride, padding: c.padding as [number, number], pool }
      return narrowedResult(conv2dMaxPool(narrowed(x), narrowed(m.weights.weight!.dense()), narrowed(vector(m, 'bias')), options))
    }
  },
  weights: (c) => {
    const taps = c.kernel[0] * c.kernel[1]
    return filters(c, [c.out, c.in / c.groups, ...c.kernel], (c.in / c.groups) * taps, (c.out / c.groups) * taps)
  },
  forward: (m, c, input, ctx) => {
    const x = single('conv2d', input)
    ctx.observe?.(ctx.path, x)
    const { stride, padding, dilation, groups } = c
    return m.weights.weight!.apply(x, { op: 'conv2d', bias: vector(m, 'bias'), stride, padding, dilation, groups }, ctx)
  },
  channels: (flow, c, x) => filterChannels(flow, c, x),
  columns: ({ kernel, stride, padding, dilation, groups }, x) =>
    folded(slide2d(x, pickers(x.shape[1]!, kernel), null, { stride, padding, dilation, groups: x.shape[1]! }), groups),
})

/** What they fetched, [B, channels * taps, ...space] -> [groups, channels / groups * taps, B * space]. */
function folded(fetched: Tensor, groups: number): Tensor {
  const [b, rows] = fetched.shape as [number, number]
  const space = fetched.size / (b * rows)
  return reshape(permute(reshape(fetched, [b, rows, space]), [1, 0, 2]), [groups, rows / groups, b * space])
}

/** What may be left out of a configuration. */
type Defaults<C, K extends keyof C> = Omit<C, K> & Partial<Pick<C, K>>

/** [B, in, H, W] -> [B, out, H', W'] with H' = floor((H + zeros - dilation (kernel - 1) - 1) / stride) + 1. Weight [out, in / groups, kh, kw]. */
export function conv2d(config: Defaults<Conv2dConfig, 'stride' | 'padding' | 'dilation' | 'groups' | 'bias' | 'init'>): ModuleSpec {
  return makeConv2d(config as Conv2dConfig)
}

const conv1dConfig = z
  .strictObject({
    ...common,
    kernel: size,
    stride: size.default(1),
    padding: z.union([zeros, z.tuple([zeros, zeros]), z.enum(['same', 'causal'])]).default(0),
    dilation: size.default(1),
  })
  .refine(fits, misfit)
export type Conv1dConfig = z.infer<typeof conv1dConfig>

const makeConv1d = defineModule<Conv1dConfig>({
  kind: 'conv1d',
  config: conv1dConfig,
  weights: (c) => filters(c, [c.out, c.in / c.groups, c.kernel], (c.in / c.groups) * c.kernel, (c.out / c.groups) * c.kernel),
  forward: (m, c, input, ctx) => {
    const x = single('conv1d', input)
    ctx.observe?.(ctx.path, x)
    const { stride, padding, dilation, groups } = c
    return m.weights.weight!.apply(x, { op: 'conv1d', bias: vector(m, 'bias'), stride, padding, dilation, groups }, ctx)
  },
  channels: (flow, c, x) => filterChannels(flow, c, x),
  columns: ({ kernel, stride, padding, dilation, groups }, x) =>
    folded(slide1d(x, pickers(x.shape[1]!, [kernel]), null, { stride, padding, dilation, groups: x.shape[1]! }), groups),
})

/** [B, in, L] -> [B, out, L']. Weight [out, in / groups, kernel]. */
export function conv1d(config: Defaults<Conv1dConfig, 'stride' | 'padding' | 'dilation' | 'groups' | 'bias' | 'init'>): ModuleSpec {
  return makeConv1d(config as Conv1dConfig)
}

const transposeConfig = z
  .strictObject({
    ...common,
    kernel: pair,
    stride: pair.default([1, 1]),
    padding: z.tuple([zeros, zeros]).default([0, 0]),
    outputPadding: z.tuple([zeros, zeros]).default([0, 0]),
    dilation: pair.default([1, 1]),
  })
  .refine(fits, misfit)
export type ConvTranspose2dConfig = z.infer<typeof transposeConfig>

const makeTranspose = defineModule<ConvTranspose2dConfig>({
  kind: 'convTranspose2d',
  config: transposeConfig,
  weights: (c) => {
    const taps = c.kernel[0] * c.kernel[1]
    return filters(c, [c.in, c.out / c.groups, ...c.kernel], (c.in / c.groups) * taps, (c.out / c.groups) * taps)
  },
  forward: (m, c, input, ctx) => {
    const x = single('convTranspose2d', input)
    ctx.observe?.(ctx.path, x)
    const { stride, padding, outputPadding, dilation, groups } = c
    return m.weights.weight!.apply(
      x,
      { op: 'convTranspose2d', bias: vector(m, 'bias'), stride, padding, outputPadding, dilation, groups },
      ctx,
    )
  },
  channels: (flow, c, x) => filterChannels(flow, c, x, true),
})

/** [B, in, H, W] -> [B, out, H', W'], H' = (H - 1) stride - 2 padding + dilation (kernel - 1) + outputPadding + 1. Weight [in, out / groups, kh, kw]. */
export function convTranspose2d(
  config: Defaults<ConvTranspose2dConfig, 'stride' | 'padding' | 'outputPadding' | 'dilation' | 'groups' | 'bias' | 'init'>,
): ModuleSpec {
  return makeTranspose(config as ConvTranspose2dConfig)
}
