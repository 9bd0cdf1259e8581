import { describe, expect, it } from 'vitest'
import { editDistance, nearest, suggestion } from '../../ts/base/nearest.js'
import { cpuClock } from '../cpu-time.js'

describe('nearest name', () => {
  it('counts insertions, deletions, replacements and exchanges of neighbours', () => {
    expect(editDistance('kitten', 'sitting')).toBe(3)
    expect(editDistance('abcd', 'abdc')).toBe(1)
    expect(editDistance('', 'abc')).toBe(3)
    expect(editDistance('same', 'same')).toBe(0)
  })

  it('gives up early beyond the limit', () => {
    expect(editDistance('aaaaaaaaaa', 'bbbbbbbbbb', 2)).toBe(3)
    expect(editDistance('a', 'abcdef', 2)).toBe(3)
  })

  it('finds what was meant and nothing else', () => {
    const known = ['sparsity', 'scope', 'retrain', 'groupSize']
    expect(nearest('sparsty', known)).toBe('sparsity')
    expect(nearest('group_size', known)).toBe('groupSize')
    expect(nearest('Scope', known)).toBe('scope')
    expect(nearest('temperature', known)).toBeUndefined()
  })

  it('lists what is known where nothing is near', () => {
    expect(suggestion('scop', ['scope'])).toBe('; did you mean "scope"?')
    expect(suggestion('xyz', ['scope', 'bits'])).toBe('; known: scope, bits')
    expect(suggestion('xyz', [])).toBe('; none is known here')
  })

  it('stays fast on hostile names', () => {
    const known = Array.from({ length: 1000 }, (_, i) => `layer${i}.weight`)
    const ms = cpuClock()
    nearest('x'.repeat(1_000_000), known)
    expect(ms()).toBeLessThan(1000)
  })
})
