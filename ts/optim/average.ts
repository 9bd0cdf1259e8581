/** Exponential moving average of weights (Polyak, Juditsky 1992; as in Mean Teacher, Tarvainen, Valpola 2017). */
import { z } from 'zod'
import { axpby } from '../ops/index.js'
import type { Parameter } from './optimizer.js'

export const averageSchema = z.strictObject({
  /** Share of the average that stays in a step. */
  decay: z.number().min(0).lt(1),
  /** The first steps forget faster: the decay is at most (1 + t) / (10 + t). */
  warmup: z.boolean().default(true),
})
export type AverageSpec = z.output<typeof averageSchema>

/** The decay of update `update` (from 1). */
export function averageDecay({ decay, warmup }: AverageSpec, update: number): number {
  return warmup ? Math.min(decay, (1 + update) / (10 + update)) : decay
}

/** average := d average + (1 - d) value for every leaf, in place; d as `averageDecay` has it. */
export function averageStep(
  spec: AverageSpec,
  average: ReadonlyMap<string, Parameter>,
  live: ReadonlyMap<string, Parameter>,
  update: number,
): void {
  const d = averageDecay(spec, update)
  for (const [path, { value }] of average) axpby(value, live.get(path)!.value, 1 - d, d)
}
