/** A short run of every fuzz target with a fixed seed; `npm run fuzz` runs them for as long as one likes (docs/guides/fuzzing.md). */
import { describe, expect, test } from 'vitest'
import { fuzz } from '../fuzz/engine.js'
import { inputOf, targets } from '../fuzz/targets.js'
import { memory } from '../../ts/index.js'
import { tempDir } from '../formats/lib.js'

describe('fuzzing, 300 inputs a target, in at most 400 ms', () => {
  for (const target of targets)
    test(target.name, async () => {
      const before = memory().tensors
      const { inputs, failures } = await fuzz(target, tempDir(), { seed: 20_260_101, inputs: 300, ms: 400 })
      expect(failures.map(({ index, what }) => `input ${index}: ${what}`)).toEqual([])
      expect(inputs).toBeGreaterThan(0)
      expect(memory().tensors).toBe(before)
    })

  test('an input follows from its number alone', () => {
    for (const target of targets) expect(Buffer.from(inputOf(target, 3, 17)).equals(inputOf(target, 3, 17))).toBe(true)
  })
})
