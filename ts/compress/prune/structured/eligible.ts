/** The groups that a pass may work on, and why the others stay. */
import type { ChannelGroup, ChannelStructure } from '../../../graph/index.js'
import type { PlacedWeight, UnitKind } from '../../../nn/index.js'

export interface Eligible {
  readonly groups: readonly ChannelGroup[]
  readonly left: readonly { readonly path: string; readonly reason: string }[]
}

/** Groups of units of this kind all of whose filters are targets, with enough units for the rounding. */
export function eligibleGroups(structure: ChannelStructure, unit: UnitKind, targets: readonly PlacedWeight[], roundTo: number): Eligible {
  const paths = new Set(targets.map((t) => t.path))
  const layers = new Set(targets.map((t) => t.layer))
  const left: { path: string; reason: string }[] = []
  const groups = structure.groups.filter((group) => {
    const makers = group.slices.filter((s) => s.role === 'filter').map((s) => s.path)
    if (group.unit !== unit || !makers.some((path) => paths.has(path))) return false
    const refuse = (reason: string): false => {
      left.push({ path: group.name, reason })
      return false
    }
    if (group.fixed !== undefined) return refuse(group.fixed)
    const other = makers.find((path) => !paths.has(path))
    if (other !== undefined) return refuse(`coupled with ${other}, which is not a target`)
    if (group.units.length < roundTo) return refuse(`has ${group.units.length} ${unit}s, fewer than roundTo ${roundTo}`)
    if (group.units.length < 2) return refuse(`has one ${unit}`)
    return true
  })
  for (const { path, reason, unit: hidden } of structure.left) {
    const asked = path === '' || [...layers].some((layer) => layer === path || layer.startsWith(`${path}.`))
    if (hidden === undefined ? asked : hidden === unit) left.push({ path, reason })
  }
  return { groups, left }
}
