/** The terms of `match`, bound to two models: which outputs they look at, what they train beside the student, what they cost. */
import { OptionError } from '../../../base/errors.js'
import { Rng } from '../../../base/rng.js'
import { sameShape } from '../../../base/shape.js'
import type { Model } from '../../../nn/index.js'
import { add, scaleShift } from '../../../ops/index.js'
import type { Tensor } from '../../../tensor/index.js'
import type { BesideValue } from '../task.js'
import { cosineTerm, features, flowTerm, hiddenTerm, patientTerm, placesTerm, projected } from './features.js'
import { attentionIn, layerPairs } from './layers.js'
import type { MatchTerm } from './options.js'
import { relationTerm, scores, scoresTerm } from './relations.js'

/** The output of a layer in the pass at hand. */
export type Seen = (path: string) => Tensor

/** A batch as both sides see it. `mask` [B, T]: 0 at padding. */
export interface Pass {
  readonly student: Seen
  readonly teacher: Seen
  readonly mask: Tensor | null
}

export interface Term {
  readonly weight: number
  /** Number of the teacher. */
  readonly teacher: number
  /** Paths that it looks at. */
  readonly sees: { readonly student: readonly string[]; readonly teacher: readonly string[] }
  /** Checks shapes on a first batch (ERR_OPTION); gives what is trained beside the student. */
  beside(pass: Pass, seed: number): ReadonlyMap<string, BesideValue>
  loss(pass: Pass, beside: ReadonlyMap<string, Tensor>): Tensor
}

/** Term `index` of `match`. Layers that do not exist or do not suit: ERR_OPTION with a pointer. */
export function bindTerm(term: MatchTerm, index: number, student: Model, teacher: Model): Term {
  const pointer = `/match/${index}`
  let pairs = layerPairs(term.layers, student, teacher, pointer)
  // PKD leaves the last layer to the logits.
  if (term.loss === 'pkd' && typeof term.layers === 'string' && pairs.length > 1) pairs = pairs.slice(0, -1)
  if (term.loss === 'values' && term.layers === 'last') pairs = pairs.slice(-1)
  if (term.loss === 'attention' || term.loss === 'values') return attentionTerm(term, pairs, pointer, student, teacher)
  return featureTerm(term, pairs, pointer, index)
}

const total = (losses: readonly Tensor[]): Tensor => losses.reduce((a, b) => add(a, b))

function refuse(pointer: string, why: string): never {
  throw new OptionError('ERR_OPTION', `distill: ${pointer}: ${why}`, { details: { pointer } })
}

type AttentionTerm = Extract<MatchTerm, { loss: 'attention' | 'values' }>

function attentionTerm(
  term: AttentionTerm,
  pairs: readonly (readonly [string, string])[],
  pointer: string,
  student: Model,
  teacher: Model,
): Term {
  const places = pairs.map(([s, t]) => ({ s: attentionIn(student, s, pointer), t: attentionIn(teacher, t, pointer) }))
  for (const { s, t } of places)
    if (s.heads !== t.heads)
      refuse(pointer, `${s.path} has ${s.heads} heads, the teacher's ${t.path} has ${t.heads}: they must be the same`)
  const names = term.loss === 'values' ? ['value'] : ['query', 'key']
  const inside = (path: string): string[] => names.map((name) => (path === '' ? name : `${path}.${name}`))
  const of = (seen: Seen, place: (typeof places)[number]['s'], mask: Tensor | null): Tensor => {
    const [a, b] = inside(place.path).map(seen) as [Tensor, Tensor | undefined]
    return scores(a, b ?? a, place.heads, mask, place.causal)
  }
  return {
    weight: term.weight,
    teacher: term.teacher,
    sees: { student: places.flatMap(({ s }) => inside(s.path)), teacher: places.flatMap(({ t }) => inside(t.path)) },
    beside: (pass) => {
      for (const { s, t } of places) {
        const [a, b] = [of(pass.student, s, null), of(pass.teacher, t, null)]
        if (!sameShape(a.shape, b.shape)) refuse(pointer, `attention of ${s.path} is [${a.shape}], the teacher's of ${t.path} [${b.shape}]`)
      }
      return new Map()
    },
    loss: ({ student: seenS, teacher: seenT, mask }) =>
      total(
        places.map(({ s, t }) => {
          const [a, b] = [of(seenS, s, mask), of(seenT, t, mask)]
          return term.loss === 'attention' && term.of === 'scores' ? scoresTerm(a, b) : relationTerm(a, b, mask)
        }),
      ),
  }
}

