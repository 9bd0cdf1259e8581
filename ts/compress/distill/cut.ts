/**
 * A student cut from its teacher: the same net with fewer of its repeated layers, which keep their weights (DistilBERT, PKD, BERT-of-Theseus begin so).
 * What is left is shared with the model given, not copied.
 */
import { OptionError } from '../../base/errors.js'
import { sameShape } from '../../base/shape.js'
import { join, Model, moduleKind, specTensors, type Module } from '../../nn/index.js'
import { parseConfig } from '../../nn/module.js'
import { modulesOf, repeatedLayers, type Repeated } from '../train/distill/layers.js'

/** Which of N layers M are kept: spread over all with both ends (DistilBERT: 0 2 4 7 9 11 of 12), or the first (PKD). */
export function keptLayers(how: 'uniform' | 'first', layers: number, of: number): number[] {
  if (how === 'first' || layers === 1) return Array.from({ length: layers }, (_, i) => i)
  return Array.from({ length: layers }, (_, i) => Math.round((i * (of - 1)) / (layers - 1)))
}

function refuse(pointer: string, why: string): never {
  throw new OptionError('ERR_OPTION', `distill/train: ${pointer}: ${why}`, { details: { pointer } })
}

/** The repeated layers that can be cut out of a model. ERR_OPTION where there are none. */
export function cuttable(model: Model): Repeated {
  const found = repeatedLayers(model.root)
  if (!found) return refuse('/student', `no repeated layers were found in ${model.info.name}: give the student as "spec"`)
  return found
}

/**
 * The model with the layers `keep` (ascending numbers) of its repeated ones.
 *
 * - no repeated layers, numbers that are none of them, layers that would not fit behind one another, weights shared between layers: ERR_OPTION
 *
 * @example
 * cutLayers(teacher, [0, 2, 4, 7, 9, 11])   // DistilBERT's beginning
 */
export function cutLayers(model: Model, keep: readonly number[]): Model {
  const { parent, names } = cuttable(model)
  keep.forEach((k, i) => {
    if (!Number.isInteger(k) || k < 0 || k >= names.length)
      refuse(`/student/keep/${i}`, `must be a layer in [0, ${names.length}), got ${k}`)
    if (i > 0 && k <= keep[i - 1]!) refuse(`/student/keep/${i}`, 'layers must rise')
  })
  if (keep.length === 0) refuse('/student/keep', 'at least one layer must be kept')
  checkNeighbours(model, parent, names, new Set(keep))
  const holder = modulesOf(model.root).get(parent)!
  const cut = shortened(holder, names, keep)
  const rebuild = (module: Module): Module =>
    module === holder
      ? cut
      : {
          ...module,
          children: Object.fromEntries(Object.entries(module.children).map(([n, c]) => [n, rebuild(c)])),
          config: configOf(module, holder, cut),
        }
  const out = new Model(rebuild(model.root), model.info, model.extras)
  check(model, out)
  return out
}

/**
 * A layer can go where what comes in goes on behind it: where it has the shapes of the layer before or behind it (then what it gives is as wide as what it takes), or
 * square weights alone.
 */
function checkNeighbours(model: Model, parent: string, names: readonly string[], keep: ReadonlySet<number>): void {
  const weights = model.weights()
  const shapes = names.map((name) => {
    const below = `${join(parent, name)}.`
    return weights.flatMap(({ path, weight }) => (path.startsWith(below) ? [{ path: path.slice(below.length), shape: weight.shape }] : []))
  })
  const texts = shapes.map((list) => JSON.stringify(list))
  for (const [i, name] of names.entries()) {
    if (keep.has(i) || texts[i] === texts[i - 1] || texts[i] === texts[i + 1]) continue
    if (shapes[i]!.every(({ shape }) => shape.length < 2 || shape[0] === shape[1])) continue
    const all = names.join(', ')
    refuse(
      '/student',
      `layer ${join(parent, name)} of ${model.info.name} cannot be left out: the layers beside it have other shapes, so nothing would fit behind it (layers: ${all}); keep it, or give the student as "spec"`,
    )
  }
}

/** `layers` of the configuration follows the number of layers; children are numbered anew where the kind names them itself. */
function shortened(holder: Module, names: readonly string[], keep: readonly number[]): Module {
  const kind = moduleKind(holder.kind)
  const { layers, distinct } = holder.config
  if (distinct !== undefined && distinct !== layers) refuse('/student', `layers of ${holder.kind} share their weights: none can be cut out`)
  const counted = layers === names.length
  const config = counted
    ? parseConfig(kind, { ...holder.config, layers: keep.length, ...(distinct === undefined ? {} : { distinct: keep.length }) })
    : holder.config
  const kept = new Set(keep.map((k) => names[k]!))
  const children = Object.entries(holder.children).filter(([name]) => !names.includes(name) || kept.has(name))
  const renamed = children.map(([name, child]): [string, Module] => [
    counted && kept.has(name) ? names[keep.indexOf(names.indexOf(name))]! : name,
    child,
  ])
  return { ...holder, config, children: Object.fromEntries(renamed) }
}

/** Heads hold the configuration of their body in their own. */
function configOf(module: Module, holder: Module, cut: Module): Module['config'] {
  const name = Object.keys(module.children).find((n) => module.children[n] === holder)
  if (name === undefined || module.config[name] === undefined) return module.config
  return parseConfig(moduleKind(module.kind), { ...module.config, [name]: cut.config })
}

/** What the architecture says must be what is there. */
function check(model: Model, cut: Model): void {
  const said = new Map(specTensors(cut.spec()).map(({ path, shape }) => [path, shape]))
  for (const { path, weight } of cut.weights())
    if (!sameShape(said.get(path) ?? [-1], weight.shape))
      refuse(
        '/student/keep',
        `${path} of ${model.info.name} is [${weight.shape}], ${said.has(path) ? `its place takes [${said.get(path)}]` : 'which has no place any more'}: keep that layer`,
      )
}
