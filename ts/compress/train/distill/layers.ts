/** Which layers of a student stand for which of its teacher: repeated layers found by name and kind, layer maps, attention modules inside them. */
import { OptionError } from '../../../base/errors.js'
import { suggestion } from '../../../base/nearest.js'
import { join, type Model, type Module } from '../../../nn/index.js'

/** Path of a student's layer and of the teacher's that goes with it. */
export type LayerPair = readonly [student: string, teacher: string]

/** Every module by path; "" is the root. */
export function modulesOf(root: Module): Map<string, Module> {
  const out = new Map<string, Module>()
  const walk = (module: Module, path: string): void => {
    out.set(path, module)
    for (const [name, child] of Object.entries(module.children)) walk(child, join(path, name))
  }
  walk(root, '')
  return out
}

/** Siblings of one kind whose names differ in a number at the end alone ("layer0", "layer1"). */
export interface Repeated {
  /** Path of the module that holds them. */
  readonly parent: string
  readonly kind: string
  /** Names in the order of their numbers. */
  readonly names: readonly string[]
  readonly paths: readonly string[]
}

/** The repeated layers of a net: the longest such row of siblings, of blocks (modules with layers of their own) before single layers. */
export function repeatedLayers(root: Module): Repeated | undefined {
  let best: Repeated | undefined
  let rank = -1
  for (const [parent, module] of modulesOf(root)) {
    const groups = new Map<string, string[]>()
    for (const [name, child] of Object.entries(module.children)) {
      const stem = /^(.*?)[0-9]+$/.exec(name)?.[1]
      if (stem === undefined || Object.keys({ ...child.children, ...child.weights }).length === 0) continue
      const key = JSON.stringify([stem, child.kind])
      groups.set(key, [...(groups.get(key) ?? []), name])
    }
    for (const names of groups.values()) {
      const first = module.children[names[0]!]!
      const score = names.length + (Object.keys(first.children).length > 0 ? 1e6 : 0)
      if (score <= rank) continue
      rank = score
      names.sort((a, b) => Number(/[0-9]+$/.exec(a)![0]) - Number(/[0-9]+$/.exec(b)![0]))
      best = { parent, kind: first.kind, names, paths: names.map((name) => join(parent, name)) }
    }
  }
  return best
}

/** The layer of a teacher with N layers for each of M student layers. ERR_OPTION for 'last' of a deeper student. */
export function layerMap(map: 'uniform' | 'last', student: number, teacher: number): number[] {
  if (map === 'last' && student > teacher)
    throw new OptionError('ERR_OPTION', `distill: a student of ${student} layers has no map to the last of ${teacher}`)
  return Array.from({ length: student }, (_, m) =>
    map === 'last' ? teacher - student + m : Math.max(0, Math.round(((m + 1) * teacher) / student) - 1),
  )
}

/** Pairs for a term; `pointer` leads to it in the options. Layers that do not exist, or cannot be found: ERR_OPTION. */
export function layerPairs(
  layers: 'uniform' | 'last' | readonly (readonly [string, string])[],
  student: Model,
  teacher: Model,
  pointer: string,
): LayerPair[] {
  const refuse = (at: string, why: string): never => {
    throw new OptionError('ERR_OPTION', `distill: ${at}: ${why}`, { details: { pointer: at } })
  }
  if (typeof layers !== 'string') {
    const known = [student, teacher].map((model) => modulesOf(model.root))
    layers.forEach((pair, i) =>
      pair.forEach((path, side) => {
        if (known[side]!.has(path)) return
        const whose = side === 0 ? `the student ${student.info.name}` : `the teacher ${teacher.info.name}`
        refuse(
          `${pointer}/layers/${i}/${side}`,
          `${whose} has no layer ${JSON.stringify(path)}${suggestion(path, [...known[side]!.keys()])}`,
        )
      }),
    )
    return [...layers]
  }
  const [own, theirs] = [repeatedLayers(student.root), repeatedLayers(teacher.root)]
  if (!own || !theirs)
    return refuse(
      `${pointer}/layers`,
      `no repeated layers were found in ${(own ? teacher : student).info.name}: give pairs [student, teacher] of paths`,
    )
  if (layers === 'last' && own.paths.length > theirs.paths.length)
    return refuse(
      `${pointer}/layers`,
      `"last" needs a teacher at least as deep as the student; ${teacher.info.name} has ${theirs.paths.length} layers, ${student.info.name} ${own.paths.length}`,
    )
  return layerMap(layers, own.paths.length, theirs.paths.length).map((n, m) => [own.paths[m]!, theirs.paths[n]!])
}

/** The attention inside a layer (or the layer itself), where its queries, keys and values are layers of their own. */
export interface AttentionPlace {
  readonly path: string
  readonly heads: number
  readonly causal: boolean
}

/** ERR_OPTION with `pointer` where there is none. */
export function attentionIn(model: Model, path: string, pointer: string): AttentionPlace {
  for (const [at, module] of modulesOf(model.root)) {
    if (at !== path && path !== '' && !at.startsWith(`${path}.`)) continue
    const { query, key, value } = module.children
    const { heads, causal } = module.config
    if (query && key && value && typeof heads === 'number') return { path: at, heads, causal: causal === true }
  }
  throw new OptionError(
    'ERR_OPTION',
    `distill: ${pointer}: ${model.info.name} has no attention with layers query, key and value in ${JSON.stringify(path)}`,
    { details: { pointer } },
  )
}