type FeatureTerm = Exclude<MatchTerm, AttentionTerm>

function featureTerm(term: FeatureTerm, pairs: readonly (readonly [string, string])[], pointer: string, index: number): Term {
  if (term.loss === 'fsp' && pairs.length < 2) refuse(`${pointer}/layers`, 'the flow between layers needs two pairs of them')
  const projects = term.loss === 'places' ? 'none' : term.projection
  const nameOf = (from: number, to: number): string => `match${index}.${from}x${to}`
  const learned = (from: number, to: number): boolean => projects === 'learned' || (projects === 'auto' && from !== to)
  const both = ({ student, teacher }: Pass, beside: ReadonlyMap<string, Tensor> | undefined): { s: Tensor; t: Tensor }[] =>
    pairs.map(([own, theirs]) => {
      let s = features(own, student(own))
      const t = features(theirs, teacher(theirs))
      const [from, to] = [s.shape[2]!, t.shape[2]!]
      if (beside && learned(from, to)) s = projected(s, beside.get(`${nameOf(from, to)}.weight`)!, beside.get(`${nameOf(from, to)}.bias`)!)
      return { s, t }
    })
  return {
    weight: term.weight,
    teacher: term.teacher,
    sees: { student: pairs.map(([s]) => s), teacher: pairs.map(([, t]) => t) },
    beside: (pass, seed) => {
      const out = new Map<string, BesideValue>()
      both(pass, undefined).forEach(({ s, t }, i) => {
        const [from, to] = [s.shape[2]!, t.shape[2]!]
        const where = `${pairs[i]![0]} gives features ${s}, the teacher's ${pairs[i]![1]} ${t}`
        if (s.shape[0] !== t.shape[0] || (s.shape[1] !== t.shape[1] && term.loss !== 'gram' && term.loss !== 'pkd'))
          refuse(pointer, `${where}: other places`)
        if (from !== to && projects === 'none' && term.loss !== 'places')
          refuse(`${pointer}/projection`, `${where}: another width needs a projection`)
        if (!learned(from, to)) return
        // As a linear layer begins: uniform within 1 / sqrt(width).
        const rng = Rng.of(seed, 'distill', nameOf(from, to))
        const draw = (n: number): Float32Array => Float32Array.from({ length: n }, () => (2 * rng.uniform() - 1) / Math.sqrt(from))
        out.set(`${nameOf(from, to)}.weight`, { shape: [to, from], values: draw(to * from) })
        out.set(`${nameOf(from, to)}.bias`, { shape: [to], values: draw(to) })
      })
      return out
    },
    loss: (pass, beside) => {
      const found = both(pass, beside)
      const shown = (f: Tensor): Tensor | null => (pass.mask && sameShape(pass.mask.shape, f.shape.slice(0, 2)) ? pass.mask : null)
      if (term.loss === 'fsp') return total(found.slice(1).map(({ s, t }, i) => flowTerm([found[i]!.s, s], [found[i]!.t, t], shown(s))))
      const each = found.map(({ s, t }) => {
        switch (term.loss) {
          case 'hidden':
            return hiddenTerm(s, t, shown(s))
          case 'cosine':
            return cosineTerm(s, t, shown(s))
          case 'pkd':
            return patientTerm(s, t)
          case 'gram':
            return flowTerm([s, s], [t, t], shown(s))
          case 'places':
            return placesTerm(s, t, shown(s))
        }
      })
      return term.loss === 'pkd' ? scaleShift(total(each), 1 / each.length) : total(each)
    },
  }
}
