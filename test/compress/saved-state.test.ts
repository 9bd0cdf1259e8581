/** What a pass saved is read as what it must be: well-formed JSON of another shape is ERR_CHECKPOINT (found by the fuzz target compression-checkpoint). */
import { describe, expect, it } from 'vitest'
import { isTersorError } from '../../ts/base/errors.js'
import type { Json } from '../../ts/base/json-types.js'
import { savedList, savedNumber, unpackState } from '../../ts/compress/train/state.js'

const codeOf = (run: () => unknown): unknown => {
  try {
    return run()
  } catch (error) {
    return isTersorError(error) ? [error.code, error.details.reason] : error
  }
}

describe('a saved state', () => {
  it('of a training that is missing or no object is refused', () => {
    for (const json of [undefined, null, 1, 'train', [], {}] as (Json | undefined)[])
      expect(
        codeOf(() => unpackState(json, new Map())),
        JSON.stringify(json),
      ).toEqual(['ERR_CHECKPOINT', 'settings'])
  })
  it('of rounds takes numbers and lists of numbers or of objects', () => {
    const json = { round: 2, removed: [0, 3], rounds: [{ round: 1 }], mixed: [1, 'a'], nulls: [null], nested: [[1]] }
    expect([savedNumber(json, 'round'), savedList(json, 'removed', 'number'), savedList(json, 'rounds', 'object')]).toEqual([
      2,
      [0, 3],
      [{ round: 1 }],
    ])
    for (const name of ['rounds', 'absent']) expect(codeOf(() => savedNumber(json, name))).toEqual(['ERR_CHECKPOINT', name])
    for (const name of ['round', 'absent', 'mixed', 'rounds', 'nulls'])
      expect(codeOf(() => savedList(json, name, 'number'))).toEqual(['ERR_CHECKPOINT', name])
    for (const name of ['round', 'absent', 'mixed', 'removed', 'nulls', 'nested'])
      expect(codeOf(() => savedList(json, name, 'object'))).toEqual(['ERR_CHECKPOINT', name])
  })
})
