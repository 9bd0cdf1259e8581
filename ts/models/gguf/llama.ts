/**
 * Llama and Qwen2 in GGUF (llama-arch.cpp, LLM_ARCH_LLAMA and LLM_ARCH_QWEN2). Llama's rotary features are pairs of neighbours there: rows of the query and key
 * projections stand in another order within each head (convert_hf_to_gguf.py, LlamaModel.permute). Llama 3's long waves are a tensor of divisors, `rope_freqs`.
 */
import type { GgufScalar, GgufSource } from '../../formats/index.js'
import { rotaryDivisors } from '../../nn/index.js'
import { copy, permute, reshape } from '../../ops/index.js'
import { scope, type Tensor } from '../../tensor/index.js'
import type { RotaryConfig, TransformerConfig } from '../transformer/body.js'
import {
  bodyWith,
  f32,
  inRows,
  metadataWith,
  refuseFirst,
  u32,
  wrongBodies,
  type GgufArchitecture,
  type GgufFacts,
  type GgufRows,
} from './architecture.js'

const rows: GgufRows = [
  ['body.words', 'token_embd'],
  ['body.layer*.norm1', 'blk.*.attn_norm'],
  ['body.layer*.attention.query', 'blk.*.attn_q'],
  ['body.layer*.attention.key', 'blk.*.attn_k'],
  ['body.layer*.attention.value', 'blk.*.attn_v'],
  ['body.layer*.attention.output', 'blk.*.attn_output'],
  ['body.layer*.norm2', 'blk.*.ffn_norm'],
  ['body.layer*.gate', 'blk.*.ffn_gate'],
  ['body.layer*.up', 'blk.*.ffn_up'],
  ['body.layer*.down', 'blk.*.ffn_down'],
  ['body.norm', 'output_norm'],
  ['decoder', 'output'],
]
const EPS = 'attention.layer_norm_rms_epsilon'
const DIVISORS = 'rope_freqs.weight'

/** Rows [heads, a, b] of a weight in the order [heads, b, a]: from halves (a = 2) to neighbours, and back (b = 2). */
function reordered(t: Tensor, heads: number, toNeighbours: boolean): Tensor {
  const half = t.shape[0]! / heads / 2
  const columns = t.size / t.shape[0]!
  return scope(() =>
    copy(reshape(permute(reshape(t, [heads, toNeighbours ? 2 : half, toNeighbours ? half : 2, columns]), [0, 2, 1, 3]), t.shape)),
  )
}
/** Features i and i + half become neighbours. */
export const toNeighbours = (t: Tensor, heads: number): Tensor => reordered(t, heads, true)
export const fromNeighbours = (t: Tensor, heads: number): Tensor => reordered(t, heads, false)

/** What Llama 3.1 and 3.2 say, by which a file's divisors are known again. */
const published = [8, 32].map((factor) => ({ type: 'llama3' as const, factor, lowFrequency: 1, highFrequency: 4, positions: 8192 }))

function scalingOf(facts: GgufFacts, width: number, theta: number): RotaryConfig['scaling'] {
  if (facts.has(DIVISORS)) {
    const values = Array.from(facts.floats(DIVISORS))
    const same = published.find((scaling) => rotaryDivisors({ width, theta, scaling }).every((d, i) => Math.abs(d / values[i]! - 1) < 1e-5))
    return same ?? { type: 'divisors', values }
  }
  const type = facts.text('rope.scaling.type') ?? 'none'
  if (type === 'linear') return { type, factor: facts.number('rope.scaling.factor') }
  if (type !== 'none') facts.refuse(`rope.scaling.type ${type}`)
  return null
}

function bodyOf(facts: GgufFacts): TransformerConfig {
  const { number, optional, has } = facts
  if ((optional('expert_count') ?? 0) > 0) facts.refuse('mixture of experts')
  const heads = number('attention.head_count')
  const headWidth = optional('attention.key_length') ?? optional('rope.dimension_count') ?? number('embedding_length') / heads
  if ((optional('rope.dimension_count') ?? headWidth) !== headWidth) facts.refuse('rotary embedding of a part of each head')
  if ((optional('attention.value_length') ?? headWidth) !== headWidth) facts.refuse('values wider than keys')
  const theta = optional('rope.freq_base') ?? 10_000
  const rotary: RotaryConfig = {
    keyHeads: optional('attention.head_count_kv') ?? heads,
    headWidth,
    theta,
    scaling: scalingOf(facts, headWidth, theta),
    interleaved: false,
    attentionBias: has('blk.0.attn_output.bias') ? 'all' : has('blk.0.attn_q.bias') ? 'inputs' : 'none',
    feedForwardBias: has('blk.0.ffn_gate.bias'),
    window: null,
  }
  return bodyWith(facts, { activation: 'silu', eps: number(EPS), rotary })
}

function metadata(name: string, body: TransformerConfig): Record<string, GgufScalar> {
  const { keyHeads, headWidth, theta, scaling } = body.rotary!
  const linear = scaling?.type === 'linear' ? scaling.factor : undefined
  return metadataWith(name, body, {
    'attention.head_count_kv': u32(keyHeads),
    [EPS]: f32(body.eps),
    'rope.freq_base': f32(theta),
    'rope.dimension_count': u32(headWidth),
    ...(headWidth * body.heads === body.width ? {} : { 'attention.key_length': u32(headWidth), 'attention.value_length': u32(headWidth) }),
    ...(linear === undefined ? {} : { 'rope.scaling.type': { type: 'string', value: 'linear' }, 'rope.scaling.factor': f32(linear) }),
  })
}

function divisors(body: TransformerConfig): readonly (readonly [string, GgufSource])[] {
  const { headWidth: width, theta, scaling } = body.rotary!
  if (!scaling || scaling.type === 'linear') return []
  const values = Float32Array.from(rotaryDivisors({ width, theta, scaling }))
  return [[DIVISORS, { type: 'f32', shape: [values.length], data: () => new Uint8Array(values.buffer) }]]
}

/** `paired`: rotary features are neighbours there. */
function architecture(name: string, label: string, paired: boolean, takes: (r: RotaryConfig) => boolean): GgufArchitecture {
  return {
    name,
    label,
    takes: (body) => body.rotary !== null && takes(body.rotary),
    nameOf: (path, body) => {
      const found = inRows(rows, path)
      if (!found) return undefined
      const turned = { query: body.heads, key: body.rotary!.keyHeads }[found.part]
      return { name: found.name, pairedHeads: paired && !body.rotary!.interleaved ? turned : undefined }
    },
    bodyOf,
    check: (where, body) =>
      refuseFirst(where, label, [
        ...wrongBodies(body),
        [body.activation !== 'silu', `activation ${body.activation}`],
        [body.rotary!.window !== null && body.rotary!.window < body.positions, 'sliding window'],
        [!paired && body.rotary!.interleaved, 'rotary embedding of neighbouring features'],
      ]),
    metadata: (body) => metadata(name, body),
    more: divisors,
  }
}

/** Also Mistral's. */
export const llama = architecture('llama', 'Llama', true, (r) => r.attentionBias !== 'inputs')
export const qwen2 = architecture('qwen2', 'Qwen2', false, (r) => r.attentionBias === 'inputs')
