/** Strings, n-grams, optional values, sequences mapped by a graph. */
import { broadcastShapes, sizeOf, stridesOf } from '../../base/shape.js'
import { concat2, gather, reshape } from '../../ops/index.js'
import { tensor } from '../../tensor/index.js'
import {
  defineOnnxOp,
  floatsAttribute,
  graphAttribute,
  hasAttribute,
  intAttribute,
  intsAttribute,
  SequenceValue,
  stringAttribute,
  type RunContext,
  type Value,
} from '../define.js'
import type { GraphNode } from '../graph.js'
import { hostScalar, hostStrings, HostTensor } from '../host.js'
import { axisOf, valueType } from '../infer.js'
import { nothing } from './sequence.js'
import { list, offsets } from './values.js'

function stringsOf(ctx: RunContext, v: Value | undefined): { strings: readonly string[]; shape: readonly number[] } {
  const h = ctx.host(v)
  return { strings: h.strings ?? ctx.fail('ERR_DTYPE', `needs strings, got ${h}`), shape: h.shape }
}
const attributeStrings = (node: GraphNode, name: string): readonly string[] => {
  const a = node.attributes[name]
  return a?.type === 'strings' ? a.value : []
}

defineOnnxOp('StringConcat', {
  since: [20],
  inputs: [2, 2],
  infer: () => [valueType('string')],
  run: (ctx, [a, b]) => {
    const [x, y] = [stringsOf(ctx, a), stringsOf(ctx, b)]
    const shape = broadcastShapes('StringConcat', x.shape, y.shape)
    const [i, j] = [offsets(x.shape, shape), offsets(y.shape, shape)]
    return hostStrings(
      Array.from({ length: sizeOf(shape) }, (_, k) => x.strings[i(k)]! + y.strings[j(k)]!),
      shape,
    )
  },
})

/** The words of s: at `delimiter`, or at runs of white space; at most `most` cuts. */
function words(s: string, delimiter: string, most: number): string[] {
  if (delimiter !== '') {
    const all = s.split(delimiter)
    return all.length - 1 <= most ? all : [...all.slice(0, most), all.slice(most).join(delimiter)]
  }
  const out: string[] = []
  let rest = s.trimStart()
  while (rest !== '') {
    const at = rest.search(/\s/)
    if (at < 0 || out.length >= most) {
      out.push(rest)
      break
    }
    out.push(rest.slice(0, at))
    rest = rest.slice(at).trimStart()
  }
  return out
}

defineOnnxOp('StringSplit', {
  since: [20],
  inputs: [1, 1],
  infer: (_, [x]) => [valueType('string', x?.shape && [...x.shape, null]), valueType('i64', x?.shape)],
  run: (ctx, [x], node) => {
    const { strings, shape } = stringsOf(ctx, x)
    const most = hasAttribute(node, 'maxsplit') ? intAttribute(node, 'maxsplit') : Infinity
    const parts = strings.map((s) => (s === '' ? [] : words(s, stringAttribute(node, 'delimiter', ''), most)))
    const width = Math.max(0, ...parts.map((p) => p.length))
    const padded = parts.flatMap((p) => [...p, ...Array<string>(width - p.length).fill('')])
    return [
      hostStrings(padded, [...shape, width]),
      new HostTensor(
        'i64',
        shape,
        parts.map((p) => p.length),
      ),
    ]
  },
})

defineOnnxOp('StringNormalizer', {
  since: [10],
  inputs: [1, 1],
  infer: (_, [x]) => [
    valueType(
      'string',
      x?.shape?.map((d, i) => (i === x.shape!.length - 1 ? null : d)),
    ),
  ],
  run: (ctx, [x], node) => {
    const { strings, shape } = stringsOf(ctx, x)
    if (shape.length !== 1 && !(shape.length === 2 && shape[0] === 1))
      ctx.fail('ERR_SHAPE', `x must be [C] or [1, C], got [${shape.join(',')}]`)
    const fold = intAttribute(node, 'is_case_sensitive', 0) === 0
    const key = (s: string): string => (fold ? s.toLowerCase() : s)
    const stop = new Set(attributeStrings(node, 'stopwords').map(key))
    const action = stringAttribute(node, 'case_change_action', 'NONE')
    const kept = strings
      .filter((s) => !stop.has(key(s)))
      .map((s) => (action === 'LOWER' ? s.toLowerCase() : action === 'UPPER' ? s.toUpperCase() : s))
    // Nothing left is one empty string.
    const out = kept.length > 0 ? kept : ['']
    return hostStrings(out, shape.length === 2 ? [1, out.length] : [out.length])
  },
})

