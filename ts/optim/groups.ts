/** Parameter groups: weight decay and learning rate of some leaves, chosen by path or by role. Plain data; the first group that fits counts. */
import { z } from 'zod'
import { glob } from '../base/glob.js'

export const groupSchema = z
  .strictObject({
    /** Pattern over leaf paths (base/glob.ts): "encoder.**", "*.bias". */
    match: z.string().min(1).max(1024).optional(),
    /** What the weight is in its layer: "vector" are biases and the scales and shifts of norms. */
    role: z.enum(['matrix', 'kernel', 'table', 'vector']).optional(),
    /** Instead of the optimizer's. */
    weightDecay: z.number().nonnegative().finite().optional(),
    /** Times the rate of the schedule. */
    lrScale: z.number().nonnegative().finite().optional(),
  })
  .refine((g) => g.match !== undefined || g.role !== undefined, { error: 'needs match or role' })
export type ParameterGroup = z.output<typeof groupSchema>

/** What an optimizer does otherwise for a leaf. */
export interface Group {
  readonly weightDecay?: number | undefined
  readonly lrScale?: number | undefined
}

const eitherWay =
  (fits: (path: string) => boolean) =>
  (path: string): boolean =>
    fits(path) || fits(path.split('#')[0]!)

/**
 * The group of each leaf: the first whose pattern and role both fit. `roles` gives the role of a leaf by path; a leaf that it does not know fits no
 * group with a role. A pattern that fits a weight fits all of its leaves: "fc.weight" also "fc.weight#1".
 *
 * @example
 * new Optimizer({ kind: 'adamw', weightDecay: 0.1 }, leaves, parameterGroups([{ role: 'vector', weightDecay: 0 }], roles))
 */
export function parameterGroups(groups: readonly ParameterGroup[], roles: ReadonlyMap<string, string>): (path: string) => Group {
  const tests = groups.map((group) => ({ group, fits: group.match === undefined ? () => true : eitherWay(glob(group.match)) }))
  const known = new Map<string, Group>()
  return (path) => {
    let found = known.get(path)
    if (!found) {
      found = tests.find(({ group, fits }) => (group.role === undefined || group.role === roles.get(path)) && fits(path))?.group ?? {}
      known.set(path, found)
    }
    return found
  }
}
