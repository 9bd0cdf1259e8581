/**
 * Numbers for the values of a graph. Names are looked up once, when a graph is checked; whoever then goes over all its nodes works with lists of numbers,
 * which decides whether a graph of a million nodes loads within seconds: each table of a million names costs as much as all else that is done with them.
 */
import type { Graph } from './graph.js'

export interface Numbering {
  /** Graph inputs, constants, then what the nodes make, in order. */
  readonly ids: ReadonlyMap<string, number>
  /** What node i takes: `takes[from[i]]` to before `takes[from[i + 1]]`; -1: left out. */
  readonly takes: Int32Array
  readonly from: Int32Array
  /** What node i makes, left out ones aside: the numbers from `makes[i]` to before `makes[i + 1]`. */
  readonly makes: Int32Array
}

const known = new WeakMap<Graph, Numbering>()

/** Of a checked graph that stands alone: without graphs in its nodes, and none around it. */
export const numberingOf = (graph: Graph): Numbering | undefined => known.get(graph)

/**
 * Numbers a graph whose nodes stand in order; undefined where a node takes a value that is made later or never. `twice` is told of a name that is there
 * already.
 */
export function numberValues(graph: Graph, twice: (name: string, node: number) => never): Numbering | undefined {
  const { nodes } = graph
  const ids = new Map<string, number>()
  const add = (name: string, node: number): void => {
    const next = ids.size
    if (ids.set(name, next).size === next) twice(name, node)
  }
  for (const { name } of graph.inputs) add(name, -1)
  for (const name of graph.constants.keys()) add(name, -1)
  const [from, makes] = [new Int32Array(nodes.length + 1), new Int32Array(nodes.length + 1)]
  let count = 0
  for (const node of nodes) count += node.inputs.length
  const takes = new Int32Array(count)
  let at = 0
  let newest = '' // what one node makes is often what the next one takes
  for (let i = 0; i < nodes.length; i++) {
    const { inputs, outputs } = nodes[i]!
    from[i] = at
    makes[i] = ids.size
    for (const name of inputs) {
      const id = name === '' ? -1 : name === newest ? ids.size - 1 : ids.get(name)
      if (id === undefined) return undefined
      takes[at++] = id
    }
    for (const name of outputs)
      if (name !== '') {
        add(name, i)
        newest = name
      }
  }
  from[nodes.length] = at
  makes[nodes.length] = ids.size
  const out = { ids, takes, from, makes }
  known.set(graph, out)
  return out
}

/** Something known of every value, by its number; a map by names to all who do not go over all values. */
export class ValueTable<T> implements ReadonlyMap<string, T> {
  constructor(
    readonly ids: ReadonlyMap<string, number>,
    readonly list: readonly T[],
  ) {}
  get size(): number {
    return this.list.length
  }
  has(name: string): boolean {
    return this.ids.has(name)
  }
  get(name: string): T | undefined {
    const id = this.ids.get(name)
    return id === undefined ? undefined : this.list[id]
  }
  forEach(visit: (value: T, name: string, map: ReadonlyMap<string, T>) => void): void {
    for (const [name, id] of this.ids) visit(this.list[id]!, name, this)
  }
  keys(): MapIterator<string> {
    return this.ids.keys()
  }
  values(): MapIterator<T> {
    return this.list.values()
  }
  *entries(): MapIterator<[string, T]> {
    for (const [name, id] of this.ids) yield [name, this.list[id]!]
  }
  [Symbol.iterator](): MapIterator<[string, T]> {
    return this.entries()
  }
}
