import { describe, expect, it } from 'vitest'
import fc from 'fast-check'
import { glob, globs, MAX_PATTERN } from '../../ts/base/glob.js'
import { cpuClock } from '../cpu-time.js'

describe('glob', () => {
  it.each([
    ['fc1', 'fc1', true],
    ['fc1', 'fc1.weight', true],
    ['fc1', 'fc10.weight', false],
    ['fc?', 'fc1.weight', true],
    ['fc?', 'fc10.weight', false],
    ['conv*', 'conv1.weight', true],
    ['*', 'blocks.0.up.weight', true],
    ['*.weight', 'blocks.0.up.weight', false],
    ['**.weight', 'blocks.0.up.weight', true],
    ['**weight', 'weight', true],
    ['blocks.*.up', 'blocks.0.up.weight', true],
    ['blocks.*.mlp.*', 'blocks.3.mlp.down.weight', true],
    ['blocks.*.mlp.*', 'blocks.3.attention.query.weight', false],
    ['blocks.**.query', 'blocks.3.attention.query.weight', true],
    ['a*b*c', 'aXbYc', true],
    ['a*b*c', 'aXbYd', false],
    ['a.b', 'a.b', true],
    ['a.b', 'axb', false],
    ['(a+)+$', 'aaaaaaaa', false],
    ['weight', 'fc1.weight', false],
  ])('%s on %s: %s', (pattern, path, expected) => {
    expect(glob(pattern)(path)).toBe(expected)
  })

  it('agrees with the regular expression of the same meaning', () => {
    const piece = fc.constantFrom('a', 'b', '.', '*', '**', '?')
    const toRegExp = (p: string): RegExp =>
      new RegExp(
        `^${p
          .replace(/\*\*/g, '\0')
          .replace(/[.*?]/g, (c) => (c === '.' ? '\\.' : c === '*' ? '[^.]*' : '[^.]'))
          .replace(/\0/g, '.*')}(\\..*)?$`,
      )
    fc.assert(
      fc.property(
        fc.array(piece, { minLength: 1, maxLength: 6 }),
        fc.string({ unit: fc.constantFrom('a', 'b', '.'), maxLength: 8 }),
        (parts, path) => {
          const pattern = parts.join('')
          expect(glob(pattern)(path)).toBe(toRegExp(pattern).test(path))
        },
      ),
      { numRuns: 500, seed: 1 },
    )
  })

  it('takes time linear in the path for patterns that make backtracking explode', () => {
    const hostile = glob('a*'.repeat(100) + 'b')
    const ms = cpuClock()
    expect(hostile('a'.repeat(20_000))).toBe(false)
    expect(ms()).toBeLessThan(2000)
  })

  it('refuses empty and overlong patterns', () => {
    expect(() => glob('')).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
    expect(() => glob('a'.repeat(MAX_PATTERN + 1))).toThrow(expect.objectContaining({ code: 'ERR_OPTION' }))
  })

  it('globs: any of several, none of none', () => {
    expect(globs(['fc1', 'conv*'])('conv2.weight')).toBe(true)
    expect(globs([])('fc1')).toBe(false)
  })
})
