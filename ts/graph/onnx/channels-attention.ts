/** How heads go through attention: as products of matrices that stand side by side, or as one node. Traits that rows name (define.ts). */
import { headChannels, type Channels } from '../../nn/channels.js'
import { intAttribute, type ChannelContext, type OnnxChannels } from '../define.js'

const freezeAll = (ctx: ChannelContext, inputs: readonly (Channels | null)[], reason: string): readonly null[] => {
  for (const x of inputs) ctx.flow.freeze(x, reason)
  return []
}

/** Products of matrices of two values: units stand side by side, along one and the same axis before the last two. They are heads then. */
export const multipliesHeads: OnnxChannels = (ctx, inputs) => {
  const [a = null, b = null] = inputs
  const rank = ctx.outputs[0]?.shape?.length
  const fromEnd = (x: Channels | null): number => (x?.rank === undefined || x.runs ? NaN : x.rank - x.axis)
  const swaps = ['transBatchA', 'transBatchB'].some((name) => intAttribute(ctx.node, name, 0) !== 0)
  if (!a || !b) return freezeAll(ctx, inputs, `${ctx.label} multiplies it with what cannot be followed`)
  if (rank === undefined || swaps || !(fromEnd(a) > 2) || fromEnd(a) !== fromEnd(b) || a.units.length !== b.units.length)
    return freezeAll(ctx, inputs, `${ctx.label} sums over its channels, or has them along other axes`)
  ctx.flow.couple(a.units, b.units)
  for (const unit of a.units) ctx.flow.merge([unit], 'head')
  return [{ axis: rank - fromEnd(a), rank, units: a.units }]
}

interface AttentionNames {
  /** Attributes with the number of heads of queries, and of keys. */
  readonly queries: string
  readonly keys: string
  /** The input that adds a bias to queries, keys and values. */
  readonly bias?: number
}

/** One node that takes queries, keys and values: [B, T, heads D], or [B, heads, T, D]. */
export const attends =
  ({ queries, keys, bias }: AttentionNames): OnnxChannels =>
  (ctx, inputs) => {
    const { node, flow, label } = ctx
    const [q = null, k = null, v = null] = inputs
    const refuse = (reason: string): readonly null[] => freezeAll(ctx, inputs, `${label}${reason}`)
    if (!q || !k || !v) return refuse(': one of queries, keys and values cannot be followed')
    const flat = q.rank === 3
    const axis = flat ? 2 : 1
    if ([q, k, v].some((x) => x.rank !== (flat ? 3 : 4) || x.axis !== axis || x.runs)) return refuse(' has its channels along other axes')
    if (node.outputs.slice(1).some(Boolean)) return refuse(' gives out keys, values or scores')
    // Masks that differ by head, and keys of earlier calls.
    const others = node.inputs.flatMap((name, i) => (i > 2 && i !== bias && name !== '' ? [i] : []))
    const byHead = (i: number): boolean => {
      const shape = ctx.inputs[i]?.shape
      if (inputs[i] || !shape) return true
      // ONNX Runtime's mask of keys is [B, T, S] without heads.
      const d = node.domain === 'com.microsoft' && shape.length === 3 ? 1 : shape[shape.length - 3]
      return d !== undefined && d !== 1
    }
    if (others.some(byHead)) return refuse(' takes a value with heads of its own')
    const [n, m] = flat ? [intAttribute(node, queries, 1), intAttribute(node, keys, 1)] : [q.units.length, k.units.length]
    if (n % m !== 0) return refuse(`: ${n} heads do not share ${m} heads of keys`)
    const name = bias === undefined ? undefined : ctx.parameter(bias)
    const whole = [q, k, v].flatMap((x) => x.units)
    if (bias !== undefined && node.inputs[bias]) {
      const shape = ctx.inputs[bias]?.shape
      if (name === undefined || shape?.length !== 1 || shape[0] !== whole.length) return refuse(' adds a bias that cannot be cut')
      flow.slice(name, 0, whole, 'beside')
    }
    const { heard, query, key } = headChannels(flow, { queries: n, keys: m }, [q, k, v])
    if (heard && flat)
      ctx.rewrite((old, count) => ({
        ...old,
        attributes: {
          ...old.attributes,
          [keys]: { type: 'int', value: (count(key) * m) / key.length },
          [queries]: { type: 'int', value: (count(query) * n) / query.length },
        },
      }))
    return [heard]
  }
