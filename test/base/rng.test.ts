import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Rng, hash64, philox4x32, shuffle } from '../../ts/base/rng.js'

describe('Philox4x32-10', () => {
  // Known answers of the authors' Random123 distribution (tests/kat_vectors).
  test.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])('%j', (counter, [k0, k1], expected) => {
    const block = Uint32Array.from(counter)
    philox4x32(block, k0!, k1!)
    expect([...block]).toEqual(expected)
  })
})

describe('a stream', () => {
  test('goes on exactly from any state', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), fc.nat(50), (seed, n) => {
        const a = Rng.of(seed, 'x')
        for (let i = 0; i < n; i++) a.uint32()
        const b = Rng.restore(JSON.parse(JSON.stringify(a.state())) as ReturnType<Rng['state']>)
        expect(Array.from({ length: 9 }, () => b.uint32())).toEqual(Array.from({ length: 9 }, () => a.uint32()))
      }),
      { numRuns: 100, seed: 5 },
    )
  })

  test('depends on every part of its name and on all bits of the seed', () => {
    const first = (...args: Parameters<typeof Rng.of>): string => {
      const rng = Rng.of(...args)
      return [rng.uint32(), rng.uint32()].join()
    }
    const streams = [
      first(1),
      first(2),
      first(1 + 2 ** 32),
      first(1, 'a'),
      first(1, 'b'),
      first(1, 'a', 'b'),
      first(1, 'ab'),
      first(1, 'a', 0),
      first(1, 'a', '0'),
      first(1, ''),
    ]
    expect(new Set(streams).size).toBe(streams.length)
    expect(first(1, 'a')).toBe(first(1, 'a'))
  })

  test('far positions are reached at once', () => {
    const rng = Rng.restore({ seed: 3, stream: [0, 0], position: 2 ** 40 })
    expect(rng.uint32()).not.toBe(Rng.of(3).uint32())
  })

  test('refuses what is no seed', () => {
    for (const seed of [-1, 1.5, NaN, 2 ** 53, Infinity]) expect(() => Rng.of(seed)).toThrow(/seed must be an integer/)
    expect(() => Rng.restore({ seed: 1, stream: [0, -1], position: 0 })).toThrow(/stream/)
    for (const n of [0, -1, 1.5, 2 ** 32, NaN]) expect(() => Rng.of(1).int(n)).toThrow(/int\(n\)/)
  })
})

describe('distributions (fixed seed; bounds of five deviations)', () => {
  const n = 100_000
  test('uniform', () => {
    const rng = Rng.of(7)
    let sum = 0
    let squares = 0
    for (let i = 0; i < n; i++) {
      const u = rng.uniform()
      expect(u >= 0 && u < 1).toBe(true)
      sum += u
      squares += u * u
    }
    expect(Math.abs(sum / n - 1 / 2)).toBeLessThan(5 * Math.sqrt(1 / 12 / n))
    expect(Math.abs(squares / n - 1 / 3)).toBeLessThan(5 * Math.sqrt(4 / 45 / n))
  })
  test('integers: all equally often, also for n that does not divide 2^32', () => {
    for (const range of [1, 3, 10, 1000]) {
      const rng = Rng.of(8)
      const counts = new Uint32Array(range)
      for (let i = 0; i < n; i++) counts[rng.int(range)]!++
      const expected = n / range
      for (const count of counts) expect(Math.abs(count - expected)).toBeLessThanOrEqual(5 * Math.sqrt(expected))
    }
  })
  test('integers near 2^32 are not biased to the lower half', () => {
    const rng = Rng.of(9)
    const range = 3 * 2 ** 30
    let low = 0
    for (let i = 0; i < n; i++) if (rng.int(range) < range / 2) low++
    expect(Math.abs(low - n / 2)).toBeLessThan(5 * Math.sqrt(n / 4))
  })
  test('normal, one by one and filled', () => {
    const rng = Rng.of(10)
    const single = Float64Array.from({ length: n }, () => rng.normal())
    const filled = Float64Array.from(Rng.of(11).fillNormal(new Float32Array(n + 1), 3, 2))
    for (const [list, mean, deviation] of [
      [single, 0, 1],
      [filled, 3, 2],
    ] as const) {
      const m = list.reduce((a: number, b: number) => a + b, 0) / list.length
      const v = list.reduce((a: number, b: number) => a + (b - m) ** 2, 0) / list.length
      const beyond2 = list.filter((x: number) => Math.abs(x - mean) > 2 * deviation).length / list.length
      expect(Math.abs(m - mean)).toBeLessThan((5 * deviation) / Math.sqrt(n))
      expect(Math.abs(v / deviation ** 2 - 1)).toBeLessThan(5 * Math.sqrt(2 / n))
      expect(Math.abs(beyond2 - 0.0455)).toBeLessThan(5 * Math.sqrt(0.0455 / n))
      expect(list.every(Number.isFinite)).toBe(true)
    }
  })
  test('filled uniform', () => {
    const list = Rng.of(12).fillUniform(new Float32Array(n), -2, 4)
    expect(list.every((x) => x >= -2 && x < 4)).toBe(true)
    expect(Math.abs(list.reduce((a, b) => a + b, 0) / n - 1)).toBeLessThan(5 * Math.sqrt(3 / n))
  })
})

describe('shuffle', () => {
  test('is a permutation, the same for the same seed and epoch, another for another', () => {
    fc.assert(
      fc.property(fc.nat(200), fc.nat(1000), fc.nat(50), (size, seed, epoch) => {
        const order = shuffle(size, seed, epoch)
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: size }, (_, i) => i))
        expect(shuffle(size, seed, epoch)).toEqual(order)
      }),
      { numRuns: 100, seed: 6 },
    )
    expect(shuffle(100, 1, 0)).not.toEqual(shuffle(100, 1, 1))
    expect(shuffle(100, 1, 0)).not.toEqual(shuffle(100, 2, 0))
  })
  test('every order of three is as likely', () => {
    const counts = new Map<string, number>()
    for (let epoch = 0; epoch < 6000; epoch++) {
      const key = shuffle(3, 1, epoch).join('')
      counts.set(key, (counts.get(key) ?? 0) + 1)
    }
    expect(counts.size).toBe(6)
    for (const count of counts.values()) expect(Math.abs(count - 1000)).toBeLessThan(150)
  })
  test('pinned: the first values must never change, saved runs depend on them', () => {
    expect([...shuffle(10, 42, 3)]).toEqual([3, 4, 9, 2, 8, 6, 7, 5, 1, 0])
    expect(hash64('tersor')).toEqual([614666274, 3198008525])
  })
})
