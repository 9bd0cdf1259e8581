/** What a plan does, after a check that it computes what the recorded calls compute. */
import { expect } from 'vitest'
import { session, setThreads, threads, type SessionInputs } from '../../ts/index.js'
import { afterThis, track } from '../clean-up.js'

export interface Step {
  readonly op: string
  readonly inputs: string
  readonly results: string
}

/** Steps of the plan; with one thread and two, all outputs are those of the recorded calls, bit for bit or within `tolerance` of the largest value. */
export function planSteps(model: Parameters<typeof session>[0], inputs: SessionInputs, tolerance = 0): readonly Step[] {
  const [plain, planned] = [track(session(model, { fuse: false })), track(session(model))]
  const before = threads()
  afterThis('test', () => setThreads(before))
  const a = plain.runSync(inputs)
  for (const count of [1, 2]) {
    setThreads(count)
    const b = planned.runSync(inputs)
    for (const name of Object.keys(a)) {
      const [want, got] = [a[name]!.data as Float32Array, b[name]!.data as Float32Array]
      expect(b[name]!.shape).toEqual(a[name]!.shape)
      if (tolerance === 0) expect(got).toEqual(want)
      const largest = want.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
      expect(want.reduce((m, v, i) => Math.max(m, Math.abs(v - got[i]!)), 0)).toBeLessThanOrEqual(tolerance * largest)
    }
  }
  return planned.profile(inputs, 1).steps
}

export const namesOf = (steps: readonly Step[]): string[] => steps.map((s) => s.op)
