/** GPT-2 in GGUF (llama-arch.cpp, LLM_ARCH_GPT2). q, k, v are one tensor there, rows one after the other. */
import { bodyWith, f32, inRows, metadataWith, refuseFirst, wrongBodies, type GgufArchitecture, type GgufRows } from './architecture.js'

const rows: GgufRows = [
  ['body.words', 'token_embd'],
  ['body.positions', 'position_embd'],
  ['body.layer*.norm1', 'blk.*.attn_norm'],
  ['body.layer*.attention.query', 'blk.*.attn_qkv'],
  ['body.layer*.attention.key', 'blk.*.attn_qkv'],
  ['body.layer*.attention.value', 'blk.*.attn_qkv'],
  ['body.layer*.attention.output', 'blk.*.attn_output'],
  ['body.layer*.norm2', 'blk.*.ffn_norm'],
  ['body.layer*.up', 'blk.*.ffn_up'],
  ['body.layer*.down', 'blk.*.ffn_down'],
  ['body.norm', 'output_norm'],
  ['decoder', 'output'],
]
const thirds = ['query', 'key', 'value']
const EPS = 'attention.layer_norm_epsilon'

export const gpt2: GgufArchitecture = {
  name: 'gpt2',
  label: 'GPT-2',
  takes: (body) => body.rotary === null,
  nameOf: (path) => {
    const found = inRows(rows, path)
    if (!found) return undefined
    const third = thirds.indexOf(found.part)
    return { name: found.name, third: third < 0 ? undefined : third }
  },
  bodyOf: (facts) => bodyWith(facts, { activation: 'geluTanh', eps: facts.number(EPS), rotary: null }),
  check: (where, body) =>
    refuseFirst(where, 'GPT-2', [...wrongBodies(body), [body.activation !== 'geluTanh', `activation ${body.activation}`]]),
  metadata: (body) => metadataWith('gpt2', body, { [EPS]: f32(body.eps) }),
}
