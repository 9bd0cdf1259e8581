/**
 * LSTM and GRU layers: x [B, T, C] -> [B, T, D H], D directions side by side. Weights carry the names of PyTorch's checkpoints (weight_ih_l0,
 * weight_hh_l0, bias_ih_l0, bias_hh_l0, ..., _reverse), so these load by name; the gate order is theirs too.
 *
 * Matrices have the role `matrix`: passes prune and quantize them like those of a linear layer. The recurrent product runs in f32 on the dense values:
 * a quantized or sparse weight is unpacked for every call, so it saves memory in a file, not time. Kinds that know how to compute the layer (dual) do.
 *
 * The named input `lengths` i32 [B] goes with `x` where sequences end earlier. State between windows of one long text: `ForwardContext.carried`.
 */
import { z } from 'zod'
import { gru as gruOp, lstm as lstmOp, type RecurrentOptions, type RecurrentRun, type RecurrentWeights } from '../ops/index.js'
import { OptionError } from '../base/errors.js'
import type { Tensor } from '../tensor/index.js'
import { mainInput, repeated, type ChannelFlow, type ChannelInput, type Channels } from './channels.js'
import { uniformIn, type Rng } from './init.js'
import { defineModule, join, vector, type ForwardContext, type Module, type ModuleInput, type ModuleKind } from './module.js'
import { streamOf } from './simple.js'

const config = z.strictObject({
  in: z.int().positive(),
  hidden: z.int().positive(),
  layers: z.int().positive().max(64).default(1),
  bidirectional: z.boolean().default(false),
  bias: z.boolean().default(true),
  /** Between layers, while training. */
  dropout: z.number().min(0).lt(1).default(0),
  /** First values lie in +-init; 0 stands for 1 / sqrt(hidden). */
  init: z.number().nonnegative().default(0),
})
export type RecurrentConfig = z.infer<typeof config>

/** Names of the weights of layer l in direction d begin with what they hold and end like this. */
const suffix = (l: number, d: number): string => `_l${l}${d === 1 ? '_reverse' : ''}`

type Cell = 'lstm' | 'gru'
const gatesOf = { lstm: 4, gru: 3 } as const

function weightsOf(cell: Cell, c: RecurrentConfig): ReturnType<ModuleKind<RecurrentConfig>['weights']> {
  const gates = gatesOf[cell] * c.hidden
  const directions = c.bidirectional ? 2 : 1
  const limit = c.init === 0 ? 1 / Math.sqrt(c.hidden) : c.init
  const entry = (shape: readonly number[], role: 'matrix' | 'vector'): ReturnType<typeof weightsOf>[string] => ({
    shape,
    role,
    init: (rng: Rng) =>
      uniformIn(
        shape.reduce((n, d) => n * d, 1),
        limit,
        rng,
      ),
  })
  const out: Record<string, ReturnType<typeof weightsOf>[string]> = {}
  for (let l = 0; l < c.layers; l++)
    for (let d = 0; d < directions; d++) {
      const name = suffix(l, d)
      out[`weight_ih${name}`] = entry([gates, l === 0 ? c.in : directions * c.hidden], 'matrix')
      out[`weight_hh${name}`] = entry([gates, c.hidden], 'matrix')
      if (c.bias) {
        out[`bias_ih${name}`] = entry([gates], 'vector')
        out[`bias_hh${name}`] = entry([gates], 'vector')
      }
    }
  return out
}

function inputs(cell: Cell, input: ModuleInput): { readonly x: Tensor; readonly lengths: Tensor | null } {
  if ('handle' in input) return { x: input as Tensor, lengths: null }
  if (!input.x) throw new OptionError('ERR_OPTION', `${cell}: named inputs must hold x, got ${Object.keys(input).join(', ')}`)
  return { x: input.x, lengths: input.lengths ?? null }
}

function forward(cell: Cell, m: Module, c: RecurrentConfig, input: ModuleInput, ctx: ForwardContext): Tensor {
  const { x, lengths } = inputs(cell, input)
  ctx.observe?.(ctx.path, x)
  const directions = c.bidirectional ? [0, 1] : [0]
  const layers = Array.from({ length: c.layers }, (_, l) =>
    directions.map((d): RecurrentWeights | RecurrentRun => {
      const name = suffix(l, d)
      const [input, own] = [m.weights[`weight_ih${name}`]!, m.weights[`weight_hh${name}`]!]
      const [bih, bhh] = [vector(m, `bias_ih${name}`), vector(m, `bias_hh${name}`)]
      if (own.recurrent && !ctx.training) return { run: (use) => own.recurrent!({ cell, input, bih, bhh, ...use }) }
      return { wih: input.dense(), whh: own.dense(), bih, bhh }
    }),
  )
  const at = (name: string): string => join(ctx.path, name)
  const options: RecurrentOptions = {
    lengths,
    h0: ctx.carried?.get(at('h')) ?? null,
    dropout: ctx.training ? c.dropout : 0,
    seed: ctx.seed,
    stream: (l) => streamOf(at(`l${l}`), ctx.step),
  }
  if (cell === 'gru') {
    const { y, h } = gruOp(x, layers, options)
    ctx.carried?.set(at('h'), h)
    return y
  }
  const { y, h, c: last } = lstmOp(x, layers, { ...options, c0: ctx.carried?.get(at('c')) ?? null })
  ctx.carried?.set(at('h'), h).set(at('c'), last)
  return y
}

/** A hidden unit has a row in every gate and is read by every gate of the next step; all layers and directions have equally many of them. */
function hiddenChannels(cell: Cell, flow: ChannelFlow, c: RecurrentConfig, input: ChannelInput): Channels {
  const x = mainInput(input)
  const from = flow.take(x, 'last', c.in)
  const units = flow.make(c.hidden, 'neuron')
  const directions = c.bidirectional ? 2 : 1
  const gates = repeated(units, gatesOf[cell])
  const out = repeated(units, directions)
  for (let l = 0; l < c.layers; l++)
    for (let d = 0; d < directions; d++) {
      const name = suffix(l, d)
      flow.slice(`weight_ih${name}`, 0, gates, 'filter')
      flow.slice(`weight_ih${name}`, 1, l === 0 ? from : out, 'input')
      flow.slice(`weight_hh${name}`, 0, gates, 'filter')
      flow.slice(`weight_hh${name}`, 1, units, 'input')
      if (c.bias) for (const bias of ['bias_ih', 'bias_hh']) flow.slice(`${bias}${name}`, 0, gates, 'beside')
    }
  flow.resize((count) => ({ in: count(from), hidden: count(units) }))
  return { axis: -1, rank: 3, units: out }
}

/** Long short-term memory; formulas and sources: `lstm` of the ops. */
export const lstm = defineModule<RecurrentConfig>({
  kind: 'lstm',
  config,
  weights: (c) => weightsOf('lstm', c),
  forward: (m, c, x, ctx) => forward('lstm', m, c, x, ctx),
  channels: (flow, c, x) => hiddenChannels('lstm', flow, c, x),
})

/** Gated recurrent unit; formulas and sources: `gru` of the ops. */
export const gru = defineModule<RecurrentConfig>({
  kind: 'gru',
  config,
  weights: (c) => weightsOf('gru', c),
  forward: (m, c, x, ctx) => forward('gru', m, c, x, ctx),
  channels: (flow, c, x) => hiddenChannels('gru', flow, c, x),
})