defineOnnxOp('TfIdfVectorizer', {
  since: [9],
  inputs: [1, 1],
  infer: (_, [x], node) => {
    const width = Math.max(...intsAttribute(node, 'ngram_indexes')) + 1
    return [valueType('f32', x?.shape && [...x.shape.slice(0, -1), width])]
  },
  run: (ctx, [x], node) => {
    const h = ctx.host(x)
    const tokens: readonly (string | number)[] = h.strings ?? h.data
    const pool: readonly (string | number)[] = hasAttribute(node, 'pool_strings')
      ? attributeStrings(node, 'pool_strings')
      : intsAttribute(node, 'pool_int64s')
    const [counts, places] = [intsAttribute(node, 'ngram_counts'), intsAttribute(node, 'ngram_indexes')]
    const [least, most, skips] = [
      intAttribute(node, 'min_gram_length'),
      intAttribute(node, 'max_gram_length'),
      intAttribute(node, 'max_skip_count'),
    ]
    const mode = stringAttribute(node, 'mode')
    const weights = floatsAttribute(
      node,
      'weights',
      places.map(() => 1),
    )
    if (!(least >= 1 && least <= most && most <= 64 && skips >= 0 && skips <= 1024) || weights.length !== places.length)
      ctx.fail('ERR_MODEL_FORMAT', `grams of ${least} to ${most} with ${skips} skips, ${places.length} places, ${weights.length} weights`)
    // The grams of each length, in order, with their number.
    const known = new Map<string, number>()
    let gram = 0
    counts.forEach((start, i) => {
      const n = i + 1
      for (let p = start; p + n <= (counts[i + 1] ?? pool.length); p += n) known.set(JSON.stringify(pool.slice(p, p + n)), gram++)
    })
    if (gram > places.length) ctx.fail('ERR_MODEL_FORMAT', `${gram} grams for ${places.length} places`)
    const width = Math.max(...places) + 1
    const length = h.shape.at(-1) ?? 1
    const rows = h.size / Math.max(1, length)
    const out = new Float32Array(rows * width)
    for (let r = 0; r < rows; r++)
      for (let n = least; n <= most; n++)
        for (let skip = 0; skip <= (n === 1 ? 0 : skips); skip++)
          for (let at = 0; at + (n - 1) * (skip + 1) < length; at++) {
            const key = JSON.stringify(Array.from({ length: n }, (_, k) => tokens[r * length + at + k * (skip + 1)]))
            const found = known.get(key)
            if (found !== undefined) out[r * width + places[found]!]! += 1
          }
    if (mode !== 'TF')
      places.forEach((p, g) => {
        for (let r = 0; r < rows; r++) {
          const i = r * width + p
          out[i] = mode === 'IDF' ? (out[i]! > 0 ? weights[g]! : 0) : out[i]! * weights[g]!
        }
      })
    return new HostTensor('f32', [...h.shape.slice(0, -1), width], Array.from(out))
  },
})

// Optional values: `nothing` is the one that is not there.

defineOnnxOp('Optional', { since: [15], inputs: [0, 1], infer: (_, [x]) => [x ?? {}], run: (_, [x]) => x ?? nothing })
defineOnnxOp('OptionalHasElement', {
  since: [15, 18],
  inputs: [0, 1],
  infer: () => [valueType('bool', [])],
  run: (_, [x]) => hostScalar(x === undefined || x === nothing ? 0 : 1, 'bool'),
})
defineOnnxOp('OptionalGetElement', {
  since: [15, 18],
  inputs: [1, 1],
  infer: (_, [x]) => [x ?? {}],
  run: (ctx, [x]) => (x === undefined || x === nothing ? ctx.fail('ERR_DATA', 'the optional value is not there') : x),
})

defineOnnxOp('SequenceMap', {
  since: [17],
  inputs: [1, 64],
  infer: (_, __, node) => node.outputs.map(() => ({})),
  run: (ctx, inputs, node) => {
    const body = graphAttribute(node, 'body')
    const first = inputs[0]
    if (!(first instanceof SequenceValue)) return ctx.fail('ERR_MODEL_FORMAT', 'the first input must be a sequence')
    const results = first.items.map((_, i) =>
      ctx.run(
        body,
        inputs.map((v) => (v instanceof SequenceValue ? (v.items[i] ?? ctx.fail('ERR_SHAPE', 'the sequences differ in length')) : v!)),
      ),
    )
    return body.outputs.map((_, k) => new SequenceValue(results.map((r) => r[k]!)))
  },
})

/** Rows of a cache replaced, each batch from a place of its own. */
defineOnnxOp('TensorScatter', {
  since: [24],
  inputs: [2, 3],
  hostInputs: [2],
  infer: (_, [x]) => [valueType(x?.dtype, x?.shape)],
  run: (ctx, [past, update, indices], node) => {
    const [p, u] = [ctx.tensor(past), ctx.tensor(update)]
    const axis = axisOf(ctx, intAttribute(node, 'axis', -2), p.rank)
    const [most, count] = [p.shape[axis]!, u.shape[axis]!]
    if (axis === 0 || u.rank !== p.rank || u.shape.some((d, i) => (i === axis ? d > most : d !== p.shape[i])))
      ctx.fail('ERR_SHAPE', `the update ${u} does not fit ${p} along axis ${axis}`)
    const starts = indices === undefined ? Array<number>(p.shape[0]!).fill(0) : list(ctx, indices)
    const circular = stringAttribute(node, 'mode', 'linear') === 'circular'
    if (starts.length !== p.shape[0] || starts.some((s) => !(s >= 0) || (!circular && s + count > most)))
      ctx.fail('ERR_SHAPE', `${count} rows at [${starts.join(',')}] leave a cache of ${most}`)
    const [from, to] = [stridesOf(u.shape), stridesOf(p.shape)]
    const index = Int32Array.from({ length: p.size }, (_, i) => i)
    for (let i = 0; i < u.size; i++) {
      let at = 0
      for (let k = 0; k < p.rank; k++) {
        const q = Math.floor(i / from[k]!) % u.shape[k]!
        at += (k === axis ? (q + starts[Math.floor(i / from[0]!)]!) % most : q) * to[k]!
      }
      index[at] = p.size + i
    }
    return reshape(gather(concat2(reshape(p, [p.size]), reshape(u, [u.size]), 0), tensor(index)), p.shape)
  },
})
