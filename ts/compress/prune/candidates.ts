/** What of a model can be pruned. */
import { sameShape, sizeOf } from '../../base/shape.js'
import type { Leaf, Model, ModelInfo, PlacedWeight, Weight } from '../../nn/index.js'
import { valuesOf } from '../values.js'
import type { ModelCounts } from './amount.js'
import { countBits, type Candidate } from './select.js'

/** The one leaf that holds the weight's values, or undefined. */
export function prunable(w: Weight): Leaf | undefined {
  const leaves = w.trainable()
  return leaves.length === 1 &&
    leaves[0]!.value.size > 0 &&
    leaves[0]!.value.shape.length >= 2 &&
    sameShape(leaves[0]!.value.shape, w.shape)
    ? leaves[0]
    : undefined
}

export interface Chosen {
  readonly targets: readonly (PlacedWeight & { readonly leaf: Leaf })[]
  readonly left: readonly { readonly path: string; readonly why: string }[]
}

/** The targets that can be pruned, and why the others stay. */
export function chosenTargets(targets: readonly PlacedWeight[], info: ModelInfo, keepClassifier: boolean): Chosen {
  const last = keepClassifier ? classifierOf(targets, info) : undefined
  const out: (PlacedWeight & { leaf: Leaf })[] = []
  const left: { path: string; why: string }[] = []
  for (const target of targets) {
    const leaf = prunable(target.weight)
    if (!leaf) left.push({ path: target.path, why: `${target.weight.description} has no values that can be set to 0` })
    else if (target === last) left.push({ path: target.path, why: 'it is the classifier' })
    else out.push({ ...target, leaf })
  }
  return { targets: out, left }
}

/** The last weight that gives as many numbers as there are classes; where these are not known, the last one. */
function classifierOf(targets: readonly PlacedWeight[], { classes }: ModelInfo): PlacedWeight | undefined {
  const layers = targets.filter(({ role }) => role === 'matrix' || role === 'kernel')
  return layers.findLast(({ weight }) => !classes || weight.shape[0] === classes.length) ?? layers.at(-1)
}

export function countsOf(model: Model, { targets }: Chosen): ModelCounts {
  const weights = new Set(targets.map((t) => t.weight))
  return { total: model.parameters(), prunable: [...weights].reduce((n, w) => n + sizeOf(w.shape), 0) }
}

export const maskOf = ({ mask }: Leaf): Uint8Array | null => (mask ? (mask.read() as Uint8Array) : null)

export const keptOf = (leaf: Leaf): number => (leaf.mask ? countBits(maskOf(leaf)!) : leaf.value.size)

export function candidate(path: string, leaf: Leaf, scores: Float32Array): Candidate {
  return { path, scores, mask: maskOf(leaf), rows: leaf.value.shape[0]! }
}

export const magnitudes = (leaf: Leaf): Float32Array => valuesOf(leaf.value).map(Math.abs)
